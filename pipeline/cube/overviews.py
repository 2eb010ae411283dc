"""Overviews: shards at half the resolution, made from the level below."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from s2sharp_core import BANDS
from s2sharp_core.bands import ERROR90, TRUST

from ..storage.location import Location
from .layout import FILL, Sharded
from .write import read_part

# Rows halved at once, an even number.
_ROWS = 512
# Layers whose overviews take the maximum.
_WORST = frozenset({"valid", "saturated", *TRUST})


def overview(
    store: Location, layout: Sharded, time: int, row: int, col: int, level: int
) -> dict[str, np.ndarray]:
    """Return one shard of an overview, every variable, from the level below."""
    # One shard below at a time: memory of that size is used again, while larger arrays get fresh pages from the kernel.
    downs, acrosses = (
        [
            slice(2 * i, min(2 * i + layout.side, 2 * s.stop, n))
            for i in range(s.start, s.stop, layout.side // 2)
        ]
        for s, n in zip(layout.place(row, col, level), layout.shape(level - 1), strict=True)
    )
    names = (*layout.bands, *layout.layers)

    def part(name: str, place: tuple[slice, slice]) -> np.ndarray:
        x = read_part(store, layout, name, time, place, level - 1)
        # Some rows at a time: sums take several times the memory of their terms.
        return np.concatenate([_halve(name, x[i : i + _ROWS]) for i in range(0, len(x), _ROWS)])

    def halved(name: str) -> np.ndarray:
        return np.block([[part(name, (down, across)) for across in acrosses] for down in downs])

    # Two variables at a time.
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(halved, names), strict=True))


def _halve(name: str, x: np.ndarray) -> np.ndarray:
    """Halve the resolution: reflectance by the mean of its data, errors by their root mean square, flags and trust layers
    by the maximum, classes by nearest.
    """
    layer = name not in BANDS
    x = np.pad(x, [(0, n % 2) for n in x.shape], constant_values=0 if layer else FILL)
    if layer:
        quads = [x[i::2, j::2] for i in (0, 1) for j in (0, 1)]
        if name.endswith(ERROR90):
            return _half_error(np.stack(quads).astype(np.float32))
        return np.maximum.reduce(quads) if name in _WORST else quads[0]
    if x.size and x.min() > FILL:
        return np.rint(_sums(x, np.int32) * np.float32(0.25)).astype(np.int16)
    there = x != FILL
    if not there.any():
        return x[::2, ::2].copy()
    count = _sums(there, np.int8)
    total = _sums(np.where(there, x, np.int16(0)), np.int32)
    mean = np.rint(total.astype(np.float32) / np.maximum(count, 1))
    return np.where(count > 0, mean, FILL).astype(np.int16)


def _sums(x: np.ndarray, dtype: type[np.integer[Any]]) -> np.ndarray:
    """Return sums of 2 × 2, rows first, which are contiguous."""
    rows = x[::2].astype(dtype)
    rows += x[1::2]
    return np.asarray(rows[:, ::2] + rows[:, 1::2])


def _half_error(quads: np.ndarray) -> np.ndarray:
    """Return the root mean square of the half-widths in 2 × 2 pixels, (4, h, w), a bound for the mean's error: it takes the
    four errors as fully correlated.
    """
    count = np.maximum((quads > 0).sum(axis=0), 1)
    return np.rint(np.sqrt((quads**2).sum(axis=0) / count)).astype(np.uint16)
