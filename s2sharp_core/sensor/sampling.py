"""Windows without gaps of a scene in memory, for methods that learn and for the measurement of the sensor."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..bands import BANDS, BY_GSD, CELL, GSDS
from ..lattice import Box
from .sample import Sample

SIDE = 64
"""Side of a window in cells, as in a run."""

# Largest number of windows of a larger scene.
_WINDOWS = 16


def windows_of(arrays: Mapping[str, np.ndarray], box: Box, sides: Sequence[int]) -> Sample | None:
    """Take windows without gaps from a scene: a small scene whole, or up to 16 of the largest side.

    Parameters
    ----------
    arrays
        Band → float32 (h, w) at its native resolution over ``box``, NaN as nodata.
    sides
        Sides of windows in cells, the best first; the last is the smallest acceptable one.

    Returns
    -------
    Sample or None
        Bands that ``arrays`` lack are zero. None if no window of the smallest side is without gaps.
    """
    clean = np.ones(box.shape, dtype=bool)
    for band, y in arrays.items():
        n = CELL // BANDS[band].gsd
        inside = y[box.slices(box, BANDS[band].gsd)]
        clean &= np.isfinite(inside).reshape(box.shape[0], n, box.shape[1], n).all(axis=(1, 3))
    smallest = sides[-1]
    for side in (*(s for s in sides[:-1] if smallest < s <= min(box.shape)), smallest):
        places = _places(clean, side)
        shape = (side, side)
        if clean.all() and max(box.shape) <= 2 * side and min(box.shape) >= smallest:
            places, shape = [(0, 0)], box.shape
        if places:
            return _cut(arrays, box, places, shape)
    return None


def _cut(
    arrays: Mapping[str, np.ndarray],
    box: Box,
    places: Sequence[tuple[int, int]],
    shape: tuple[int, int],
) -> Sample:
    stacks = []
    for gsd in GSDS:
        n = CELL // gsd
        nothing = np.zeros((n * box.shape[0], n * box.shape[1]), dtype=np.float32)
        picture = np.stack([arrays.get(band, nothing) for band in BY_GSD[gsd]])
        parts = [
            picture[:, n * r : n * (r + shape[0]), n * c : n * (c + shape[1])] for r, c in places
        ]
        stacks.append(torch.from_numpy(np.stack(parts)))
    return Sample(*stacks)


def _places(clean: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Return first row and column of separate windows with only ``clean`` cells, spread over the scene."""
    if min(clean.shape) < side:
        return []
    total = np.pad(clean.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    count = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    free = count == side * side
    found = []
    for row in range(free.shape[0]):
        for col in np.flatnonzero(free[row]):
            if free[row, col]:
                found.append((row, int(col)))
                free[row : row + side, max(0, col - side + 1) : col + side] = False
    every = max(1, -(-len(found) // _WINDOWS))
    return found[::every]
