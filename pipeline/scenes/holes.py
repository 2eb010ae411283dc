"""Holes of a band where the others of its scene have data: its file is not whole, perhaps."""

import numpy as np
from scipy.ndimage import minimum_filter

from s2sharp_core.bands import BANDS, CELL
from s2sharp_core.lattice import Box

from .read import Block

__all__ = ["Holes"]

EDGE = 17
"""Cells from where nothing is, about a kilometre: so far apart lie the edges of bands, which are seen one after the other."""

LEAST, FEWEST = 0.02, 64
"""Share of a unit, and cells of it, that a band must lack to be told: a swath's end may only just touch a unit, and bands
end one by one.
"""


class Holes:
    """Cells of a unit that bands have data in, as it is read strip by strip."""

    def __init__(self, cells: Box) -> None:
        self._cells = cells
        self._there: dict[str, np.ndarray] = {}

    def look(self, block: Block, strip: Box) -> None:
        """Take in a strip: of each band, where it has data, a value that is saturated being some."""
        place = self._cells.slices(strip, CELL)
        glare = _any(block.saturated, 10) if block.saturated.any() else np.False_
        for band, y in block.data.items():
            gsd = BANDS[band].gsd
            there = self._there.setdefault(band, np.zeros(self._cells.shape, dtype=bool))
            data = ~np.isnan(y[block.box.slices(strip, gsd)])
            there[place] = data.all() or _any(data, gsd) | glare

    def found(self) -> dict[str, float]:
        """Band → share of what the others have, away from its edges, that it lacks; of bands that lack enough to be told."""
        if not self._there:
            return {}
        some = np.logical_or.reduce(list(self._there.values()))
        inside = minimum_filter(some, 2 * EDGE + 1, mode="constant", cval=1)
        total = max(1, int(np.count_nonzero(some)))
        lacks = {band: np.count_nonzero(inside & ~there) for band, there in self._there.items()}
        least = max(FEWEST, LEAST * total)
        return {band: cells / total for band, cells in lacks.items() if cells >= least}


def _any(there: np.ndarray, gsd: int) -> np.ndarray:
    """Tell of each cell whether any of its pixels is set."""
    n = CELL // gsd
    rows, cols = there.shape
    return np.asarray(there.reshape(rows // n, n, cols // n, n).any(axis=(1, 3)))
