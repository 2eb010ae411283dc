"""``s2sharp.sharpen``: the science's own, for a scene of any kind."""

from collections.abc import Iterable
from typing import Any

import xarray as xr

import s2sharp_core
from s2sharp_core import Sensor, Sharpener
from s2sharp_core.sensor.sensing import SensorChoice

from .scenes import open_scene

__all__ = ["sharpen"]


def sharpen(
    scene: Any,
    method: str | Sharpener = "s2net-m",
    *,
    bands: Iterable[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    window: int = 64,
    sensor: SensorChoice | Sensor | None = None,
    error90: bool = False,
) -> xr.Dataset:
    """All bands of a scene at 10 m.

    Parameters
    ----------
    scene
        A DataTree with children ``r10m``, ``r20m``, ``r60m``, or all else that :func:`open_scene` takes: a STAC item, a product,
        a folder, arrays of other tools. What is lazy gives a lazy result.
    bbox
        West, south, east, north in degrees: the part to sharpen.
    method, bands, window, sensor, error90
        As of :func:`s2sharp_core.sharpen`.

    Returns
    -------
    xarray.Dataset
        float32 reflectance by band, dims (y, x), NaN where there is none.

    Raises
    ------
    S2SharpError
        As :func:`open_scene` and :func:`s2sharp_core.sharpen`.
    """
    tree = isinstance(scene, xr.DataTree) and bbox is None
    known = (
        scene if tree and "measurements/reflectance" not in scene else open_scene(scene, bbox=bbox)
    )
    return s2sharp_core.sharpen(
        known, method, bands=bands, window=window, sensor=sensor, error90=error90
    )
