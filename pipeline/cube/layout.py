"""Layout of a cube: its groups, grids, bands, layers, shards and chunks."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CIRRUS, MEASURED, NO_DATA, SceneClass, error_of
from s2sharp_core.lattice import Box, Lattice

from .keys import chunk_key

if TYPE_CHECKING:
    from pyproj import CRS

FORMAT = 1
"""Version of the cube's format; raised when a reader of the old version would misread the new one."""

FILL = NO_DATA
SCALE = 1e-4

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top) in the units of a CRS."""

# Name → (dtype, long name, flags). Zero means "no data" in each of them.
LAYERS: dict[str, tuple[str, str, dict[int, str]]] = {
    "valid": ("uint8", "all bands that were read have data", {0: "invalid", 1: "valid"}),
    "cloud": (
        "uint8",
        "scene classification (SCL) of the product, nearest",
        {kind.value: kind.name.lower() for kind in SceneClass},
    ),
    "saturated": ("uint8", "a band that was read is saturated", {0: "no", 1: "yes"}),
    "source": ("uint16", "which item of the acquisition: 1 is its first", {}),
}

TRUST_LAYERS: dict[str, tuple[str, str, dict[int, str]]] = {
    "residual": (
        "uint16",
        "DN by which the result, seen again by the satellite, departs from what it saw: RMS of a 60 m cell",
        {},
    ),
    "detail": (
        "uint16",
        "DN of the result that were carried over from finer bands, not measured: RMS of a 60 m cell",
        {},
    ),
}
"""Layers of ``--trust``, named as :data:`~s2sharp_core.bands.TRUST`; at least 1 where a band was sharpened."""


def error_layers(bands: Iterable[str]) -> dict[str, tuple[str, str, dict[int, str]]]:
    """Return the layers of ``--error90``, one for each sharpened band; at least 1 where it was sharpened."""
    sharpened = (band for band in bands if MEASURED[band].gsd > 10)
    about = "half-width of the interval around {} that held 90 % of the errors of scenes like this"
    return {error_of(band): ("uint16", about.format(band), {}) for band in sharpened}


class Sharded:
    """A group of a store: arrays (time, y, x) in whole shards, and their overviews.

    ``group``: its path in the store; ``chunk``, ``side``: sides of a chunk and of a shard in pixels; ``times``: ISO 8601 in
    UTC; ``bands``: names of :data:`BANDS`; ``layers``: described as in :data:`LAYERS`; ``pixel``: side of a pixel in units of
    the CRS; ``size``: (height, width) of the arrays; ``bounds``, ``asked``: bounds of the arrays, and of the requested area;
    ``moves``: number of times that the cube was moved.
    """

    if TYPE_CHECKING:

        @property
        def group(self) -> str: ...
        @property
        def chunk(self) -> int: ...
        @property
        def times(self) -> tuple[str, ...]: ...
        @property
        def bands(self) -> tuple[str, ...]: ...
        @property
        def layers(self) -> Mapping[str, tuple[str, str, dict[int, str]]]: ...
        @property
        def crs(self) -> "CRS": ...
        @property
        def pixel(self) -> float: ...
        @property
        def size(self) -> tuple[int, int]: ...
        @property
        def side(self) -> int: ...
        @property
        def bounds(self) -> Bounds: ...
        @property
        def asked(self) -> Bounds: ...

    moves: int = 0

    @property
    def levels(self) -> int:
        """Number of overviews, each half as fine, until one fits into a chunk."""
        side, levels = max(self.size), 0
        while side > self.chunk and side % 2 == 0:
            side, levels = side // 2, levels + 1
        return levels

    def shape(self, level: int = 0) -> tuple[int, int]:
        height, width = self.size
        return -(-height >> level), -(-width >> level)

    def level_of(self, most: int) -> int:
        """Return the finest level of at most ``most`` pixels a side, or the coarsest."""
        levels = range(self.levels + 1)
        return next((x for x in levels if max(self.shape(x)) <= most), self.levels)

    def place(self, row: int, col: int, level: int = 0) -> tuple[slice, slice]:
        """Return the pixels of shard (row, col), counted from the array's corner."""
        height, width = self.shape(level)
        return (
            slice(row * self.side, min((row + 1) * self.side, height)),
            slice(col * self.side, min((col + 1) * self.side, width)),
        )

    def shards(self, level: int = 0) -> tuple[int, int]:
        """Return the number of shards along (y, x)."""
        height, width = self.shape(level)
        return -(-height // self.side), -(-width // self.side)


@dataclass(frozen=True)
class Layout(Sharded):
    """The shape of one group of a cube.

    ``area``: the requested cells; ``extent``: the cells to reserve, at least the area; ``shard``: side in
    cells; ``chunk``: side in pixels of 10 m; ``times``: ISO 8601 in UTC, one per acquisition; ``ids``: those of the
    acquisitions; ``trust``: with :data:`TRUST_LAYERS`; ``cirrus``: with a ``native`` group; ``error90``: with
    :func:`error_layers`; ``moves``: number of times that the cube grew to the north or west (:mod:`~s2sharp.cube.keys`).
    """

    epsg: int
    area: Box
    shard: int
    chunk: int
    times: tuple[str, ...]
    bands: tuple[str, ...]
    ids: tuple[str, ...] = ()
    extent: Box | None = None
    trust: bool = False
    cirrus: bool = False
    error90: bool = False
    moves: int = 0

    pixel = 10.0

    def __post_init__(self) -> None:
        if self.shard * 6 % self.chunk:
            raise S2SharpError(
                "bad-config",
                f"A shard of {self.shard} cells ({self.shard * 6} px) is not a multiple of a chunk of "
                f"{self.chunk} px.",
                "Choose --shard and --chunk so that shard × 6 is a multiple of chunk.",
            )

    @property
    def group(self) -> str:
        return str(self.epsg)

    @property
    def native(self) -> "Native | None":
        """Group of the bands that are kept as measured, if any."""
        if not self.cirrus:
            return None
        own = {"bands": (CIRRUS.name,), "chunk": self.shard, "cirrus": False}
        return Native(**{**vars(self), **own})

    @property
    def layers(self) -> Mapping[str, tuple[str, str, dict[int, str]]]:
        layers = LAYERS | TRUST_LAYERS if self.trust else LAYERS
        return layers | error_layers(self.bands) if self.error90 else layers

    @property
    def box(self) -> Box:
        """Cells of the arrays: whole shards around the area, or the extent."""
        return (self.extent or self.area).snap(self.shard)

    @property
    def lattice(self) -> Lattice:
        return Lattice.of(self.epsg)

    @property
    def crs(self) -> "CRS":
        from pyproj import CRS  # cleaning a run does not need it

        return CRS.from_epsg(self.epsg)

    @property
    def size(self) -> tuple[int, int]:
        return self.box.pixels(10)

    @property
    def side(self) -> int:
        return self.shard * 6

    @property
    def bounds(self) -> Bounds:
        return self.lattice.bounds(self.box)

    @property
    def asked(self) -> Bounds:
        return self.lattice.bounds(self.area)

    def shards_in(self, cells: Box, level: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the shards (row, col) of a level that meet ``cells``, row by row."""
        inner = cells & self.box
        if inner.empty:
            return
        side = self.shard << level
        rows = range((inner.row0 - self.box.row0) // side, -(-(inner.row1 - self.box.row0) // side))
        cols = range((inner.col0 - self.box.col0) // side, -(-(inner.col1 - self.box.col0) // side))
        yield from itertools.product(rows, cols)

    def cells_at(self, rows: slice, cols: slice) -> Box:
        """Return the cells of a part of the area, given in pixels of 10 m that are whole cells."""
        area = self.area
        return Box(
            area.row0 + rows.start // 6,
            area.row0 + rows.stop // 6,
            area.col0 + cols.start // 6,
            area.col0 + cols.stop // 6,
        )

    def cells(self, row: int, col: int, level: int = 0) -> Box:
        """Return the cells of shard (row, col) of a level."""
        side = self.shard << level
        top, left = self.box.row0 + row * side, self.box.col0 + col * side
        return Box(top, top + side, left, left + side)


def encode(reflectance: np.ndarray) -> np.ndarray:
    """Convert float32 reflectance to int16 × 10 000: round, clip, then cast; NaN becomes the fill value."""
    dn = reflectance * np.float32(10_000)
    np.rint(dn, out=dn)
    np.clip(dn, FILL + 1, 32767, out=dn)
    dn[np.isnan(dn)] = FILL
    return dn.astype(np.int16)


def encode_figure(figure: np.ndarray) -> np.ndarray:
    """Convert a figure in reflectance, such as a half-width, to uint16 DN from 1; 0 means that there is none."""
    dn = np.clip(np.rint(figure * 1e4), 1, 65535)
    return np.where(np.isnan(figure), 0, dn).astype(np.uint16)


NATIVE = "r60m"


class Native(Layout):
    """The group of B10 in a layout, as measured: pixels are cells, and shards cover the same ground."""

    pixel = 60.0
    levels = 0
    layers: Mapping[str, tuple[str, str, dict[int, str]]] = {}

    @property
    def group(self) -> str:
        return f"{self.epsg}/{NATIVE}"

    @property
    def size(self) -> tuple[int, int]:
        return self.box.shape

    @property
    def side(self) -> int:
        return self.shard


def level_group(layout: Sharded, level: int) -> str:
    """Return the name of a level's group; at full resolution it may be empty."""
    return layout.group if level == 0 else f"{layout.group}/x{2**level}".removeprefix("/")


def shard_file(layout: Sharded, name: str, time: int, row: int, col: int, level: int = 0) -> str:
    """Return the name of a shard's file in its store."""
    key = chunk_key(layout.moves, time, row, col)
    return f"{level_group(layout, level)}/{name}/{key}".removeprefix("/")


def chunk_side(side: int) -> int:
    """Return the largest divisor of a shard's ``side`` that is at most 512 pixels."""
    return next(n for n in range(min(side, 512), 0, -1) if side % n == 0)
