"""Holes of a band where the other bands of its scene have data: its file may be incomplete."""

import numpy as np
from scipy.ndimage import minimum_filter

from s2sharp_core.bands import BANDS, CELL
from s2sharp_core.lattice import Box, any_in_cells

from .read import Block

EDGE = 17
"""Distance in cells from missing data that is not checked, about a kilometre: the edges of bands, which are sensed
one after the other, lie that far apart."""

LEAST, FEWEST = 0.02, 64
"""Share of a unit, and number of cells, that a band must lack to be reported. The end of a swath may just touch a
unit, and bands end one by one."""


class Holes:
    """Cells of a unit in which bands have data, collected strip by strip."""

    def __init__(self, cells: Box) -> None:
        self._cells = cells
        self._there: dict[str, np.ndarray] = {}

    def look(self, block: Block, strip: Box) -> None:
        """Add a strip: the cells where each band has data; saturated values count as data."""
        place = self._cells.slices(strip, CELL)
        glare = any_in_cells(block.saturated, 10) if block.saturated.any() else np.False_
        for band, y in block.data.items():
            gsd = BANDS[band].gsd
            there = self._there.setdefault(band, np.zeros(self._cells.shape, dtype=bool))
            data = ~np.isnan(y[block.box.slices(strip, gsd)])
            there[place] = data.all() or any_in_cells(data, gsd) | glare

    def found(self) -> dict[str, float]:
        """Return, by band worth a report, the share of the other bands' data, away from its edges, that it lacks."""
        if not self._there:
            return {}
        some = np.logical_or.reduce(list(self._there.values()))
        inside = minimum_filter(some, 2 * EDGE + 1, mode="constant", cval=1)
        total = max(1, int(np.count_nonzero(some)))
        lacks = {band: np.count_nonzero(inside & ~there) for band, there in self._there.items()}
        least = max(FEWEST, LEAST * total)
        return {band: cells / total for band, cells in lacks.items() if cells >= least}
