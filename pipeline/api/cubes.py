"""Functions that open a cube, or a part of it, for an analyst."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr

from s2sharp_core import S2SharpError
from s2sharp_core.bands import names_of

from ..catalog.extent import interval
from ..cube.open import open_cube as open_whole
from ..storage.location import Location
from . import accessor as accessor  # registers .s2sharp


def open_cube(
    out: Location | str,
    *,
    bands: str | Iterable[str] | None = None,
    time: str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    area: Path | str | None = None,
    epsg: int | None = None,
    level: int = 0,
    native: bool = False,
    snapshot: str | None = None,
) -> xr.Dataset:
    """Open the cube of a run, or a part of it. Nothing is read yet.

    Parameters
    ----------
    out
        Folder or URL of the run, or its ``cube.zarr``.
    bands
        ESA names or group names: ``"swir"``, ``"20m"``. Default: all. Layers always stay.
    time
        Day, month, year or interval: ``"2024-06"``, ``"2024-06-01/2024-06-15"``, ``"2024-06-01/.."``.
    bbox
        Box to crop to: west, south, east, north in degrees.
    area
        A GeoJSON file in place of ``bbox``. The cube is cropped to it. Outside of its polygons, bands are NaN and layers 0.
    epsg
        The EPSG code to open, if the cube has several.
    level
        0 for 10 m, 1 for the overview of 20 m, and so on.
    native
        Whether to open the bands that were kept as measured, B10 at 60 m, in place of the bands at 10 m.
    snapshot
        Id of an earlier state, kept by a run with ``--history``; ``s2sharp history OUT`` lists them.

    Returns
    -------
    xarray.Dataset
        Dims (time, y, x), time ascending. Bands: float32 reflectance, NaN where there is no data, with ``common_name``,
        ``wavelength`` (nm) and ``long_name``. Layers ``valid``, ``cloud``, ``saturated``, ``source``, and those that the
        run added. ``.rio.crs`` is set; ``.s2sharp`` has the tools of a cube (:class:`CubeTools`).

    Raises
    ------
    S2SharpError
        ``not-a-cube``, ``epsg-missing``, ``outside``, ``band-unknown``, ``bad-config``; ``no-history``, ``snapshot-missing``.
    """
    if bbox is not None and area is not None:
        raise S2SharpError("bad-config", "Both bbox and area are given.", "Give one of them.")
    cube = open_whole(
        out,
        bands=None if bands is None else names_of(bands),
        time=None if time is None else interval(time),
        bbox=bbox,
        epsg=epsg,
        level=level,
        native=native,
        snapshot=snapshot,
    )
    return cube if area is None else _within(cube, Path(area))


def _within(cube: xr.Dataset, area: Path) -> xr.Dataset:
    """Crop to the polygons of a file, and mask the pixels outside of them."""
    import rasterio.features
    import shapely

    from ..planning.area import Area

    shape = Area.of(None, area.expanduser().resolve()).shape(cube.rio.crs.to_epsg())
    half = abs(float(cube.x[1] - cube.x[0])) / 2 if cube.sizes["x"] > 1 else 5.0
    cut = cube
    if not shape.is_empty:
        left, bottom, right, top = shapely.bounds(shape)
        cut = cube.sel(x=slice(left - half, right + half), y=slice(top + half, bottom - half))
    if shape.is_empty or 0 in (cut.sizes["x"], cut.sizes["y"]):
        raise S2SharpError("outside", f"The area {area} does not meet the cube.", "Give another.")
    inside = rasterio.features.geometry_mask(
        [shape],
        (cut.sizes["y"], cut.sizes["x"]),
        cut.rio.transform(recalc=True),
        all_touched=True,
        invert=True,
    )
    mask = xr.DataArray(inside, dims=("y", "x"), coords={"y": cut.y, "x": cut.x})
    zero = {name: np.nan if x.dtype.kind == "f" else x.dtype.type(0) for name, x in cut.items()}
    return cut.assign(
        {
            name: x.where(mask, zero[name]).assign_attrs(x.attrs)
            for name, x in cut.data_vars.items()
            if {"y", "x"} <= set(x.dims)
        }
    )
