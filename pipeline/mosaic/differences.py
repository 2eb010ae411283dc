"""Differences between the acquisitions of a mosaic, where two of them see the same ground clearly.

Orbits differ in angle, dates in atmosphere, EPSG codes in processing. Borders in a mosaic show these differences, and
blending only hides them. Therefore they are measured and reported.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from s2sharp_core.lattice import Box

from ..cube.layout import FILL
from ..storage.files import files, read_named, write_text
from ..storage.location import Location
from .composite import distance_from_cloud
from .grid import Grid, GridAlignment, footing
from .plan import MosaicPlan, Takes, Tile
from .sources import CubeDate, Group, read_window

# Least samples along the longer side of a tile; coarsest overview that is read (80 m).
_SAMPLES, _LEVEL = 128, 3
# Samples that two acquisitions must share.
_ENOUGH = 50
# Days between two passes of one orbit, by S2A and S2B in turn.
_REPEAT = 5.0


@dataclass(frozen=True)
class Pair:
    """Two acquisitions of one period: ``median`` of the second minus the first, per band in DN, over ``samples``
    pixels that are clear in both.
    """

    period: str
    first: CubeDate
    second: CubeDate
    samples: int
    median: tuple[float, ...]

    @property
    def kind(self) -> str:
        """Kind of difference: "codes", "dates" or "orbits"."""
        if self.first.take == self.second.take:
            return "codes"
        days = _days(self.first, self.second)
        return "dates" if abs(days - _REPEAT * round(days / _REPEAT)) < 0.02 else "orbits"


def _days(first: CubeDate, second: CubeDate) -> float:
    times = [datetime.fromisoformat(s.datetime) for s in (first, second)]
    return abs((times[1] - times[0]).total_seconds()) / 86_400


def differences_path(plan: MosaicPlan) -> Location:
    return plan.config.to / "differences.json"


def compare_tile(plan: MosaicPlan, tile: Tile, takes: Takes) -> int:
    """Compare all pairs of a tile's acquisitions on a sparse grid; return their number."""
    asked = plan.box(tile) & plan.area
    step = 1
    while 2 * step * _SAMPLES <= max(asked.shape):
        step *= 2
    coarse = Grid(plan.grid.crs, plan.grid.resolution * step)
    box = Box(
        asked.row0 // step, -(-asked.row1 // step), asked.col0 // step, -(-asked.col1 // step)
    )
    unders: dict[int, GridAlignment | None] = {}
    seen: list[tuple[CubeDate, np.ndarray]] = []
    for source in itertools.chain(*takes):
        group = plan.cube.groups[source.epsg]
        if group.epsg not in unders:
            unders[group.epsg] = footing(coarse, box, group.grid, group.area)
        under = unders[group.epsg]
        if under is not None:
            level = min(step.bit_length() - 1, _LEVEL, group.levels)
            seen.append((source, _sample(plan, group, source, under, level)))
    pairs = []
    for (first, a), (second, b) in itertools.combinations(seen, 2):
        both = (a[0] != FILL) & (b[0] != FILL)
        samples = int(both.sum())
        if samples >= _ENOUGH:
            change = b[:, both].astype(np.int32) - a[:, both]
            median = [float(m) for m in np.median(change, axis=1)]
            pairs.append((plan.numbers[first], plan.numbers[second], samples, median))
    write_text(_folder(plan) / _name(plan, tile), json.dumps(pairs))
    return len(pairs)


def _sample(
    plan: MosaicPlan, group: Group, source: CubeDate, under: GridAlignment, level: int
) -> np.ndarray:
    """Read (bands, h, w) from an acquisition's overview at the pixels of ``under``; FILL where it is not clear."""
    pixel = 2**level
    corner = group.box if level else Box(0, 0, 0, 0)
    rows, cols = (under.rows - corner.row0) // pixel, (under.cols - corner.col0) // pixel
    held = GridAlignment(rows, cols, under.inside, under.scale)
    dilate = plan.config.dilate / (group.grid.resolution * pixel)
    window = held.window()
    assert window is not None  # noqa: S101  (a footing has pixels)
    height, width = (-(-n // pixel) for n in group.box.shape)
    known = Box(0, height, 0, width) if level else group.area
    around = window.grow(int(np.ceil(dilate)) + 1) & known
    names = (*plan.bands, "cloud", "valid")
    data = read_window(plan.cube, source, names, around, level)
    clear = distance_from_cloud(data[-2], data[-1], dilate) > 0
    return held.take(np.where(clear, data[:-2], np.int16(FILL)), around, FILL)


def _folder(plan: MosaicPlan) -> Location:
    return plan.config.to / "differences"


def _name(plan: MosaicPlan, tile: Tile) -> str:
    return f"{plan.name(tile, 'tile')}.json"


def merge(plan: MosaicPlan) -> list[Pair]:
    """Merge the pairs of all tiles, those with most samples first, and write them as ``differences.json``.

    A pair in several tiles has the median of the tiles' medians, weighted by their samples.
    """
    found: dict[tuple[str, int, int], list[tuple[int, list[float]]]] = {}
    there = files(_folder(plan))
    names = {_name(plan, tile): plan.periods[tile.period].name for tile in plan.tiles()}
    kept = [name for name in names if name in there]
    for name, text in read_named(_folder(plan), kept):
        for first, second, samples, median in json.loads(text):
            found.setdefault((names[name], first, second), []).append((samples, median))
    pairs = [
        Pair(
            period=period,
            first=plan.sources[first - 1],
            second=plan.sources[second - 1],
            samples=sum(samples for samples, _ in tiles),
            median=tuple(_weighted(tiles)),
        )
        for (period, first, second), tiles in found.items()
    ]
    pairs.sort(key=lambda p: (-p.samples, p.period, p.first.id, p.second.id))
    write_text(differences_path(plan), json.dumps(_told(plan, pairs)))
    return pairs


def _weighted(tiles: list[tuple[int, list[float]]]) -> Iterator[float]:
    weights = np.array([samples for samples, _ in tiles])
    for values in np.array([median for _, median in tiles]).T:
        order = np.argsort(values)
        half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
        yield float(values[order][half])


def _told(plan: MosaicPlan, pairs: Iterable[Pair]) -> dict[str, Any]:
    return {
        "about": "Median of second minus first over pixels that are clear in both, in DN (1/10 000 of "
        "reflectance). differ_in: codes (one datatake cut for two EPSG codes), dates (one orbit), orbits.",
        "bands": list(plan.bands),
        "pairs": [
            {
                "period": pair.period,
                "first": pair.first.id,
                "second": pair.second.id,
                "differ_in": pair.kind,
                "days": round(_days(pair.first, pair.second), 3),
                "samples": pair.samples,
                "median": dict(zip(plan.bands, pair.median, strict=True)),
            }
            for pair in pairs
        ],
    }


def kinds(pairs: Iterable[Pair]) -> Mapping[str, tuple[int, np.ndarray]]:
    """Return for each kind of difference the number of pairs, and per band their median absolute difference."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.kind, []).append(pair)
    return {
        kind: (len(some), np.median(np.abs([p.median for p in some]), axis=0))
        for kind, some in sorted(found.items())
    }
