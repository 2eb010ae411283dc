"""Profile and frame of a COG: data type and description, grid and size."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from s2sharp_core import BANDS
from s2sharp_core.bands import ERROR90

from ..cube.layout import FILL, LAYERS, SCALE, Layout, error_layers

BLOCK = 512
"""Side of a COG's blocks in pixels."""

CACHE = 32_000_000
"""Bytes of GDAL's block cache while a file is made; its default is a share of the machine's memory."""

# Factor on a picture's bytes: overviews (4/3), and memory that a file in memory allocates ahead.
_HELD = 4 / 3 * 1.1


Place = tuple[slice, slice]


@dataclass(frozen=True)
class CogProfile:
    """Profile of a COG of one variable; ``channels``: 3 for a picture of red, green and blue."""

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
            # As in the cube's overviews.
            return cls(layer[0], 0, SCALE, layer[1], "rms")
        dtype, about, _ = LAYERS[variable]
        return cls(dtype, 0, 1.0, about, "mode")


@dataclass(frozen=True)
class Frame:
    """Grid of a picture, and the parts of an array that it is copied from.

    ``crs``: EPSG:… or WKT; ``pixel``: side of a pixel in units of the CRS; ``corner``: upper left (x, y); ``shape``:
    (height, width); ``parts``: pixels of the array, and their place in the picture.
    """

    crs: str
    pixel: float
    corner: tuple[float, float]
    shape: tuple[int, int]
    parts: tuple[tuple[Place, Place], ...]

    @classmethod
    def of(cls, layout: Layout) -> "Frame":
        """Return the frame of a layout's requested area, shard by shard."""
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
        """Affine transform (a, b, c, d, e, f)."""
        (left, top), side = self.corner, self.pixel
        return float(side), 0.0, float(left), 0.0, -float(side), float(top)

    def need(self, raster: CogProfile, *, in_memory: bool) -> float:
        """Return the bytes for making a picture: those of one part; in memory, also of the whole and its overviews."""
        sides = ([place.stop - place.start for place in places] for _, places in self.parts)
        part = max(map(math.prod, sides), default=0)
        pixel = raster.channels * np.dtype(raster.dtype).itemsize
        copied = float(pixel * (2 * part + 2 * BLOCK**2))
        if not in_memory:
            return copied
        return copied + pixel * _HELD * self.shape[0] * self.shape[1] + CACHE


# Fixed values, so that dates and neighbours can be compared. Most land and water has a reflectance below 0.3, where the
# exponent increases contrast.
WHITE, GAMMA = 0.4, 1.6
VISUAL = CogProfile(
    "uint8",
    0,
    1.0,
    f"true colour to look at: 1 + 254 × (reflectance / {WHITE:g})^(1 / {GAMMA:g})",
    "average",
    channels=3,
)
