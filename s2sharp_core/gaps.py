"""Filling of gaps before a method sees them: the mirror image of the pixels beside them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .bands import BANDS, CELL

# Grid on which gaps are mirrored, metres → GSDs of its bands. Bands of 10 and 20 m share one, so that they agree.
_GRIDS = {20: (10, 20), 60: (60,)}


def holes_of(data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return where each band has no data: bool, of its shape."""
    return {band: np.isnan(y) for band, y in data.items()}


def closed(
    data: Mapping[str, np.ndarray], holes: Mapping[str, np.ndarray], radius: int
) -> dict[str, np.ndarray]:
    """Fill the gaps of an image from valid pixels at most ``radius`` cells away along each axis.

    Up to half of ``radius`` from valid pixels, a gap shows their mirror image, so edges do not end at the gap. Bands of
    10 and of 20 m are mirrored on one grid, those of 60 m on their own, so that all bands agree in a gap. Images from
    several sides are averaged by the inverse square of their distances. Farther away a gap gets the mean of its
    surroundings, and beyond ``radius`` from all valid pixels 0.

    A value does not depend on the array that it was cut from, because sums run in a fixed order.

    Parameters
    ----------
    data
        Band → float32 (y, x) over whole cells, NaN in gaps.
    holes
        Its :func:`holes_of`.
    radius
        In cells of 60 m.
    """
    places = _places(holes, radius)
    if not places:
        return dict(data)
    inner = {band: y[places[band]] for band, y in data.items()}
    found = _closed(inner, {band: hole[places[band]] for band, hole in holes.items()}, radius)
    out = dict(data)
    for band, y in found.items():
        out[band] = data[band].copy()
        out[band][places[band]] = y
    return out


def _places(holes: Mapping[str, np.ndarray], radius: int) -> dict[str, tuple[slice, slice]]:
    """Return the part of each band around all gaps, with everything that their filling depends on. Empty without
    gaps.
    """
    spans = []
    for axis in (1, 0):
        lines = [
            hole.any(axis=axis).reshape(-1, CELL // BANDS[band].gsd).any(axis=1)
            for band, hole in holes.items()
        ]
        some = np.flatnonzero(np.logical_or.reduce(lines))
        if not some.size:
            return {}
        # One cell more, because a part that lies half in a cell counts as whole.
        spans.append((max(0, int(some[0]) - radius - 1), int(some[-1]) + radius + 2))
    sides = {band: CELL // BANDS[band].gsd for band in holes}
    rows, cols = (
        {band: slice(n * first, n * last) for band, n in sides.items()} for first, last in spans
    )
    return {band: (rows[band], cols[band]) for band in holes}


def _closed(
    data: Mapping[str, np.ndarray], holes: Mapping[str, np.ndarray], radius: int
) -> dict[str, np.ndarray]:
    """Return the bands that have ``holes``, with these filled."""
    out = {}
    for grid, gsds in _GRIDS.items():
        of_grid = {band: hole for band, hole in holes.items() if BANDS[band].gsd in gsds}
        gaps = [_any_in(hole, grid // BANDS[band].gsd) for band, hole in of_grid.items()]
        known = ~np.logical_or.reduce(gaps)
        if known.all():
            continue
        # The mirror image of the farthest part of a halo ends with the last cell of the next one.
        mirror = _Mirror.of(known, (radius * CELL // grid + 1) // 2)
        for band, hole in of_grid.items():
            if hole.any():
                y, gsd = data[band], BANDS[band].gsd
                usual = np.where(hole, _spread(y, gsd, radius), y)
                mirrored = mirror.shown(_in_parts(usual, grid // gsd))
                out[band] = np.where(hole, _in_pixels(mirrored), y)
    return out


def _any_in(hole: np.ndarray, n: int) -> np.ndarray:
    """Return where any of n × n pixels is set."""
    return np.logical_or.reduce([hole[i::n, j::n] for i in range(n) for j in range(n)])


def _in_parts(y: np.ndarray, n: int) -> np.ndarray:
    """Reshape (y, x) → (rows, columns, n, n)."""
    return y.reshape(y.shape[0] // n, n, y.shape[1] // n, n).swapaxes(1, 2)


def _in_pixels(parts: np.ndarray) -> np.ndarray:
    rows, cols, n, _ = parts.shape
    return parts.swapaxes(1, 2).reshape(rows * n, cols * n)


def _spread(y: np.ndarray, gsd: int, radius: int) -> np.ndarray:
    """Return the mean of each cell, or of the cells at most ``radius`` cells away, in all pixels of the cell."""
    n = CELL // gsd
    total = np.zeros((y.shape[0] // n, y.shape[1] // n), dtype=np.float32)
    count = np.zeros_like(total)
    for i in range(n):
        for j in range(n):
            part = y[i::n, j::n]
            ok = ~np.isnan(part)
            total += np.where(ok, part, np.float32(0))
            count += ok
    known = count > 0
    mean = np.where(known, total / np.maximum(count, 1), np.float32(0))
    for _ in range(radius):
        if known.all():
            break
        value, weight = np.pad(mean, 1), np.pad(known.astype(np.float32), 1)
        total, count = np.zeros_like(mean), np.zeros_like(mean)
        for i in range(3):
            for j in range(3):
                window = np.s_[i : i + mean.shape[0], j : j + mean.shape[1]]
                total += value[window]
                count += weight[window]
        reached = ~known & (count > 0)
        mean = np.where(reached, total / np.maximum(count, 1), mean)
        known |= reached
    return mean.repeat(n, axis=0).repeat(n, axis=1)


@dataclass(frozen=True)
class _Side:
    """Parts with known pixels near enough on one side of their row; each mirrors ``source``.

    Attributes
    ----------
    row, col, source
        (k,): a part, and the column that it mirrors.
    away
        (k,): parts between it and the nearest known one.
    first
        Whether that one lies on the left.
    """

    row: np.ndarray
    col: np.ndarray
    source: np.ndarray
    away: np.ndarray
    first: bool

    @classmethod
    def of(cls, known: np.ndarray, reach: int, *, first: bool) -> "_Side":
        if not first:
            other = cls.of(known[:, ::-1], reach, first=True)
            last = known.shape[1] - 1
            return cls(other.row, last - other.col, last - other.source, other.away, first)
        cols = known.shape[1]
        edges = np.maximum.accumulate(np.where(known, np.arange(cols), -cols - reach), axis=1)
        row, col = np.nonzero(~known & (np.arange(cols) - edges <= reach))
        edge = edges[row, col]
        image = 2 * edge - col + 1
        # If the known part is too short, its last part is repeated.
        image = np.where((image >= 0) & known[row, image.clip(0)], image, edge)
        return cls(row, col, image, col - edge - 1, first)

    def add(self, parts: np.ndarray, total: np.ndarray, weights: np.ndarray) -> None:
        """Add the images of ``parts`` (rows, columns, n, n), weighted by the inverse square of their distance."""
        n = parts.shape[2]
        place = (np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n)
        distance = self.away[:, None].astype(np.float32) + (place if self.first else 1 - place)
        weight = (1 / np.square(distance))[:, None, :]
        total[self.row, self.col] += weight * parts[self.row, self.source, :, ::-1]
        weights[self.row, self.col] += weight


@dataclass(frozen=True)
class _Mirror:
    """Sources of the mirror image of each part of a gap, along its row and along its column.

    A corner has no known pixels along either, so it mirrors the images of the rows along its column.
    """

    across: tuple[_Side, _Side]
    down: tuple[_Side, _Side]
    corner: tuple[_Side, _Side]

    @classmethod
    def of(cls, known: np.ndarray, reach: int) -> "_Mirror":
        across, down = _sides(known, reach), _sides(known.T, reach)
        seen = known.copy()
        for side in across:
            seen[side.row, side.col] = True
        return cls(across, down, _sides(seen.T, reach))

    def shown(self, parts: np.ndarray) -> np.ndarray:
        """Return ``parts`` (rows, columns, n, n) with mirrored values in the gaps."""
        total, weights = np.zeros_like(parts), np.zeros_like(parts)
        for side in self.across:
            side.add(parts, total, weights)
        rows = np.divide(total, weights, out=parts.copy(), where=weights > 0)
        for side in self.down:
            side.add(*map(_turned, (parts, total, weights)))
        seen = weights > 0
        out = np.divide(total, weights, out=parts.copy(), where=seen)
        total[:], weights[:] = 0, 0
        for side in self.corner:
            side.add(*map(_turned, (rows, total, weights)))
        return np.divide(total, weights, out=out, where=~seen & (weights > 0))


def _sides(known: np.ndarray, reach: int) -> tuple[_Side, _Side]:
    return _Side.of(known, reach, first=True), _Side.of(known, reach, first=False)


def _turned(parts: np.ndarray) -> np.ndarray:
    """Return a view of ``parts`` with rows as columns."""
    return parts.transpose(1, 0, 3, 2)
