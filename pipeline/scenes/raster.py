"""Raster files of any archive, opened with the GDAL settings that they need."""

import logging
import re
import stat
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from s2sharp_core import S2SharpError

from ..catalog.addresses import bucket_of, is_array, public, split_address
from ..catalog.chunk_limits import MAX_BLOCK
from ..catalog.eopf import Array, opened
from ..catalog.faults import BrokenError
from ..catalog.gdal_credentials import session
from ..catalog.signing import signed
from ..catalog.sources import Source
from ..storage.location import store_errors
from .file_versions import Versions
from .limits import GDAL_CACHE

# The caches are limited, because workers live long and may be asked again for files that were missing or have
# changed. Listing a folder before each open costs a request per file.
_GDAL = {
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    "GDAL_CACHEMAX": GDAL_CACHE,  # rasterio passes it on as bytes, although GDAL documents megabytes
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_NUM_THREADS": "1",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "4000000",  # bytes per open file
}


def _without_keys(record: logging.LogRecord) -> bool:
    """Remove the query of addresses, which GDAL logs when it retries a request: a signed address is a key."""
    record.msg, record.args = re.sub(r"\?\S+", "?…", record.getMessage()), ()
    return True


logging.getLogger("rasterio._env").addFilter(_without_keys)

_unended = threading.local()


def _note_unended(record: logging.LogRecord) -> bool:
    """Note a truncated JPEG 2000 stream: OpenJPEG decodes the existing part and only warns."""
    if "does not end with EOC" in record.getMessage():
        _unended.seen = True
    return True


logging.getLogger("rasterio._err").addFilter(_note_unended)

# Only the formats of archives: with a free choice, GDAL would follow a VRT to any other file.
_JPEG2000 = ("JP2OpenJPEG", "JP2KAK", "JP2ECW")
T = TypeVar("T")


@dataclass(frozen=True)
class GdalFile:
    """A file of one band opened with GDAL, with its separate mask; both are checked when they are opened.

    An :class:`~s2sharp.catalog.eopf.Array` has the same properties and methods.
    """

    dataset: rasterio.DatasetReader
    beside: rasterio.DatasetReader | None

    @cached_property
    def packing(self) -> tuple[float, float] | None:
        """Return the scale and offset that the file states for its DN, or None."""
        stated = float(self.dataset.scales[0]), float(self.dataset.offsets[0])
        return None if stated == (1.0, 0.0) else stated  # GDAL's default means that none is stated

    @cached_property
    def transform(self) -> tuple[float, ...]:
        """Return (a, b, c, d, e, f)."""
        return tuple(self.dataset.transform)[:6]

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.dataset.shape
        return height, width

    @cached_property
    def epsg(self) -> int | None:
        crs = self.dataset.crs
        return crs.to_epsg() if crs else None

    @cached_property
    def dtype(self) -> str:
        return str(self.dataset.dtypes[0])

    @cached_property
    def nodata(self) -> float | None:
        """Return the value for no data that the file states."""
        said = self.dataset.nodatavals[0]
        return None if said is None else float(said)

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Return the stored values of a window."""
        _unended.seen = False
        stored = np.asarray(self.dataset.read(1, window=Window.from_slices(rows, cols)))
        if _unended.seen:
            raise RasterioError("its stream breaks off")
        return stored

    def masked(self, rows: slice, cols: slice) -> np.ndarray | None:
        """Return the pixels of a window that a separate mask marks as no data, or None without a mask."""
        window = Window.from_slices(rows, cols)
        if self.beside is not None:
            return np.asarray(self.beside.read(1, window=window)) == 0
        flags = self.dataset.mask_flag_enums[0]
        if MaskFlags.per_dataset not in flags and MaskFlags.alpha not in flags:
            return None  # most files have no mask, and nothing more is read
        return np.asarray(self.dataset.read_masks(1, window=window)) == 0

    def close(self) -> None:
        self.dataset.close()
        if self.beside is not None:
            self.beside.close()


Raster = GdalFile | Array
"""An open file of one band."""


@dataclass(frozen=True)
class OpenFiles:
    """Files that stay open, so that blocks which two reads share are decoded once; for one thread at a time.

    ``files``: the open files by address; ``seen``: versions of these and of files closed since.
    """

    files: dict[str, GdalFile] = field(default_factory=dict)
    seen: Versions = field(default_factory=Versions)


def reading(
    source: Source,
    item: str,
    home: str | None,
    read: Callable[[Raster], T],
    kept: OpenFiles | None = None,
) -> T:
    """Return the result of ``read`` on a file of ``item``, whose address is ``home``; the file is signed here.

    Without ``kept``, the file is closed again and forgotten. Errors: ``asset-unreadable``: any fault of the file,
    with the item and the band. ``asset-moved``: it is not the file that ``kept`` has seen. Also the errors of
    :func:`~s2sharp.catalog.signing.signed`.
    """
    try:
        with _opened(source, item, signed(source, home), kept) as dataset:
            return read(dataset)
    except S2SharpError as error:
        if source.sign == "none" or not re.search(r"\b40[13]\b", error.message):
            raise
    # After a refusal: the signature may have ended early.
    with _opened(source, item, signed(source, home, anew=True), kept) as dataset:
        return read(dataset)


@contextmanager
def _opened(source: Source, item: str, href: str, kept: OpenFiles | None) -> Iterator[Raster]:
    try:
        if is_array(href):
            yield opened(href, source.sign)
            return
    except store_errors(BrokenError, RuntimeError, ValueError) as error:
        reason = str(error) if isinstance(error, BrokenError) else f"({type(error).__name__})"
        raise _unreadable(source, item, href, reason) from None
    try:
        with rasterio.Env(session(source), **_GDAL) as env, ExitStack() as stack:
            # A file that fails to read is not kept, and is opened anew next time.
            file = kept.files.pop(source.href, None) if kept else None
            if file is None:
                file = _open(href, env.drivers())
            stack.callback(file.close)
            if kept is not None:
                _check_version(file.dataset, source, item, kept.seen)
            yield file
            if kept is not None:
                kept.files[source.href] = file
                stack.pop_all()
    except RasterioError as error:
        reason = str(error.__cause__ or error).replace(_unzipped(href), "").lstrip(": ")
        raise _unreadable(source, item, href, reason) from error


def _open(href: str, drivers: Container[str]) -> GdalFile:
    """Open a file. ``RasterioError`` refuses one that no archive would deliver."""
    _check_regular(href)
    with ExitStack() as stack:
        dataset = rasterio.open(_unzipped(href), driver=_driver(href, drivers))
        stack.callback(dataset.close)
        _check_one_band(dataset)
        _check_block(dataset)
        beside, mask = None, Path(f"{href}.msk")
        # GDAL itself would accept any format for the separate mask that it writes beside local files.
        if "://" not in href and mask.is_file():
            beside = rasterio.open(mask, driver="GTiff")
            stack.callback(beside.close)
            if beside.shape != dataset.shape:
                name = Path(beside.name).name
                raise RasterioError(f"{name} has {beside.shape} pixels, not {dataset.shape}")
            _check_block(beside)
        stack.pop_all()
    return GdalFile(dataset, beside)


def _check_regular(href: str) -> None:
    """Refuse a pipe or a device, because GDAL would wait forever for its bytes."""
    if "://" in href:
        return
    with suppress(OSError):  # GDAL reports it
        if not stat.S_ISREG(Path(href.partition("!/")[0]).stat().st_mode):
            raise RasterioError("it is not a regular file")


def _check_one_band(dataset: rasterio.DatasetReader) -> None:
    """Refuse a file of several bands, since nothing says which one is meant; a mask stored as a band does not count."""
    masks = sum(interpretation == ColorInterp.alpha for interpretation in dataset.colorinterp)
    if dataset.count - masks != 1:
        raise RasterioError(f"it holds {dataset.count} bands, not one")


def _check_block(dataset: rasterio.DatasetReader) -> None:
    """Refuse a file whose blocks are larger than planned for, because each is unpacked whole in memory."""
    height, width = dataset.block_shapes[0]
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    size = height * width * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > MAX_BLOCK:
        raise RasterioError(
            f"it has blocks of {height} × {width} px, more than {MAX_BLOCK >> 20} MB"
        )


def _check_version(
    dataset: rasterio.DatasetReader, source: Source, item: str, seen: Versions
) -> None:
    """Refuse a file that was replaced since it was first read: results of the old one are already written."""
    if not seen.same(source.href, dataset):
        raise S2SharpError(
            "asset-moved",
            f"Item {item}, band {source.band}: {public(source.href)} was replaced while it was read. Earlier "
            "results are from the old file.",
            "Start again with another --out.",
            item=item,
            band=source.band,
        )


def _unreadable(source: Source, item: str, href: str, reason: str) -> S2SharpError:
    remedy = "If the file becomes available, run again: only failed work is redone."
    if (bucket := bucket_of(href)) and re.search(
        r"\b403\b|denied|forbidden", reason, re.IGNORECASE
    ):
        remedy = (
            f"If you may read this bucket with your own AWS keys and trust the catalog, add --s3-bucket {bucket}. "
            "If its owner charges requesters, add --requester-pays, too."
        )
    return S2SharpError(
        "asset-unreadable",
        f"Item {item}, band {source.band}: cannot read {public(href)}: {public(reason)}.",
        remedy,
        item=item,
        band=source.band,
    )


def _unzipped(href: str) -> str:
    """Return ``/PATH.zip!/ENTRY`` in GDAL's form, and any other address unchanged."""
    found = re.fullmatch(r"(/.+\.zip)!/(.+)", href, re.IGNORECASE)
    return f"/vsizip/{{{found[1]}}}/{found[2]}" if found else href


def _driver(href: str, known: Container[str]) -> str:
    if not split_address(href)[0].lower().endswith((".jp2", ".j2k")):
        return "GTiff"
    return next((name for name in _JPEG2000 if name in known), _JPEG2000[0])


def header(
    source: Source, item: str, home: str | None
) -> tuple[tuple[float, ...], tuple[int, int]]:
    """Return transform (a, b, c, d, e, f) and shape that a file states; parameters as in :func:`reading`."""
    return reading(source, item, home, lambda file: (file.transform, file.shape))
