"""One Cloud-optimized GeoTIFF: pixels and overviews side by side, uncompressed, then both through GDAL's COG driver."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.rio.overview import get_maximum_overview_level
from rasterio.windows import Window

from ..storage.files import put
from ..storage.location import Location, on_this_machine
from .frames import BLOCK, CACHE, CogProfile, Frame, Place

if TYPE_CHECKING:
    from rasterio.io import DatasetWriter

__all__ = ["PARTIAL", "Means", "untimed", "write_cog"]

PARTIAL = ".partial-"
"""How folders begin in which a file is made."""

# DEFLATE: every GDAL reads it. Of differences of neighbours (predictor 2) level 6, its default, makes files no smaller than
# level 1 (within 2 % on four real scenes), in twice the time.
_COMPRESSIONS: dict[str, dict[str, Any]] = {
    "deflate": {"COMPRESS": "DEFLATE", "LEVEL": 1},
    "zstd": {"COMPRESS": "ZSTD", "LEVEL": 3},
    "lzw": {"COMPRESS": "LZW"},
}

Clock = Callable[[str], AbstractContextManager[None]]


def untimed(_: str) -> AbstractContextManager[None]:
    """A clock that keeps nothing."""
    return nullcontext()


@dataclass(frozen=True)
class Means:
    """Memory and threads that files are made with.

    ``compression``: "deflate", "zstd" or "lzw"; ``memory``: bytes of pixels that may be held, what does not fit is written
    to a temporary file first; ``threads``: as many as may be at work; ``clock``: times a step by its name.
    """

    compression: str = "deflate"
    memory: float = 0.0
    threads: int = 1
    clock: Clock = untimed

    def split(self, most: int, least: float) -> "tuple[int, Means]":
        """Decide how many of ``most`` files, each of which takes ``least`` bytes by a temporary file, are made at once; and what
        each has then.
        """
        count = max(1, min(self.threads, most, int(self.memory // least)))
        each = replace(self, memory=self.memory / count, threads=max(1, self.threads // count))
        return count, each


def write_cog(
    parts: Iterator[tuple[np.ndarray, Place]],
    frame: Frame,
    raster: CogProfile,
    target: Location,
    means: Means,
    *,
    empty: bool = True,
    look: Callable[["DatasetWriter"], None] = lambda _: None,
) -> bool:
    """Write one COG, whole or not at all.

    Parameters
    ----------
    parts
        Pixels (h, w), or (3, h, w), and their place in the picture.
    empty
        Whether it is written where it would hold nothing.
    look
        Called with the picture when it has its overviews.

    Returns
    -------
    bool
        Whether it was written.
    """
    beside = target.parent if on_this_machine(target) else None
    # Overviews take GDAL's threads from the environment, the COG driver from its option.
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
                # Its own overviews would go through another temporary file, compressed.
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
def _canvas(
    frame: Frame, raster: CogProfile, raw: Path, memory: float
) -> Iterator["DatasetWriter"]:
    """An uncompressed file, in memory where it fits: GDAL's MEM has other overviews, so both are GeoTIFFs."""
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
        # Empty blocks take up no room there.
        with rasterio.open(raw, "w+", **about, SPARSE_OK=True) as file:
            yield file


def _fill(
    file: "DatasetWriter", parts: Iterator[tuple[np.ndarray, Place]], raster: CogProfile
) -> bool:
    """Copy one part after the other; whether they hold anything."""
    anything = False
    for pixels, place in parts:
        window = Window.from_slices(*place)
        file.write(pixels, 1 if pixels.ndim == 2 else None, window=window)
        anything = anything or bool((pixels != raster.nodata).any())
    return anything


def _describe(file: "DatasetWriter", frame: Frame, raster: CogProfile) -> None:
    """Say what the numbers mean, and add overviews."""
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
