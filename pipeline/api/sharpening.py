"""``s2sharp.sharpen``: the core's function for any input of :func:`~s2sharp.open_scene`."""

from collections.abc import Iterable
from typing import Any

import xarray as xr

import s2sharp_core
from s2sharp_core import Sensor, Sharpener
from s2sharp_core.sensor.estimation import SensorChoice

from . import accessor as accessor  # registers .s2sharp
from .inputs import ABOUT
from .scenes import open_scene


def sharpen(
    scene: Any,
    method: str | Sharpener = "s2net-m",
    *,
    bands: str | Iterable[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    window: int = 64,
    sensor: SensorChoice | Sensor | None = None,
    error90: bool = False,
) -> xr.Dataset:
    """Sharpen all bands of a scene to 10 m.

    Parameters
    ----------
    scene
        Any input of :func:`open_scene`, or its result: a STAC item, a SAFE folder or its zip, an EOPF Zarr, a folder of
        band files, or arrays of odc-stac, stackstac or rioxarray, each band at its native resolution. Lazy input gives a
        lazy result.
    method
        Name of a method (``s2sharp methods`` lists them), or a loaded or fitted sharpener.
    bands
        Bands to return, by ESA name or group name: ``"swir"``, ``"20m"``. Default: all bands of the scene that the method
        can return.
    bbox
        Part to read and sharpen: west, south, east, north in degrees. The scene ends there, so pixels near the edge (up to
        1.8 km for ``s2net``) differ from those of the whole scene. For the same pixels, sharpen a larger part and select
        from the result.
    scale, offset
        reflectance = DN × ``scale`` + ``offset``, for files and arrays that hold DN and do not state it.
    window
        Side of the windows that the sharpener processes at once, in cells of 60 m.
    sensor
        ``"measured"``: measured on this scene. ``"default"``: the known values of the instrument. ``"table"``: the values
        that papers assume. Or the result of :func:`measure_scene`. Default: measured if the scene is in memory, else
        ``"default"``.
    error90
        Whether to add ``B05_error90`` and so on, the half-width of a 90 % interval around each sharpened pixel.

    Returns
    -------
    xarray.Dataset
        float32 reflectance by band, dims (y, x), NaN where there is no data. For an item or a product, it has the
        attributes ``id`` and ``datetime`` (UTC). ``.s2sharp`` has indices, images and files (:class:`CubeTools`).
        ``.compute()`` computes a lazy result.

    Raises
    ------
    S2SharpError
        As :func:`open_scene`; ``band-missing``, ``method-unknown``; ``not-fitted`` for a lazy scene and a method that
        learns on it; ``not-measured`` for a lazy scene that should be measured.
    """
    whole = isinstance(scene, xr.DataTree) and (bbox, scale, offset) == (None, None, None)
    known = (
        scene
        if whole and "measurements/reflectance" not in scene
        else open_scene(scene, bbox=bbox, scale=scale, offset=offset)
    )
    made = s2sharp_core.sharpen(
        known, method, bands=bands, window=window, sensor=sensor, error90=error90
    )
    return made.assign_attrs({key: known.attrs[key] for key in ABOUT if key in known.attrs})
