"""Raster files of any archive, opened with GDAL as they need it."""

import logging
import re
import stat
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from s2sharp_core import S2SharpError

from ..catalog.addresses import bucket_of, is_array, parted, public
from ..catalog.broken import BrokenError
from ..catalog.chunks import MAX_BLOCK
from ..catalog.keys import session
from ..catalog.signing import signed
from ..catalog.sources import Source
from ..storage.location import store_errors
from .limits import GDAL_CACHE
from .versions import Versions

__all__ = ["Kept", "Raster", "header", "reading"]

# Bounded, since workers live long, and may be asked again for what was missing or has changed since;
# listing a folder before each open costs a request per file.
_GDAL = {
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    "GDAL_CACHEMAX": GDAL_CACHE,  # rasterio hands it on as bytes, where GDAL takes megabytes
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_NUM_THREADS": "1",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "4000000",  # bytes of each open file
}


class _WithoutKeys(logging.Filter):
    """GDAL tells of a retried request with its whole address: a signed one is a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = re.sub(r"\?\S+", "?…", record.getMessage()), ()
        return True


logging.getLogger("rasterio._env").addFilter(_WithoutKeys())


class _Unended(logging.Filter):
    """Notes that a JPEG 2000 stream has no end: OpenJPEG makes pixels of whatever there is, and warns, no more."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if "does not end with EOC" in record.getMessage():
            self.seen.by = True
        return True


_unended = _Unended()
logging.getLogger("rasterio._err").addFilter(_unended)

# Only what archives deliver: given a free choice, GDAL would follow a VRT to any other file.
_JPEG2000 = ("JP2OpenJPEG", "JP2KAK", "JP2ECW")
T = TypeVar("T")


class Raster(Protocol):
    """A file of one band, open; ``transform``: (a, b, c, d, e, f)."""

    @property
    def transform(self) -> tuple[float, ...]: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def epsg(self) -> int | None: ...

    @property
    def dtype(self) -> str: ...

    @property
    def packing(self) -> tuple[float, float] | None:
        """Scale and offset that the file states of its DN, or floats were made of them by; None: it states none."""
        ...

    @property
    def nodata(self) -> float | None:
        """The number that stands for no data, as the file says."""
        ...

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Return what is stored of a window: DN, or floats that were made of DN."""
        ...

    def masked(self, rows: slice, cols: slice) -> np.ndarray | None:
        """Return where a window has no data by a mask beside the numbers; None where the file has none."""
        ...


@dataclass(frozen=True)
class _Gdal:
    """A file of GDAL's, with the mask beside it, checked when it was opened."""

    dataset: rasterio.DatasetReader
    beside: rasterio.DatasetReader | None

    @cached_property
    def packing(self) -> tuple[float, float] | None:
        stated = float(self.dataset.scales[0]), float(self.dataset.offsets[0])
        return None if stated == (1.0, 0.0) else stated  # GDAL's words for none

    @cached_property
    def transform(self) -> tuple[float, ...]:
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
        said = self.dataset.nodatavals[0]
        return None if said is None else float(said)

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        _unended.seen.by = False
        stored = np.asarray(self.dataset.read(1, window=Window.from_slices(rows, cols)))
        if _unended.seen.by:
            raise RasterioError("its stream breaks off")
        return stored

    def masked(self, rows: slice, cols: slice) -> np.ndarray | None:
        window = Window.from_slices(rows, cols)
        if self.beside is not None:
            return np.asarray(self.beside.read(1, window=window)) == 0
        flags = self.dataset.mask_flag_enums[0]
        if MaskFlags.per_dataset not in flags and MaskFlags.alpha not in flags:
            return None  # by far most files: no more is read
        return np.asarray(self.dataset.read_masks(1, window=window)) == 0

    def close(self) -> None:
        self.dataset.close()
        if self.beside is not None:
            self.beside.close()


@dataclass(frozen=True)
class Kept:
    """Files that stay open, so that blocks which two reads share are decoded once; for one thread at a time.

    ``files``: those that are open, by address; ``seen``: what they, and those that were closed again, were.
    """

    files: dict[str, _Gdal] = field(default_factory=dict)
    seen: Versions = field(default_factory=Versions)


def reading(
    source: Source,
    item: str,
    home: str | None,
    read: Callable[[Raster], T],
    kept: Kept | None = None,
) -> T:
    """Return what ``read`` gives of a file of ``item``, which has the address ``home``; its own signature is no matter.

    Without ``kept`` the file is closed again, and forgotten.

    Raises
    ------
    S2SharpError
        ``asset-unreadable``: whatever goes wrong in the file is told with the item and the band; ``asset-moved``:
        it is not the one that ``kept`` has seen; what :func:`~s2sharp.catalog.signing.signed` raises.
    """
    try:
        with _opened(source, item, signed(source, home), kept) as dataset:
            return read(dataset)
    except S2SharpError as error:
        if source.sign == "none" or not re.search(r"\b40[13]\b", error.message):
            raise
    # Refused: perhaps the signature ended before it said it would.
    with _opened(source, item, signed(source, home, anew=True), kept) as dataset:
        return read(dataset)


@contextmanager
def _opened(source: Source, item: str, href: str, kept: Kept | None) -> Iterator[Raster]:
    try:
        if is_array(href):
            from ..catalog.eopf import opened

            yield opened(href, source.sign)
            return
    except store_errors(BrokenError, RuntimeError, ValueError) as error:
        reason = str(error) if isinstance(error, BrokenError) else f"({type(error).__name__})"
        raise _unreadable(source, item, href, reason) from None
    settings = dict(_GDAL)
    try:
        with rasterio.Env(session(source), **settings) as env, ExitStack() as stack:
            # Not kept where reading it fails: it is opened anew then.
            file = kept.files.pop(source.href, None) if kept else None
            if file is None:
                file = _open(source, item, href, env.drivers())
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


def _open(source: Source, item: str, href: str, drivers: Container[str]) -> _Gdal:
    """Open a file, and refuse one that is not what archives deliver."""
    _check_regular(source, item, href)
    with ExitStack() as stack:
        dataset = rasterio.open(_unzipped(href), driver=_driver(href, drivers))
        stack.callback(dataset.close)
        _check_one_band(dataset, source, item, href)
        _check_block(dataset, source, item, href)
        beside = _mask_beside(href)
        if beside is not None:
            stack.callback(beside.close)
            if beside.shape != dataset.shape:
                name = Path(beside.name).name
                raise RasterioError(f"{name} has {beside.shape} pixels, not {dataset.shape}")
            _check_block(beside, source, item, href)
        stack.pop_all()
    return _Gdal(dataset, beside)


def _check_regular(source: Source, item: str, href: str) -> None:
    """Refuse a pipe or a device, for whose bytes GDAL would wait for ever."""
    if "://" in href:
        return
    with suppress(OSError):  # GDAL will tell
        if not stat.S_ISREG(Path(href.partition("!/")[0]).stat().st_mode):
            raise _unreadable(source, item, href, "it is no regular file")


def _check_one_band(dataset: rasterio.DatasetReader, source: Source, item: str, href: str) -> None:
    """Refuse a file of many bands: nothing says which of them is meant. A mask that comes as a band is none."""
    masks = sum(interpretation == ColorInterp.alpha for interpretation in dataset.colorinterp)
    if dataset.count - masks != 1:
        raise _unreadable(source, item, href, f"it holds {dataset.count} bands, not one")


def _check_block(dataset: rasterio.DatasetReader, source: Source, item: str, href: str) -> None:
    """Refuse a file whose blocks are larger than memory was planned for: each is unpacked whole."""
    height, width = dataset.block_shapes[0]
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    size = height * width * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > MAX_BLOCK:
        what = f"it has blocks of {height} × {width} px, more than {MAX_BLOCK >> 20} MB"
        raise _unreadable(source, item, href, what)


def _check_version(
    dataset: rasterio.DatasetReader, source: Source, item: str, seen: Versions
) -> None:
    """Refuse a file that was replaced since it was first read: what was made of the old one is written."""
    if not seen.same(source.href, dataset):
        raise S2SharpError(
            "asset-moved",
            f"Item {item}, band {source.band}: {public(source.href)} was replaced while it was read. What was written before is of the "
            "file as it was.",
            "Begin anew in another --out.",
            item=item,
            band=source.band,
        )


def _mask_beside(href: str) -> rasterio.DatasetReader | None:
    """Open the mask in a file of its own, ``….tif.msk``, which GDAL writes beside files of this machine; None: there is none.

    It is opened here, and not by GDAL, which would take any format for it.
    """
    file = None if "://" in href else Path(f"{href}.msk")
    return rasterio.open(file, driver="GTiff") if file is not None and file.is_file() else None


def _unreadable(source: Source, item: str, href: str, reason: str) -> S2SharpError:
    remedy = "If the archive has it elsewhere or later, run again: only what failed is redone."
    if (bucket := bucket_of(href)) and re.search(
        r"\b403\b|denied|forbidden", reason, re.IGNORECASE
    ):
        remedy = (
            f"If you may read this bucket with your own AWS keys and trust the catalogue, add --s3-bucket {bucket}, and "
            "--requester-pays where its owner lets you pay."
        )
    return S2SharpError(
        "asset-unreadable",
        f"Item {item}, band {source.band}: cannot read {public(href)}: {public(reason)}.",
        remedy,
        item=item,
        band=source.band,
    )


def _unzipped(href: str) -> str:
    """``/PATH.zip!/ENTRY`` as GDAL calls it; any other address as it is."""
    found = re.fullmatch(r"(/.+\.zip)!/(.+)", href, re.IGNORECASE)
    return f"/vsizip/{{{found[1]}}}/{found[2]}" if found else href


def _driver(href: str, known: Container[str]) -> str:
    if not parted(href)[0].lower().endswith((".jp2", ".j2k")):
        return "GTiff"
    return next((name for name in _JPEG2000 if name in known), _JPEG2000[0])


def header(
    source: Source, item: str, home: str | None
) -> tuple[tuple[float, ...], tuple[int, int]]:
    """Transform (a, b, c, d, e, f) and shape that a file states; parameters as of :func:`reading`."""
    return reading(source, item, home, lambda file: (file.transform, file.shape))
