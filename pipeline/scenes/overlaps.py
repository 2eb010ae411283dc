"""Overlaps: choice of the scene for each cell.

Overlaps of Level-1C are equal. Level-2A is corrected tile by tile, so its overlaps differ, most of all towards the
edges of tiles. So the result changes from one tile to the next at one line, in the middle of the overlap.
"""

from functools import lru_cache

import numpy as np

from s2sharp_core.bands import CELL
from s2sharp_core.lattice import Box


@lru_cache(maxsize=4)
def precedence(boxes: tuple[Box, ...], cells: Box) -> np.ndarray:
    """Return int16 (choice, row, column): the index of the scene for each of ``cells``, best choice first; -1: none.

    The best choice among the scenes that hold a cell has the nearest centre; for equal distances it is the first
    scene. The others fill its holes. The choice depends only on the scenes at this place, which every query for it
    finds. So no line depends on the requested area or the order of reading.
    """
    if len(boxes) == 1:
        alone = np.full((1, *cells.shape), -1, dtype=np.int16)
        if not (boxes[0] & cells).empty:
            alone[0][cells.slices(boxes[0] & cells, CELL)] = 0
        return alone
    rows, cols = np.ogrid[cells.row0 : cells.row1, cells.col0 : cells.col1]
    away = np.full((len(boxes), *cells.shape), np.iinfo(np.int64).max)
    for distance, box in zip(away, boxes, strict=True):
        inner = box & cells
        if not inner.empty:
            here = cells.slices(inner, CELL)
            # The doubled distance from a cell's centre to the scene's, squared.
            down, across = 2 * rows + 1 - box.row0 - box.row1, 2 * cols + 1 - box.col0 - box.col1
            distance[here] = (down**2 + across**2)[here]
    order = np.argsort(away, axis=0, kind="stable")
    held = np.take_along_axis(away, order, axis=0) < np.iinfo(np.int64).max
    return np.where(held, order, -1).astype(np.int16)
