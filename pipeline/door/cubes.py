"""Cubes as an analyst opens them: whole, or the part that is asked for."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio.features
import shapely
import xarray as xr

from s2sharp_core import S2SharpError
from s2sharp_core.bands import names_of

from ..catalog.interval import interval
from ..cube.open import open_cube as open_whole
from ..planning.area import area_shape
from ..planning.config import read_config
from ..storage.location import Location
from . import accessor as accessor  # what is opened has .s2sharp

__all__ = ["open_cube"]


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
    """Open what a run made, or a part of it; nothing is read yet.

    Parameters
    ----------
    out
        The folder or URL of the run, or its ``cube.zarr``.
    bands
        By ESA's name, or in words: ``"swir"``, ``"20m"``; all by default. Layers stay.
    time
        Day, month, year or interval: ``"2024-06"``, ``"2024-06-01/2024-06-15"``, ``"2024-06-01/.."``.
    bbox
        (W, S, E, N) in degrees: the part to crop to.
    area
        A GeoJSON file in place of ``bbox``: the part to crop to; outside of its polygons bands are NaN and layers 0.
    epsg
        Which EPSG code, where the cube has several.
    level
        0 for 10 m, 1 for the overview of 20 m, and so on.
    native
        What was kept as it was measured, B10 at 60 m, in place of the bands at 10 m.
    snapshot
        The cube as it was after an earlier run with ``--history``: the id of one that ``s2sharp history OUT`` lists.

    Returns
    -------
    xarray.Dataset
        Dims (time, y, x), time ascending. Bands: float32 reflectance, NaN where there is none, with ``common_name``,
        ``wavelength`` (nm) and ``long_name``; layers ``valid``, ``cloud``, ``saturated``, ``source``, and those that the run
        was asked for. ``.rio.crs`` is set; ``.s2sharp`` has what a cube can do (:class:`CubeTools`).

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
    """The part in the polygons of a file: cropped to them, and nothing outside."""
    config = read_config(None, {"out": ".", "datetime": "2024", "area": area, "bbox": None})
    shape = area_shape(config, cube.rio.crs.to_epsg())
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
