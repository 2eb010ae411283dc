"""Cloud Optimized GeoTIFFs of one time step of a cube."""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from s2sharp_core import BANDS, S2SharpError

from ..cube.layout import Layout, error_layers
from ..storage.arrays import arrays_of
from ..storage.files import remove
from ..storage.location import Location, on_this_machine, store_errors
from .frames import CogProfile, Frame
from .raster import PARTIAL, Means, write_cog

MASKS = ("cloud", "valid")
"""Layers that are written beside the bands, unless they are empty."""


def variables(layout: Layout) -> tuple[str, ...]:
    """Return the bands and layers of a cube that are written as COGs."""
    return (*layout.bands, *MASKS, *(error_layers(layout.bands) if layout.error90 else ()))


def write_cogs(
    out: Location, layout: Layout, time: int, name: str, means: Means | None = None
) -> dict[str, Location]:
    """Write one Cloud Optimized GeoTIFF per band of the requested area.

    Parameters
    ----------
    out
        The run's folder; the cube is its ``cube.zarr``.
    time
        Index into ``layout.times``.
    name
        The item's name: the files are ``out/cogs/NAME/BAND.tif``, and replace existing ones. For an object store they
        are made in this machine's temporary folder, one at a time.
    means
        Memory and threads; by default one thread, and temporary files in place of memory.

    Returns
    -------
    dict
        Band → file; also ``cloud``, where the product had a scene classification, ``valid``, and the half-widths of
        --error90.

    Raises
    ------
    S2SharpError
        ``store-unwritable``, such as for a full disk. Then, files with a final name are complete.
    """
    rasters = {name: CogProfile.of(name) for name in variables(layout)}
    arrays, frame = arrays_of(out / "cube.zarr", layout.group), Frame.of(layout)
    return write_pictures(arrays, time, frame, out / "cogs" / name, rasters, means)


def write_pictures(
    arrays: "Mapping[str, zarr.Array[Any]]",
    time: int,
    frame: Frame,
    folder: Location,
    rasters: Mapping[str, CogProfile],
    means: Means | None = None,
) -> dict[str, Location]:
    """Write a COG, ``folder/VARIABLE.tif``, for each of ``rasters`` except empty layers; as many at once as ``means`` allow.

    Error: ``store-unwritable``.
    """
    means = means or Means()
    if on_this_machine(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    least = max(frame.need(raster, in_memory=False) for raster in rasters.values())
    count, each = means.split(len(rasters), least)

    def write(variable: str) -> bool:
        array, target = arrays[variable], folder / f"{variable}.tif"
        parts = ((np.asarray(array[time, rows, cols]), w) for (rows, cols), w in frame.parts)
        with writable(target):
            empty = variable in BANDS
            written = write_cog(parts, frame, rasters[variable], target, each, empty=empty)
            if not written:
                remove(target)
        return written

    with ThreadPoolExecutor(count) as pool:
        made = dict(zip(rasters, pool.map(write, rasters), strict=True))
    return {variable: folder / f"{variable}.tif" for variable in rasters if made[variable]}


@contextmanager
def writable(target: Location) -> Iterator[None]:
    """Turn errors of writing ``target`` into ``store-unwritable``."""
    try:
        yield
    except store_errors(RasterioError, CPLE_BaseError) as error:
        raise S2SharpError(
            "store-unwritable",
            f"{target} could not be written: {str(error.__cause__ or error).rstrip('.')}.",
            "Check whether the disk is full. The same command continues from here.",
        ) from error
