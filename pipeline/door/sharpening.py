"""``s2sharp.sharpen``: the science's own, for a scene of any kind."""

from collections.abc import Iterable
from typing import Any

import xarray as xr

import s2sharp_core
from s2sharp_core import Sensor, Sharpener
from s2sharp_core.sensor.sensing import SensorChoice

from . import accessor as accessor  # what is sharpened has .s2sharp
from .products import ABOUT
from .scenes import open_scene

__all__ = ["sharpen"]


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
    """All bands of a scene at 10 m.

    Parameters
    ----------
    scene
        All that :func:`open_scene` takes: a STAC item, a SAFE folder or its zip, an EOPF Zarr, a folder of band files, arrays
        of odc-stac, stackstac or rioxarray, each band at its own resolution; or what it gave. What is lazy gives a lazy result.
    method
        A name (``s2sharp methods`` lists them), or a sharpener that was loaded or fitted before.
    bands
        The bands to return, by ESA name, or in words: ``"swir"``, ``"20m"``; by default all of the scene that the method can
        give.
    bbox
        West, south, east, north in degrees: the part to sharpen.
    scale, offset
        reflectance = DN × ``scale`` + ``offset``, of files and arrays that hold DN and do not say it.
    window
        Side in cells of 60 m of the windows that the sharpener sees at once.
    sensor
        ``"measured"`` on this scene; ``"default"``, the instrument as it is known; ``"table"``, as papers assume it; or what
        :func:`measure_scene` gave. By default measured where the scene is in memory, else the default.
    error90
        Whether to add ``B05_error90`` and the like, the half-width of a 90 % interval around each sharpened pixel.

    Returns
    -------
    xarray.Dataset
        float32 reflectance by band, dims (y, x), NaN where there is none; of an item or a product, the attributes ``id`` and
        ``datetime`` (UTC). ``.s2sharp`` has indices, pictures and files
        (:class:`CubeTools`). ``.compute()`` makes it where it is lazy.

    Raises
    ------
    S2SharpError
        As :func:`open_scene`; ``band-missing``, ``method-unknown``; ``not-fitted`` for a lazy scene and a method that learns
        on it; ``not-measured`` for a lazy scene that should be.
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
