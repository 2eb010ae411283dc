"""Pixels of one part of a mosaic: choose an acquisition for each, and read its values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from s2sharp_core.lattice import Box

from ..cube.layout import FILL
from .composite import FAR, blending_weights, distance_from_cloud, feathered, medians, medoid
from .config import BLOCK
from .grid import GridAlignment, footing, within
from .plan import MosaicPlan, Takes
from .resample import reach, resample
from .sources import CubeDate, Group, read_window

_ALIKE = 4
"""Pixels by which a cloud's position may differ between grids: 40 m."""

_MERIDIAN, _HEMISPHERE = 50_000, 1_000_000
"""False easting and northing of UTM in pixels of 10 m."""


@dataclass
class Painter:
    """Painter of the parts of one tile, which are whole blocks.

    ``wanted``: the requested pixels; ``takes``: the datatakes that may show, in order of preference.
    """

    plan: MosaicPlan
    wanted: Box
    takes: Takes
    _under: dict[tuple[Box, int], GridAlignment | None] = field(default_factory=dict)

    def paint(self, part: Box) -> dict[str, np.ndarray]:
        """Return every variable of the store over ``part``."""
        self._under.clear()
        painted = {"best": self._best, "medoid": self._medoid, "median": self._median}
        return painted[self.plan.config.by](part)

    # Number of the source

    def _group(self, source: CubeDate) -> Group:
        return self.plan.cube.groups[source.epsg]

    def _needed(self, part: Box) -> Box:
        """Return the pixels of a part that the requested ones depend on."""
        return part & self.wanted.grow(self.plan.ring)

    def _footing(self, block: Box, group: Group) -> GridAlignment | None:
        key = block, group.epsg
        if key not in self._under:
            self._under[key] = footing(self.plan.grid, block, group.grid, group.area)
        return self._under[key]

    def _blocks(
        self, part: Box, group: Group
    ) -> Iterator[tuple[Box, tuple[slice, slice], GridAlignment, Box]]:
        """Yield the blocks of a part that a group meets, with their slices in it and the group's pixels under them."""
        for block in self._needed(part).tiles(BLOCK):
            under = self._footing(block, group)
            window = under.window() if under else None
            if under and window:
                yield block, within(part, block), under, window

    def _clear(self, part: Box, source: CubeDate) -> np.ndarray:
        """Compute the :func:`distance_from_cloud` of every pixel of a part in an acquisition."""
        group, margin = self._group(source), self.plan.reach
        out = np.zeros(part.shape, dtype=np.uint8)
        blocks = list(self._blocks(part, group))
        if not blocks:
            return out
        around = _union(window for *_, window in blocks).grow(margin) & group.area
        names = ("cloud", "valid")
        cloud, valid = read_window(self.plan.cube, source, names, around)
        if valid.any():
            clear = distance_from_cloud(
                cloud, valid, self.plan.config.dilate / group.grid.resolution
            )
            for _, place, under, _ in blocks:
                out[place] = under.take(clear, around, 0)
        return out

    def _abroad(self, part: Box, group: Group) -> np.ndarray:
        """Compute the distance of every pixel from a code's central meridian in pixels; larger in the other hemisphere."""
        out = np.full(part.shape, 2 * _HEMISPHERE, dtype=np.int32)
        for _, place, under, _ in self._blocks(part, group):
            # Northings of 327xx count from 10 000 km at the equator.
            south = under.rows >= (-_HEMISPHERE if group.epsg >= 32700 else 0)
            wrong = south != (group.epsg >= 32700)
            out[place] = np.abs(under.cols - _MERIDIAN) + wrong * _HEMISPHERE
        return out

    def _observed(self, part: Box, take: Sequence[CubeDate]) -> tuple[np.ndarray, np.ndarray]:
        """Choose the best EPSG code of one datatake for each pixel, and return its number and clearance.

        Of codes that are about equally clear, the one with the closer meridian is chosen. So codes meet at the border of
        their zones, whatever the area, and not at the edge of an image.
        """
        clear = self._clear(part, take[0])
        number = np.where(clear > 0, self.plan.numbers[take[0]], 0).astype(np.uint16)
        if len(take) == 1:
            return number, clear
        away = self._abroad(part, self._group(take[0]))
        for source in take[1:]:
            other = self._clear(part, source)
            abroad = self._abroad(part, self._group(source))
            gain = other.astype(np.int16) - clear
            alike = (other > 0) & (clear > 0) & (np.abs(gain) <= _ALIKE)
            better = np.where(alike, abroad < away, gain > 0)
            number[better] = self.plan.numbers[source]
            clear[better], away[better] = other[better], abroad[better]
        return number, clear

    def _choose(self, part: Box) -> np.ndarray:
        """Choose the acquisition of each pixel of a part; return its number, 0 for none."""
        chosen = np.zeros(part.shape, dtype=np.uint16)
        best = np.zeros(part.shape, dtype=np.uint8)
        needed = within(part, self._needed(part))
        for take in self.takes:
            number, clear = self._observed(part, take)
            better = clear > best
            chosen[better], best[better] = number[better], clear[better]
            if (best[needed] == FAR).all():
                break  # no later datatake can be preferred
        return chosen

    # Values

    def _values(self, part: Box, source: CubeDate, wanted: np.ndarray) -> np.ndarray:
        """Read (bands, h, w) of an acquisition in the blocks with a ``wanted`` pixel."""
        plan, group = self.plan, self._group(source)
        out = np.full((len(plan.bands), *part.shape), FILL, dtype=np.int16)
        blocks = [b for b in self._blocks(part, group) if wanted[b[1]].any()]
        if not blocks:
            return out
        margin = max(reach(plan.config.resampling, under.scale) for _, _, under, _ in blocks)
        around = _union(window for *_, window in blocks).grow(margin) & group.area
        data = read_window(plan.cube, source, (*plan.bands, "valid"), around)
        bands = data[:-1]
        bands[:, data[-1] == 0] = FILL
        how = plan.config.resampling
        for block, (rows, cols), under, window in blocks:
            held = window.grow(reach(how, under.scale)) & group.area
            inner = bands[:, *within(around, held)]
            out[:, rows, cols] = resample(plan.grid, block, under, group.grid, inner, held, how)
        return out

    def _best(self, part: Box) -> dict[str, np.ndarray]:
        # A blended pixel depends on whole blocks around it.
        around = part.grow(-(-self.plan.ring // BLOCK) * BLOCK)
        chosen = self._choose(around)
        if self.plan.ring:
            return self._layers(self._blend(part, around, chosen), chosen[within(around, part)])
        out = np.full((len(self.plan.bands), *part.shape), FILL, dtype=np.int16)
        for source in self._shown(chosen):
            mine = chosen == self.plan.numbers[source]
            out[:, mine] = self._values(part, source, mine)[:, mine]
        return self._layers(out, chosen)

    def _shown(self, chosen: np.ndarray) -> list[CubeDate]:
        return [self.plan.sources[number - 1] for number in np.unique(chosen) if number]

    def _blend(self, part: Box, around: Box, chosen: np.ndarray) -> np.ndarray:
        """Blend the chosen acquisitions across their borders by their shares."""
        near = part.grow(self.plan.ring)
        place = within(around, near)
        inner = within(near, part)
        total = np.zeros((len(self.plan.bands), *part.shape))
        weight = np.zeros(part.shape)
        for source in self._shown(chosen[place]):
            usable = self._clear(around, source)[place] > 0
            number = self.plan.numbers[source]
            share = blending_weights(chosen[place], usable, number, self.plan.ring)[inner]
            values = self._values(part, source, share > 0)
            total += share * np.where(share > 0, values, 0)
            weight += share
        return feathered(total, weight)

    def _layers(self, bands: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
        out = dict(zip(self.plan.bands, bands, strict=True))
        return {**out, "valid": (source > 0).astype(np.uint8), "source": source}

    def _stack(self, part: Box) -> tuple[np.ndarray, np.ndarray]:
        """Return the clear observations of each pixel, at most one per datatake: reflectance (n, bands, h, w) and numbers
        of their acquisitions (n, h, w).
        """
        count = 0
        stack = np.full(
            (max(1, len(self.takes)), len(self.plan.bands), *part.shape), FILL, dtype=np.int16
        )
        numbers = np.zeros((len(stack), *part.shape), dtype=np.uint16)
        for take in self.takes:
            number, clear = self._observed(part, take)
            if not clear.any():
                continue
            for source in self._shown(number):
                mine = number == self.plan.numbers[source]
                stack[count][:, mine] = self._values(part, source, mine)[:, mine]
            numbers[count] = number
            count += 1
        return stack[: max(1, count)], numbers[: max(1, count)]

    def _medoid(self, part: Box) -> dict[str, np.ndarray]:
        stack, numbers = self._stack(part)
        index = medoid(stack)
        at = np.maximum(index, 0)[None]
        # Band by band: indices of all bands at once would take four times the memory of the values.
        bands = np.stack(
            [np.take_along_axis(stack[:, i], at, axis=0)[0] for i in range(len(self.plan.bands))]
        )
        source = np.take_along_axis(numbers, at, axis=0)[0]
        return self._layers(bands, np.where(index < 0, 0, source).astype(np.uint16))

    def _median(self, part: Box) -> dict[str, np.ndarray]:
        stack, numbers = self._stack(part)
        count = (numbers > 0).sum(axis=0).astype(np.uint16)
        out = {
            band: medians(np.ascontiguousarray(stack[:, i]))
            for i, band in enumerate(self.plan.bands)
        }
        return {**out, "valid": (count > 0).astype(np.uint8), "count": count}


def _union(windows: Iterator[Box]) -> Box:
    first, *others = windows
    for other in others:
        first |= other
    return first
