"""What the map shows: bands of one acquisition, from the level of the cube that a scale asks for."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import xarray as xr
from pyproj import Transformer
from rasterio.warp import transform_bounds
from rio_tiler.io.xarray import XarrayReader
from rio_tiler.models import ImageData, PointData
from rioxarray.exceptions import NoDataInBounds

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import HIDING

from ..cube.layout import Layout
from ..cube.open import open_cube
from ..scenes.acquisition import Acquisition
from ..storage.files import version
from ..storage.location import Location
from .delivered import Delivered

__all__ = ["Picture", "PictureReader", "spectrum", "stretch"]

# Pixels along the level that a stretch is taken from.
_SAMPLE = 1024
# Overviews come last. Until then, full resolution is read where a pixel of the map is at most so many metres.
_FINE = 80.0
# Metres along a pixel of the map from which on delivered and sharpened bands look the same.
_ALIKE = 30.0


@dataclass(frozen=True)
class Picture:
    """Bands of an acquisition of the cube in ``out``; ``whole``: whether it has its overviews; ``delivered``: reads them
    as the satellite delivered them, where they are not to be shown as they were sharpened.
    """

    out: Location
    layout: Layout
    acquisition: Acquisition
    bands: tuple[str, ...]
    whole: bool = True
    delivered: Delivered | None = None

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

    def native(
        self, delivered: Delivered, bounds: tuple[float, float, float, float]
    ) -> xr.DataArray:
        """Its bands as they were delivered (band, y, x) on 10 m, each native pixel repeated, NaN where one has nothing.

        Parameters
        ----------
        bounds
            (left, bottom, right, top) in metres: what is to be covered.
        """
        lattice = self.layout.lattice
        box = lattice.around(bounds) & self.layout.area & self.acquisition.box
        if box.empty:
            raise NoDataInBounds("The acquisition has nothing here.")
        read = delivered.read(self.acquisition, self.bands, box)
        repeated = [np.kron(read[b], np.ones((BANDS[b].gsd // 10,) * 2)) for b in self.bands]
        x, y = lattice.coords(box, 10)
        coords = {"band": list(self.bands), "y": y, "x": x}
        stack = xr.DataArray(np.stack(repeated), coords, ("band", "y", "x"))
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
        left, bottom, right, top = transform_bounds(options["bounds_crs"], self.crs, *bbox)
        metres = (right - left) / options["width"]
        if self.picture.delivered and metres <= _ALIKE:
            native = self.picture.native(self.picture.delivered, (left, bottom, right, top))
            with XarrayReader(native, tms=self.tms) as reader:
                return reader.part(bbox, *given, **options)
        level = self.picture.level(metres)
        if not level:
            return super().part(bbox, *given, **options)
        with XarrayReader(self.picture.array(level), tms=self.tms) as reader:
            return reader.part(bbox, *given, **options)

    def point(self, lon: float, lat: float, *given: Any, **options: Any) -> PointData:
        """As rio-tiler's, of what was sharpened: :func:`spectrum` has both."""
        if self.picture.delivered:
            raise NoDataInBounds("Single values are of sharpened bands; ask spectrum.json.")
        return super().point(lon, lat, *given, **options)


def spectrum(picture: Picture, lon: float, lat: float) -> dict[str, Any]:
    """All that is known of one pixel: each band's wavelength (nm), GSD (m), and reflectance as sharpened and as delivered.

    ``why``: why native bands could not be read, or nothing. Reflectance is None where there is none; ``error90`` is a half-width.

    Raises
    ------
    rioxarray.exceptions.NoDataInBounds
        Outside the acquisition.
    """
    layout = picture.layout
    to_metres = Transformer.from_crs(4326, layout.epsg, always_xy=True)
    x, y = to_metres.transform(lon, lat)
    box = layout.lattice.around((x, y - 1e-3, x + 1e-3, y)) & layout.area & picture.acquisition.box
    if box.empty:
        raise NoDataInBounds("The acquisition has nothing here.")
    pixel = picture.instant(0).sel(x=x, y=y, method="nearest").load()
    native, why = {}, ""
    if picture.delivered:
        try:
            native = picture.delivered.read(picture.acquisition, picture.bands, box)
        except S2SharpError as error:
            why = error.message
    left, _, _, top = layout.lattice.bounds(box)
    bands = []
    for name in picture.bands:
        band, found = BANDS[name], native.get(name)
        row, col = int((top - y) // band.gsd), int((x - left) // band.gsd)
        about: dict[str, Any] = {"name": name, "wavelength": band.wavelength, "gsd": band.gsd}
        about["sharpened"] = _number(pixel[name])
        about["delivered"] = None if found is None else _number(found[row, col])
        if f"{name}_error90" in pixel:
            about["error90"] = _number(pixel[f"{name}_error90"])
        bands.append(about)
    bands.sort(key=lambda about: about["wavelength"])
    return {"bands": bands, "why": why, "hidden": int(pixel["cloud"]) in HIDING}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


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
