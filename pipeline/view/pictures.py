"""What the map shows: bands of one acquisition, from the level of the cube that a scale asks for."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import xarray as xr
from rasterio.warp import transform_bounds
from rio_tiler.io.xarray import XarrayReader
from rio_tiler.models import ImageData

from s2sharp_core import S2SharpError
from s2sharp_core.bands import HIDING

from ..cube.layout import Layout
from ..cube.open import open_cube
from ..scenes.acquisition import Acquisition
from ..storage.files import version
from ..storage.location import Location

__all__ = ["Picture", "PictureReader", "stretch"]

# Pixels along the level that a stretch is taken from.
_SAMPLE = 1024
# Overviews come last. Until then, full resolution is read where a pixel of the map is at most so many metres.
_FINE = 80.0


@dataclass(frozen=True)
class Picture:
    """Bands of an acquisition of the cube in ``out``; ``whole``: whether it has its overviews."""

    out: Location
    layout: Layout
    acquisition: Acquisition
    bands: tuple[str, ...]
    whole: bool = True

    def instant(self, level: int) -> xr.Dataset:
        """All that the cube has of the acquisition, lazy.

        Raises
        ------
        S2SharpError
            ``not-seen-yet`` while a run that adds it goes on; what :func:`~s2sharp.cube.open.open_cube` raises.
        """
        written = version(self.out / "cube.zarr" / "zarr.json")
        cube = _opened(self.out, self.layout.epsg, level, written)
        found = np.flatnonzero(cube.time.values == np.datetime64(self.acquisition.datetime, "ns"))
        if not found.size:
            raise S2SharpError(
                "not-seen-yet",
                f"The cube does not show {self.acquisition.id} yet.",
                "Wait until the run that adds it has ended.",
            )
        return cube.isel(time=int(found[0])).drop_vars("time")

    def array(self, level: int) -> xr.DataArray:
        """Its bands (band, y, x), lazy, NaN where one of them has nothing."""
        stack = self.instant(level)[list(self.bands)].to_dataarray("band")
        seen = stack.where(stack.notnull().all("band"))
        return seen.rio.write_crs(self.layout.crs).rio.write_nodata(np.nan)

    def level(self, metres: float) -> int:
        """The coarsest level whose pixels are at most so large."""
        if not self.whole and metres <= _FINE:
            return 0
        return max(0, min(self.layout.levels, math.floor(math.log2(metres / 10))))


@lru_cache(maxsize=32)
def _opened(out: Location, epsg: int, level: int, written: str) -> xr.Dataset:  # noqa: ARG001  (part of the cache's key)
    return open_cube(out, epsg=epsg, level=level)


class PictureReader(XarrayReader):
    """Reads a :class:`Picture` as rio-tiler's readers do, from an overview where that is fine enough."""

    def __attrs_post_init__(self) -> None:
        self.picture = cast(Picture, self.input)
        self.input = self.picture.array(0)
        super().__attrs_post_init__()

    def part(self, bbox: Any, *given: Any, **options: Any) -> ImageData:
        """As rio-tiler's; every tile is a part."""
        left, _, right, _ = transform_bounds(options["bounds_crs"], self.crs, *bbox)
        level = self.picture.level((right - left) / options["width"])
        if not level:
            return super().part(bbox, *given, **options)
        with XarrayReader(self.picture.array(level), tms=self.tms) as reader:
            return reader.part(bbox, *given, **options)


def stretch(picture: Picture) -> list[tuple[float, float]]:
    """Of each band 2 % and 98 % of the clear pixels of an overview: one range for all tiles."""
    layout = picture.layout
    small = (x for x in range(layout.levels + 1) if max(layout.shape(x)) <= _SAMPLE)
    level = next(small, layout.levels) if picture.whole else 0
    seen = picture.instant(level)
    if max(seen.sizes.values()) > 2 * _SAMPLE:  # a run that goes on: what lies in the middle
        middle = {
            d: slice(max(0, n // 2 - _SAMPLE), n // 2 + _SAMPLE) for d, n in seen.sizes.items()
        }
        seen = seen.isel(middle)
    seen = seen[[*picture.bands, "valid", "cloud"]].load()
    clear = (seen["valid"].values == 1) & ~np.isin(seen["cloud"].values, HIDING)
    limits = []
    for band in picture.bands:
        values = seen[band].values[clear]
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, (2, 98)) if values.size else (0.0, 0.4)
        limits.append((float(low), float(max(high, low + 1e-4))))
    return limits
