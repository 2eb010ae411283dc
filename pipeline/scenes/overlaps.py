"""Overlaps: which scene gives a cell.

Overlaps of Level-1C are equal. Level-2A is corrected tile by tile, so they differ, most of all towards the tiles'
edges: there is one line, in the middle of the overlap, at which the picture goes over from one tile to the next.
"""

from functools import lru_cache

import numpy as np

from s2sharp_core.bands import CELL
from s2sharp_core.lattice import Box

__all__ = ["precedence"]


@lru_cache(maxsize=4)
def precedence(boxes: tuple[Box, ...], cells: Box) -> np.ndarray:
    """int16 (choice, row, column): the index of the scene that gives each of ``cells``, best choice first; -1: none.

    Of the scenes that hold a cell, the one whose middle is nearest, of equals the first; the next ones fill its
    holes. That follows from the scenes at this very place, which every query for it finds: so no line depends on what
    else was asked for, or on the way in which it is read.
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
            # Twice the distance from a cell's middle to the scene's, squared.
            down, across = 2 * rows + 1 - box.row0 - box.row1, 2 * cols + 1 - box.col0 - box.col1
            distance[here] = (down**2 + across**2)[here]
    order = np.argsort(away, axis=0, kind="stable")
    held = np.take_along_axis(away, order, axis=0) < np.iinfo(np.int64).max
    return np.where(held, order, -1).astype(np.int16)
