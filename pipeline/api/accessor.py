"""Tools of a cube: ``cube.s2sharp.clear()``, ``.index("NDMI")``, ``.rgb("swir")``, ``.to_cog(folder)``, ``.before()``.

Whoever opens a cube loads this module; what only one of the tools needs is loaded by it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import CLOUDS, ERROR90, HIDING, SceneClass

from ..publish.stretch import clear_limits, tones
from ..storage.location import Location

MASKS = {"clouds": HIDING, "dense": CLOUDS}
"""Classes of the scene classification that hide the ground: clouds, cirrus and shadows; or certain clouds alone."""

COMPOSITES = {
    "true": ("B04", "B03", "B02"),
    "infrared": ("B08", "B04", "B03"),
    "red-edge": ("B8A", "B06", "B05"),
    "swir": ("B12", "B8A", "B04"),
    "agriculture": ("B11", "B08", "B02"),
    "geology": ("B12", "B11", "B02"),
    "coast": ("B04", "B03", "B01"),
}
"""Name of an image → bands for its red, green and blue."""

# Lines of the repr, whose names TAB offers: a call and its result.
_CAN = {
    "before": ("before()", "the native bands of one date, as they were delivered"),
    "clear": ('clear("clouds")', "bands where the ground is seen, NaN elsewhere"),
    "index": ('index("NDMI")', "a spectral index by its name"),
    "rgb": ('rgb("swir")', "a picture: uint8, three bands"),
    "to_cog": ('to_cog("folder")', "a GeoTIFF for each date and band"),
}

# Pixels along an axis, and dates, from which a stretch is computed.
_LOOKS, _DATES = 256, 4


@xr.register_dataset_accessor("s2sharp")  # type: ignore[no-untyped-call]
class CubeTools:
    """Tools for a cube from :func:`open_cube`, a part of one, or a result of :func:`sharpen`. They are lazy if the cube is.

    Each tool sharpens a lazy result of :func:`sharpen` again, and :meth:`to_cog` does so for each band: call
    ``.compute()`` on it first.
    """

    def __init__(self, cube: xr.Dataset) -> None:
        self._cube = cube

    def __dir__(self) -> list[str]:
        return list(_CAN)

    def __repr__(self) -> str:
        return "\n".join(f".s2sharp.{call:16} {what}" for call, what in _CAN.values())

    def clear(self, mask: str | Iterable[int] = "clouds") -> xr.Dataset:
        """Set bands to NaN where the ground is hidden; layers stay unchanged.

        Parameters
        ----------
        mask
            Classes to hide, from the product's scene classification (the layer ``cloud``). ``"clouds"``: shadows, clouds and
            cirrus. ``"dense"``: only clouds of medium and high probability. Or a list of class numbers
            (:class:`~s2sharp_core.bands.SceneClass`). Pixels without a class, or not ``valid``, are hidden.

        Raises
        ------
        S2SharpError
            ``bad-config``; ``band-missing`` for a cube without a scene classification (Level-1C has none).
        """
        if isinstance(mask, str) and mask not in MASKS:
            raise S2SharpError(
                "bad-config",
                f"There is no mask {mask!r}.",
                f"Choose from {', '.join(MASKS)}, or give classes to hide: mask=[8, 9].",
            )
        hidden = MASKS[mask] if isinstance(mask, str) else tuple(SceneClass(n) for n in mask)
        self._refuse_unclassified()
        cloud = self._cube["cloud"]
        seen = ~cloud.isin([int(kind) for kind in (SceneClass.NO_DATA, *hidden)])
        if "valid" in self._cube:
            seen &= self._cube["valid"] == 1
        made = self._cube.assign(
            {
                name: x.where(seen).assign_attrs(x.attrs)
                for name, x in self._cube.data_vars.items()
                if str(name).removesuffix(ERROR90) in BANDS
            }
        )
        made.encoding = dict(self._cube.encoding)  # before() finds the run by it
        return made

    def _refuse_unclassified(self) -> None:
        """Refuse a cube without classes, after a look at one block: if all its valid pixels have no class, the product had none."""
        from .arrays import middle

        if "cloud" in self._cube:
            if "valid" not in self._cube:
                return
            cloud, valid = (middle(self._cube[name]) for name in ("cloud", "valid"))
            known = cloud[valid == 1]
            if not known.size or known.any():
                return
        why = (
            "its products had none, like those of Level-1C"
            if "cloud" in self._cube
            else "only a cube has it, as its layer `cloud`"
        )
        raise S2SharpError(
            "band-missing",
            f"There is no scene classification here: {why}.",
            "Use your own mask, cube.where(mask); or make a cube of the products: s2sharp.run(catalog=…, out=…).",
        )

    def index(self, name: str, **given: Any) -> xr.DataArray:
        """Compute a spectral index by its name in Awesome Spectral Indices: float32, NaN where its divisor is 0.

        Reflectance may be negative in dark places: mask an index where its divisor is small.

        Parameters
        ----------
        name
            ``"NDVI"``, ``"NDMI"``, ``"NBR"`` and so on: ``spyndex.indices`` lists them.
        given
            Bands or constants of the formula in place of the usual ones: ``N="B8A"``, ``L=0.5``.

        Raises
        ------
        S2SharpError
            ``bad-config`` without the package spyndex, or for a name that it does not know; ``band-missing``.
        """
        from .indices import spectral_index

        return spectral_index(self._cube, name, given)

    def rgb(
        self,
        name: str | tuple[str, str, str] = "true",
        *,
        stretch: tuple[float, float] | None = None,
    ) -> xr.DataArray:
        """Make an image: uint8, dims (time, band, y, x) or (band, y, x); 0 where there is no data, values of data from 1.

        Parameters
        ----------
        name
            ``"true"``, ``"infrared"``, ``"red-edge"``, ``"swir"``, ``"agriculture"``, ``"geology"``, ``"coast"``; or three bands.
        stretch
            Reflectance that is shown dark and bright, for all three bands. Default: the common stretch of all pictures of
            s2sharp. It reads a sample of pixels and dates without clouds, and takes their 1 % and 99 % quantiles. All dates
            have the same stretch, so that they can be compared.

        Raises
        ------
        S2SharpError
            ``bad-config`` for an unknown name, or a stretch whose second value is not larger; ``band-missing``.
        """
        if isinstance(name, str) and name not in COMPOSITES:
            raise S2SharpError(
                "bad-config",
                f"There is no picture {name!r}.",
                f"Choose from {', '.join(COMPOSITES)}, or give three bands: rgb(('B12', 'B8A', 'B04')).",
            )
        bands = COMPOSITES[name] if isinstance(name, str) else tuple(name)
        if missing := [band for band in bands if band not in self._cube]:
            raise S2SharpError(
                "band-missing",
                f"The cube has no {', '.join(missing)}; the picture needs {', '.join(bands)}.",
                "Choose another picture, or make a cube with these bands.",
            )
        if stretch is not None and not stretch[0] < stretch[1]:
            raise S2SharpError(
                "bad-config",
                f"The stretch {tuple(stretch)} does not rise.",
                "Give the dark value first, then the bright one: stretch=(0, 0.4).",
            )
        limits = self._limits(bands) if stretch is None else [stretch] * len(bands)
        channels = [self._cube[band].drop_vars("band", errors="ignore") for band in bands]
        stacked = xr.concat(
            channels, xr.Variable("band", list(bands)), coords="minimal", compat="override"
        )
        image = xr.apply_ufunc(
            _shown,
            stacked if stacked.chunks is None else stacked.chunk(band=-1),
            kwargs={"bands": bands, "limits": limits},
            input_core_dims=[["band"]],
            output_core_dims=[["band"]],
            dask="parallelized",
            output_dtypes=[np.uint8],
        )
        dims = [dim for dim in ("time", "band", "y", "x") if dim in image.dims]
        image = image.transpose(*dims).rename("rgb")
        image.attrs = {"long_name": " · ".join(bands)}
        return image.rio.write_nodata(0, encoded=False)

    def _limits(self, bands: tuple[str, ...]) -> list[tuple[float, float]]:
        """Return the dark and the bright end of each band, from a sample of pixels and dates, without known clouds."""
        layers = [name for name in ("valid", "cloud") if name in self._cube]
        some = self._cube[[*bands, *layers]]
        steps = {d: slice(None, None, max(1, some.sizes[d] // _LOOKS)) for d in ("y", "x")}
        if "time" in some.dims:
            steps["time"] = slice(None, None, -(-some.sizes["time"] // _DATES))
        return clear_limits(bands, some.isel(steps).load())

    def to_cog(self, folder: Path | str | Location) -> list[Location]:
        """Write a Cloud Optimized GeoTIFF for each date and variable.

        The files are ``folder/20240601T101031/B11.tif`` and so on, or ``folder/B11.tif`` for a scene without a date.
        Bands are int16, reflectance × 10 000 with their scale in the file, as in the COGs of a run. Layers are written
        unchanged. Existing files are replaced.

        Raises
        ------
        S2SharpError
            ``bad-config`` without the package rio-cogeo; ``nothing-to-show``; ``store-unwritable``.
        """
        from .export import write_files

        return write_files(self._cube, folder)

    def before(self) -> xr.DataTree:
        """Return the native bands of one date as delivered, over the area of the cube: a scene for :func:`sharpen`.

        They are read from the stage of the run if it still has them, else from the archive.

        Raises
        ------
        S2SharpError
            ``scene-malformed`` for several dates; ``not-a-run`` if the run is not found any more; the errors of reading.
        """
        from .export import native_bands

        return native_bands(self._cube)


def _shown(x: np.ndarray, bands: tuple[str, ...], limits: list[tuple[float, float]]) -> np.ndarray:
    """Convert reflectance (…, band) to 1 to 255; 0 where a band has no data."""
    shown = np.moveaxis(tones(bands, list(np.moveaxis(x, -1, 0)), limits), 0, -1)
    return np.where(np.isnan(shown), 0, 1 + np.rint(254 * shown)).astype(np.uint8)
