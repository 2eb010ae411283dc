"""The lattice of 60 m cells on which every grid, window, block and shard of one EPSG code lies.

In an MGRS tile, the upper-left easting is always a multiple of 60 m. The upper-left northing is a multiple in the
north, and 40 m more than one in the south, because the false northing 10 000 000 m is. Rows count downwards from a
fixed northing, so a cell has the same (row, column) in every run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .bands import CELL
from .errors import S2SharpError

# The first multiple of 60 m at or above 10 000 000 m, and 10 000 000 m itself.
_TOP_NORTH = 10_000_020.0
_TOP_SOUTH = 10_000_000.0


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle of cells, half open: rows ``row0`` … ``row1 - 1``, columns ``col0`` … ``col1 - 1``."""

    row0: int
    row1: int
    col0: int
    col1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Return (rows, columns) in cells."""
        return self.row1 - self.row0, self.col1 - self.col0

    @property
    def empty(self) -> bool:
        return self.row1 <= self.row0 or self.col1 <= self.col0

    def grow(self, cells: int) -> "Box":
        return Box(self.row0 - cells, self.row1 + cells, self.col0 - cells, self.col1 + cells)

    def __and__(self, other: "Box") -> "Box":
        return Box(
            max(self.row0, other.row0),
            min(self.row1, other.row1),
            max(self.col0, other.col0),
            min(self.col1, other.col1),
        )

    def __or__(self, other: "Box") -> "Box":
        """Return the smallest box around both."""
        return Box(
            min(self.row0, other.row0),
            max(self.row1, other.row1),
            min(self.col0, other.col0),
            max(self.col1, other.col1),
        )

    def contains(self, other: "Box") -> bool:
        return (self & other) == other

    def snap(self, size: int) -> "Box":
        """Return the smallest box around this one whose edges are multiples of ``size`` cells."""
        return Box(
            self.row0 // size * size,
            -(-self.row1 // size) * size,
            self.col0 // size * size,
            -(-self.col1 // size) * size,
        )

    def tiles(self, size: int) -> Iterator["Box"]:
        """Yield the squares of ``size`` cells, anchored to the lattice, that meet this box, row by row."""
        around = self.snap(size)
        for row in range(around.row0, around.row1, size):
            for col in range(around.col0, around.col1, size):
                yield Box(row, row + size, col, col + size)

    def slices(self, inner: "Box", gsd: int) -> tuple[slice, slice]:
        """Return the place of ``inner`` in an array of ``gsd`` metres over this box: (rows, columns)."""
        n = CELL // gsd
        return (
            slice((inner.row0 - self.row0) * n, (inner.row1 - self.row0) * n),
            slice((inner.col0 - self.col0) * n, (inner.col1 - self.col0) * n),
        )

    def pixels(self, gsd: int) -> tuple[int, int]:
        """Return (height, width) of an array of ``gsd`` metres over this box."""
        n = CELL // gsd
        return self.shape[0] * n, self.shape[1] * n


@dataclass(frozen=True)
class Lattice:
    """The cells of one EPSG code. ``x0``, ``y0``: the upper-left corner of cell (0, 0) in metres."""

    epsg: int
    x0: float
    y0: float

    @classmethod
    def of(cls, epsg: int) -> "Lattice":
        """Return the lattice of ESA's tiles in a UTM code (326xx north, 327xx south)."""
        if not (32601 <= epsg <= 32660 or 32701 <= epsg <= 32760):
            raise S2SharpError(
                "crs-unknown",
                f"EPSG:{epsg} is not a UTM code of Sentinel-2's tiles (32601-32660, 32701-32760).",
                "Do not reproject: give the scene in the code in which ESA delivers it.",
            )
        return cls(epsg, 0.0, _TOP_SOUTH if epsg >= 32700 else _TOP_NORTH)

    @classmethod
    def through(cls, epsg: int, x: float, y: float) -> "Lattice":
        """Return the lattice that has a cell corner at (x, y), in metres."""
        return cls(epsg, x % CELL, _TOP_NORTH - (_TOP_NORTH - y) % CELL)

    def box(self, bounds: tuple[float, float, float, float], what: str) -> Box:
        """Return the cells of a raster with ``bounds`` (left, bottom, right, top) in metres.

        Raises
        ------
        S2SharpError
            ``off-lattice`` if an edge is not a cell's edge.
        """
        left, bottom, right, top = bounds
        edges = np.array(
            [self.y0 - top, self.y0 - bottom, left - self.x0, right - self.x0], dtype=float
        )
        cells = np.round(edges / CELL)
        off = edges - cells * CELL
        if np.abs(off).max() > 1e-3:
            raise S2SharpError(
                "off-lattice",
                f"{what} does not lie on the 60 m lattice of EPSG:{self.epsg}: its edges (left "
                f"{left:.3f}, bottom {bottom:.3f}, right {right:.3f}, top {top:.3f}) are off by up to "
                f"{np.abs(off).max():.3f} m.",
                "Use the product as ESA grids it, not a reprojected or cropped copy.",
            )
        row0, row1, col0, col1 = (int(c) for c in cells)
        return Box(row0, row1, col0, col1)

    def around(self, bounds: tuple[float, float, float, float]) -> Box:
        """Return the smallest box of cells around ``bounds`` (left, bottom, right, top) in metres."""
        left, bottom, right, top = bounds
        return Box(
            int(np.floor((self.y0 - top) / CELL)),
            int(np.ceil((self.y0 - bottom) / CELL)),
            int(np.floor((left - self.x0) / CELL)),
            int(np.ceil((right - self.x0) / CELL)),
        )

    def inside(self, bounds: tuple[float, float, float, float], tolerance: float) -> Box:
        """Return the largest box of cells that ends at most ``tolerance`` metres beyond ``bounds``."""
        left, bottom, right, top = bounds
        return Box(
            int(np.ceil((self.y0 - top - tolerance) / CELL)),
            int(np.floor((self.y0 - bottom + tolerance) / CELL)),
            int(np.ceil((left - self.x0 - tolerance) / CELL)),
            int(np.floor((right - self.x0 + tolerance) / CELL)),
        )

    def bounds(self, box: Box) -> tuple[float, float, float, float]:
        """Return (left, bottom, right, top) of ``box`` in metres."""
        return (
            self.x0 + box.col0 * CELL,
            self.y0 - box.row1 * CELL,
            self.x0 + box.col1 * CELL,
            self.y0 - box.row0 * CELL,
        )

    def transform(self, box: Box, gsd: int) -> tuple[float, float, float, float, float, float]:
        """Return the affine transform (a, b, c, d, e, f) of an array of ``gsd`` metres over ``box``."""
        left, _, _, top = self.bounds(box)
        return float(gsd), 0.0, left, 0.0, -float(gsd), top

    def coords(self, box: Box, gsd: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pixel-centre coordinates (x, y) in metres, float64, of an array of ``gsd`` metres over ``box``."""
        left, _, _, top = self.bounds(box)
        height, width = box.pixels(gsd)
        return left + gsd * (np.arange(width) + 0.5), top - gsd * (np.arange(height) + 0.5)


def any_in_cells(x: np.ndarray, gsd: int) -> np.ndarray:
    """Return for each cell whether any of its pixels is set: bool (h, w) from an array of ``gsd`` metres."""
    n = CELL // gsd
    rows, cols = x.shape
    return np.asarray(x.reshape(rows // n, n, cols // n, n).any(axis=(1, 3)))
