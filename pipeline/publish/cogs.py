"""Cloud Optimized GeoTIFFs of one time step of a cube: pixels and overviews uncompressed, then both through GDAL's COG
driver.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import zarr
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.rio.overview import get_maximum_overview_level
from rasterio.windows import Window

from s2sharp_core import BANDS, S2SharpError

from ..cube.layout import Layout, error_layers
from ..storage.arrays import arrays_of
from ..storage.files import put, remove
from ..storage.location import Location, on_this_machine, store_errors
from .cog_profile import BLOCK, CACHE, CogProfile, Frame, Place

MASKS = ("cloud", "valid")
"""Layers that are written beside the bands, unless they are empty."""

PARTIAL = ".partial-"
"""Prefix of the temporary folders in which files are made."""

# Every GDAL reads DEFLATE. With predictor 2, its default level 6 takes twice the time of level 1 for files of the same
# size (within 2 % on four real scenes).
_COMPRESSIONS: dict[str, dict[str, Any]] = {
    "deflate": {"COMPRESS": "DEFLATE", "LEVEL": 1},
    "zstd": {"COMPRESS": "ZSTD", "LEVEL": 3},
    "lzw": {"COMPRESS": "LZW"},
}

Clock = Callable[[str], AbstractContextManager[None]]


def no_clock(_: str) -> AbstractContextManager[None]:
    """Measure nothing, in place of a clock."""
    return nullcontext()


@dataclass(frozen=True)
class Means:
    """Memory and threads for making files.

    ``compression``: "deflate", "zstd" or "lzw"; ``memory``: bytes for pixels, beyond which a temporary file is used;
    ``threads``: most threads; ``clock``: measures a step by its name.
    """

    compression: str = "deflate"
    memory: float = 0.0
    threads: int = 1
    clock: Clock = no_clock

    def split(self, most: int, least: float) -> "tuple[int, Means]":
        """Return how many files of at least ``least`` bytes to make at once, ``most`` at most, and the means of each."""
        count = max(1, min(self.threads, most, int(self.memory // least)))
        each = replace(self, memory=self.memory / count, threads=max(1, self.threads // count))
        return count, each


Picture = Callable[[Means], bool]
"""Function that writes a picture by some means, and returns whether there was anything to write."""


def variables(layout: Layout) -> tuple[str, ...]:
    """Return the bands and layers of a cube that are written as COGs."""
    return (*layout.bands, *MASKS, *(error_layers(layout.bands) if layout.error90 else ()))


def write_cogs(
    out: Location,
    layout: Layout,
    time: int,
    name: str,
    means: Means | None = None,
    more: Mapping[str, Picture] | None = None,
    done: Callable[[str, Location], None] = lambda *_: None,
) -> dict[str, Location]:
    """Write one Cloud Optimized GeoTIFF per band of the requested area, and return variable → file.

    ``out``: the run's folder, with its ``cube.zarr``. ``time``: index into ``layout.times``. ``name``: that of the item:
    the files are ``out/cogs/NAME/BAND.tif``, and replace existing ones. For an object store they are made in this
    machine's temporary folder, one at a time. ``means``: by default one thread, and temporary files in place of memory.
    For ``more`` and ``done`` see :func:`write_pictures`.

    Among the variables are ``cloud``, where the product had a scene classification, ``valid``, and the half-widths of
    --error90. Error: ``store-unwritable``, such as for a full disk; then, files with a final name are complete.
    """
    rasters = {name: CogProfile.of(name) for name in variables(layout)}
    arrays, frame = arrays_of(out / "cube.zarr", layout.group), Frame.of(layout)
    return write_pictures(arrays, time, frame, out / "cogs" / name, rasters, means, more, done)


def write_pictures(
    arrays: "Mapping[str, zarr.Array[Any]]",
    time: int,
    frame: Frame,
    folder: Location,
    rasters: Mapping[str, CogProfile],
    means: Means | None = None,
    more: Mapping[str, Picture] | None = None,
    done: Callable[[str, Location], None] = lambda *_: None,
) -> dict[str, Location]:
    """Write a COG, ``folder/VARIABLE.tif``, for each of ``rasters`` except empty layers; as many at once as ``means`` allow.

    ``more``: name → function that writes ``folder/NAME.tif`` and returns whether it did; they come first. ``done``: is
    called with the name and the file of each picture, while others are made.

    Error: ``store-unwritable``.
    """
    means = means or Means()
    if on_this_machine(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    least = max(frame.need(raster, in_memory=False) for raster in rasters.values())
    if more:  # three channels of a byte, where a band has one of two
        least *= 1.5
    count, each = means.split(len(rasters), least)

    more = more or {}

    def write(variable: str) -> bool:
        array, target = arrays[variable], folder / f"{variable}.tif"
        parts = ((np.asarray(array[time, rows, cols]), w) for (rows, cols), w in frame.parts)
        with writable(target):
            empty = variable in BANDS
            written = write_cog(parts, frame, rasters[variable], target, each, empty=empty)
            if not written:
                remove(target)
        return written

    def made(name: str) -> bool:
        written = more[name](each) if name in more else write(name)
        if written:
            done(name, folder / f"{name}.tif")
        return written

    every = (*more, *rasters)
    with ThreadPoolExecutor(count) as pool:
        there = dict(zip(every, pool.map(made, every), strict=True))
    return {name: folder / f"{name}.tif" for name in (*rasters, *more) if there[name]}


@contextmanager
def writable(target: Location) -> Iterator[None]:
    """Turn errors of writing ``target`` into ``store-unwritable``."""
    try:
        yield
    # rasterio raises the last one where GDAL fails without a message of its own, as it may on a full disk.
    except store_errors(RasterioError, CPLE_BaseError, SystemError) as error:
        raise S2SharpError(
            "store-unwritable",
            f"{target} could not be written: {str(error.__cause__ or error).rstrip('.')}.",
            "Check whether the disk is full. The same command continues from here.",
        ) from error


def write_cog(
    parts: Iterator[tuple[np.ndarray, Place]],
    frame: Frame,
    raster: CogProfile,
    target: Location,
    means: Means,
    *,
    empty: bool = True,
    look: Callable[[DatasetWriter], None] = lambda _: None,
) -> bool:
    """Write one COG, whole or not at all, and return whether it was written.

    ``parts``: pixels (h, w), or (3, h, w), and their place in the picture. ``empty``: whether to write a file without
    data. ``look`` is called with the picture once it has its overviews.
    """
    beside = target.parent if on_this_machine(target) else None
    # GDAL takes the number of threads for overviews from the environment, and for the COG driver from its option.
    settings = {"GDAL_CACHEMAX": CACHE, "GDAL_TIFF_OVR_BLOCKSIZE": str(BLOCK)}
    with (
        TemporaryDirectory(prefix=PARTIAL, dir=beside) as scratch,
        rasterio.Env(**settings, GDAL_NUM_THREADS=means.threads),
    ):
        cog = Path(scratch) / "cog.tif"
        with _canvas(frame, raster, Path(scratch) / "raw.tif", means.memory) as file:
            with means.clock("cogs read"):
                anything = _fill(file, parts, raster)
            if not anything and not empty:
                return False
            with means.clock("cogs overviews"):
                _describe(file, frame, raster)
            look(file)
            with means.clock("cogs compress"):
                # The driver's own overviews would go through another, compressed temporary file.
                rasterio.shutil.copy(
                    file,
                    cog,
                    driver="COG",
                    BLOCKSIZE=BLOCK,
                    PREDICTOR="YES",
                    NUM_THREADS=means.threads,
                    BIGTIFF="IF_SAFER",
                    **_COMPRESSIONS[means.compression],
                )
        put(cog, target)
    return True


@contextmanager
def _canvas(frame: Frame, raster: CogProfile, raw: Path, memory: float) -> Iterator[DatasetWriter]:
    """Open an uncompressed GeoTIFF, in memory if it fits; GDAL's MEM driver would compute other overviews."""
    height, width = frame.shape
    about: dict[str, Any] = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": raster.channels,
        "dtype": raster.dtype,
        "nodata": raster.nodata,
        "crs": frame.crs,
        "transform": rasterio.Affine(*frame.transform),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "BIGTIFF": "IF_SAFER",
    }
    if frame.need(raster, in_memory=True) <= memory:
        with MemoryFile(ext=".tif") as held, held.open(**about) as file:
            yield file
    else:
        # Empty blocks take no space on disk.
        with rasterio.open(raw, "w+", **about, SPARSE_OK=True) as file:
            yield file


def _fill(
    file: DatasetWriter, parts: Iterator[tuple[np.ndarray, Place]], raster: CogProfile
) -> bool:
    """Copy one part after the other; return whether any pixel has data."""
    anything = False
    for pixels, place in parts:
        window = Window.from_slices(*place)
        file.write(pixels, 1 if pixels.ndim == 2 else None, window=window)
        anything = anything or bool((pixels != raster.nodata).any())
    return anything


def _describe(file: DatasetWriter, frame: Frame, raster: CogProfile) -> None:
    """Set scale and description of a file, and add overviews."""
    if raster.channels > 1:
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    else:
        file.scales, file.offsets = (raster.scale,), (0.0,)
        file.descriptions = (raster.description,)
    file.update_tags(OVERVIEW_RESAMPLING=raster.overviews.upper())
    height, width = frame.shape
    levels = get_maximum_overview_level(width, height, minsize=BLOCK)
    if levels:
        file.build_overviews([2 << n for n in range(levels)], Resampling[raster.overviews])
