"""Pictures of the map: bands of one acquisition, from the level of the cube that suits the scale."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import xarray as xr
from pyproj import Transformer
from rasterio.warp import transform_bounds
from rio_tiler.io.xarray import XarrayReader
from rio_tiler.models import ImageData, PointData
from rioxarray.exceptions import NoDataInBounds
from titiler.core.algorithm.base import BaseAlgorithm

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import HIDING

from ..cube.layout import Sharded
from ..publish.stretch import clear_limits, tones
from .delivered import Native

# Pixels along the level from which a stretch is computed.
_SAMPLE = 1024
# Overviews come last. Until then, full resolution serves if a pixel of the map spans at most this many of the store.
_FINE = 8.0
# Metres along a map pixel from which native and sharpened bands look the same.
_ALIKE = 30.0


@dataclass(frozen=True)
class Picture:
    """Bands of one time of a store: an acquisition of a cube, or a period of a mosaic.

    ``opened``: level → the whole store, lazy. ``time``: ISO 8601 in UTC, the time of ``name``. ``whole``: whether
    there are overviews. ``native``: the acquisition in native pixels, if there is one. ``delivered``: whether to show
    that.
    """

    layout: Sharded
    opened: Callable[[int], xr.Dataset]
    time: str
    name: str
    bands: tuple[str, ...]
    whole: bool = True
    native: Native | None = None
    delivered: bool = False

    def instant(self, level: int) -> xr.Dataset:
        """Return the whole content for its time, lazy.

        Errors: ``not-seen-yet`` while a run that adds this time continues; the errors of opening the store.
        """
        store = self.opened(level)
        found = np.flatnonzero(store.time.values == np.datetime64(self.time, "ns"))
        if not found.size:
            raise S2SharpError(
                "not-seen-yet",
                f"The cube does not show {self.name} yet.",
                "Wait until the run that adds it has ended.",
            )
        return store.isel(time=int(found[0])).drop_vars("time")

    def array(self, level: int) -> xr.DataArray:
        """Return its bands (band, y, x), lazy, with NaN as nodata."""
        stack = self.instant(level)[list(self.bands)].to_dataarray("band")
        seen = stack.where(stack.notnull().all("band"))
        return seen.rio.write_crs(self.layout.crs).rio.write_nodata(np.nan)

    def level(self, size: float) -> int:
        """Return the coarsest level with pixels of at most ``size``, in units of the store's CRS."""
        pixels = size / self.layout.pixel
        if not self.whole and pixels <= _FINE:
            return 0
        return max(0, min(self.layout.levels, math.floor(math.log2(pixels))))


class PictureReader(XarrayReader):
    """Reader of a :class:`Picture` for rio-tiler, from an overview that is fine enough."""

    def __attrs_post_init__(self) -> None:
        self.picture = cast(Picture, self.input)
        self.input = self.picture.array(0)
        super().__attrs_post_init__()

    def part(self, bbox: Any, *given: Any, **options: Any) -> ImageData:
        """Read a part as rio-tiler does; every tile is a part."""
        left, bottom, right, top = transform_bounds(options["bounds_crs"], self.crs, *bbox)
        size = (right - left) / options["width"]
        native = self.picture.native if self.picture.delivered else None
        if native and size <= _ALIKE:
            seen = native.array(self.picture.bands, (left, bottom, right, top))
            with XarrayReader(seen, tms=self.tms) as reader:
                return reader.part(bbox, *given, **options)
        level = self.picture.level(size)
        if not level:
            return super().part(bbox, *given, **options)
        with XarrayReader(self.picture.array(level), tms=self.tms) as reader:
            return reader.part(bbox, *given, **options)

    def point(self, lon: float, lat: float, *given: Any, **options: Any) -> PointData:
        """Read a point of the sharpened bands as rio-tiler does; :func:`spectrum` has both."""
        if self.picture.delivered:
            raise NoDataInBounds("Single values exist only for sharpened bands; use spectrum.json.")
        return super().point(lon, lat, *given, **options)


def spectrum(picture: Picture, lon: float, lat: float) -> dict[str, Any]:
    """Return the facts of one pixel: each band's wavelength (nm), GSD (m), and sharpened and native reflectance.

    ``why`` is the reason why native bands could not be read, or empty. Missing reflectance is None. ``error90`` is a
    half-width. Raise ``NoDataInBounds`` outside the acquisition.
    """
    to_metres = Transformer.from_crs(4326, picture.layout.crs, always_xy=True)
    x, y = to_metres.transform(lon, lat)
    left, bottom, right, top = picture.layout.asked
    if not (left <= x < right and bottom < y <= top):
        raise NoDataInBounds("There is nothing here.")
    pixel = picture.instant(0).sel(x=x, y=y, method="nearest").load()
    delivered, why = {}, ""
    if picture.native:
        try:
            delivered = picture.native.at(picture.bands, x, y)
        except S2SharpError as error:
            why = error.message
    bands = []
    for name in picture.bands:
        band = BANDS[name]
        about: dict[str, Any] = {"name": name, "wavelength": band.wavelength, "gsd": band.gsd}
        about["sharpened"] = _number(pixel[name])
        about["delivered"] = _number(delivered.get(name, np.nan))
        if f"{name}_error90" in pixel:
            about["error90"] = _number(pixel[f"{name}_error90"])
        bands.append(about)
    bands.sort(key=lambda about: about["wavelength"])
    hidden = "cloud" in pixel and int(pixel["cloud"]) in HIDING
    return {"bands": bands, "why": why, "hidden": hidden}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def stretch(picture: Picture) -> list[tuple[float, float]]:
    """Return the dark and the bright end of each band, by the clear pixels of an overview: one range for all tiles."""
    layout = picture.layout
    small = (x for x in range(layout.levels + 1) if max(layout.shape(x)) <= _SAMPLE)
    level = next(small, layout.levels) if picture.whole else 0
    seen = picture.instant(level)
    if max(seen.sizes.values()) > 2 * _SAMPLE:  # the run continues, so the middle serves
        middle = {
            d: slice(max(0, n // 2 - _SAMPLE), n // 2 + _SAMPLE) for d, n in seen.sizes.items()
        }
        seen = seen.isel(middle)
    layers = [name for name in ("valid", "cloud") if name in seen]  # a mosaic has no clouds
    return clear_limits(picture.bands, seen[[*picture.bands, *layers]].load())


class GentleStretch(BaseAlgorithm):
    """titiler's conversion from reflectance to display values: the common stretch, between ``limits`` of each band."""

    bands: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]

    def __call__(self, img: ImageData) -> ImageData:
        shown = tones(self.bands, list(img.array.filled(np.nan)), self.limits)
        nothing = np.isnan(shown)
        pixels = np.where(nothing, 0, np.rint(255 * shown)).astype(np.uint8)
        array = np.ma.MaskedArray(pixels, nothing)
        return ImageData(array, crs=img.crs, bounds=img.bounds, band_names=img.band_names)
