"""Profile and place of a picture's file."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from s2sharp_core import BANDS
from s2sharp_core.bands import ERROR90

from ..cube.layout import FILL, LAYERS, SCALE, Layout, error_layers

__all__ = ["BLOCK", "CACHE", "CogProfile", "Frame"]

BLOCK = 512
"""Side of a COG's blocks in pixels."""

CACHE = 32_000_000
"""Of GDAL's blocks while a file is made; its default is a share of the machine's memory."""

# Shares of a picture's bytes: it and its overviews, and what a file in memory grows ahead.
_HELD = 4 / 3 * 1.1


Place = tuple[slice, slice]


@dataclass(frozen=True)
class CogProfile:
    """Profile of a COG of one variable; ``channels``: 3 for one of red, green and blue."""

    dtype: str
    nodata: int
    scale: float
    description: str
    overviews: Literal["average", "mode", "rms"]
    channels: int = 1

    @classmethod
    def of(cls, variable: str) -> "CogProfile":
        if variable in BANDS:
            about = f"{variable} reflectance, {BANDS[variable].wavelength:.0f} nm"
            return cls("int16", FILL, SCALE, about, "average")
        if variable.endswith(ERROR90):
            (layer,) = error_layers([variable.removesuffix(ERROR90)]).values()
            # Overviews of a file as those of the cube.
            return cls(layer[0], 0, SCALE, layer[1], "rms")
        dtype, about, _ = LAYERS[variable]
        return cls(dtype, 0, 1.0, about, "mode")


@dataclass(frozen=True)
class Frame:
    """Place of a picture, and how it is copied from an array.

    ``crs``: EPSG:… or WKT; ``pixel``: its side in the CRS's units; ``corner``: the upper left one, (x, y);
    ``shape``: (height, width); ``parts``: pixels of the array, and their place in the picture.
    """

    crs: str
    pixel: float
    corner: tuple[float, float]
    shape: tuple[int, int]
    parts: tuple[tuple[Place, Place], ...]

    @classmethod
    def of(cls, layout: Layout) -> "Frame":
        """The area that was asked for, shard by shard."""
        parts = []
        for row, col in np.ndindex(layout.shards()):
            part = layout.cells(row, col) & layout.area
            if not part.empty:
                parts.append((layout.box.slices(part, 10), layout.area.slices(part, 10)))
        left, _, _, top = layout.asked
        shape = layout.area.pixels(10)
        return cls(f"EPSG:{layout.epsg}", layout.pixel, (left, top), shape, tuple(parts))

    @property
    def transform(self) -> tuple[float, ...]:
        """(a, b, c, d, e, f)."""
        (left, top), side = self.corner, self.pixel
        return float(side), 0.0, float(left), 0.0, -float(side), float(top)

    def need(self, raster: CogProfile, *, in_memory: bool) -> float:
        """Bytes that its picture takes up: the part that is being copied; in memory the rest and overviews, too."""
        sides = ([place.stop - place.start for place in places] for _, places in self.parts)
        part = max(map(math.prod, sides), default=0)
        pixel = raster.channels * np.dtype(raster.dtype).itemsize
        copied = float(pixel * (2 * part + 2 * BLOCK**2))
        if not in_memory:
            return copied
        return copied + pixel * _HELD * self.shape[0] * self.shape[1] + CACHE
