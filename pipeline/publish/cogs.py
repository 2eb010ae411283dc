"""Cloud-optimized GeoTIFFs of what a cube shows."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import zarr
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from s2sharp_core import BANDS, S2SharpError

from ..cube.layout import Layout, error_layers
from ..storage.arrays import zarr_store
from ..storage.files import put, remove
from ..storage.location import Location, store_errors
from .frames import CogProfile, Frame

__all__ = ["write_cogs", "write_pictures"]

_TILE = 512
# Enough for the tiles of a shard's row of blocks; GDAL's default is a share of the machine's memory.
_CACHE_MB = 128
_PARTIAL = ".partial-"


def write_cogs(out: Location, layout: Layout, time: int, name: str) -> dict[str, Location]:
    """Write one Cloud Optimized GeoTIFF per band of the area that was asked for.

    Parameters
    ----------
    out
        The run's folder; the cube is its ``cube.zarr``.
    time
        Index into ``layout.times``.
    name
        The item's name: the files are ``out/cogs/NAME/BAND.tif``. Those already there are replaced. For an
        object store they are made in this machine's temporary folder, one at a time.

    Returns
    -------
    dict
        Band → file; and ``cloud``, where the product had a scene classification; and the half-widths of a run with
        --error90.

    Raises
    ------
    S2SharpError
        ``store-unwritable``: a disk that is full, for example. No file has its final name then but whole
        ones.
    """
    # As it is written: what readers go by knows a date that was added only when the run has ended.
    cube = zarr.open_group(
        zarr_store(out / "cube.zarr"), path=layout.group, mode="r", use_consolidated=False
    )
    errors = error_layers(layout.bands) if layout.error90 else ()
    rasters = {name: CogProfile.of(name) for name in (*layout.bands, "cloud", *errors)}
    return write_pictures(dict(cube.arrays()), time, Frame.of(layout), out / "cogs" / name, rasters)


def write_pictures(
    arrays: "Mapping[str, zarr.Array[Any]]",
    time: int,
    frame: Frame,
    folder: Location,
    rasters: Mapping[str, CogProfile],
) -> dict[str, Location]:
    """Write a COG, ``folder/VARIABLE.tif``, for each of ``rasters`` but layers that hold nothing.

    Raises
    ------
    S2SharpError
        ``store-unwritable``.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    written = {}
    for variable, raster in rasters.items():
        target = folder / f"{variable}.tif"
        try:
            if _write_cog(arrays[variable], time, frame, target, raster):
                written[variable] = target
        except store_errors(RasterioError, CPLE_BaseError) as error:
            raise S2SharpError(
                "store-unwritable",
                f"{target} could not be written: {str(error.__cause__ or error).rstrip('.')}.",
                "See whether the disk is full; the same command goes on from here.",
            ) from error
    return written


def _write_cog(
    array: zarr.Array[Any], time: int, frame: Frame, target: Location, raster: CogProfile
) -> bool:
    """Write one COG; none for a layer that holds nothing."""
    beside = target.parent if isinstance(target, Path) else None
    with TemporaryDirectory(prefix=_PARTIAL, dir=beside) as scratch:
        raw, cog = Path(scratch) / "raw.tif", Path(scratch) / "cog.tif"
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            anything = _copy(array, time, frame, raw, raster)
            if not anything and target.stem not in BANDS:
                remove(target)
                return False
            _translate(raw, cog, raster)
        put(cog, target)
    return True


def _copy(array: zarr.Array[Any], time: int, frame: Frame, raw: Path, raster: CogProfile) -> bool:
    """Copy into a tiled GeoTIFF, one part in memory at a time; whether it holds anything."""
    height, width = frame.shape
    anything = False
    with rasterio.open(
        raw,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype=raster.dtype,
        nodata=raster.nodata,
        crs=frame.crs,
        transform=rasterio.Affine(*frame.transform),
        tiled=True,
        blockxsize=_TILE,
        blockysize=_TILE,
        BIGTIFF="IF_SAFER",
    ) as file:
        for (rows, cols), place in frame.parts:
            pixels = np.asarray(array[time, rows, cols])
            file.write(pixels, 1, window=Window.from_slices(*place))
            anything = anything or bool((pixels != raster.nodata).any())
        file.scales, file.offsets = (raster.scale,), (0.0,)
        file.descriptions = (raster.description,)
    return anything


def _translate(raw: Path, cog: Path, raster: CogProfile) -> None:
    from rio_cogeo.cogeo import cog_translate
    from rio_cogeo.profiles import cog_profiles

    # DEFLATE: every GDAL reads it. Differences of neighbours (predictor 2) suit integers.
    profile = {**cog_profiles["deflate"], "predictor": 2, "BIGTIFF": "IF_SAFER"}
    cog_translate(
        raw,
        cog,
        profile,
        overview_resampling=raster.overviews,
        in_memory=False,
        config={"GDAL_TIFF_OVR_BLOCKSIZE": str(_TILE), "GDAL_CACHEMAX": _CACHE_MB},
        quiet=True,
    )
