"""Acquisition + cells → native pixels: windows of the files, copied side by side, never resampled."""

import logging
import os
import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import CELL, native_gsd
from s2sharp_core.lattice import Box, Lattice

from .archives import Source, public
from .eopf import is_array, opened
from .overlaps import precedence
from .place import store_errors
from .signing import session, signed
from .web import BrokenError

if TYPE_CHECKING:
    from .acquisitions import Acquisition
    from .scenes import Scene

__all__ = [
    "Block",
    "Files",
    "Reader",
    "decode",
    "harmonised",
    "header",
    "load_block",
    "load_scl",
    "offset_doubt",
    "reading",
    "reference_offset",
]

SATURATED = 65535
"""DN of a saturated pixel in Level-1C and in most archives' Level-2A."""

GDAL_CACHE = 64_000_000
"""Bytes of raster blocks that a process keeps."""

# Bounded, since workers live long, and may be asked again for what was missing or has changed since;
# listing a folder before each open costs a request per file.
_GDAL = {
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
    "GDAL_CACHEMAX": GDAL_CACHE // 1_000_000,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_NUM_THREADS": "1",
    "VSI_CACHE": "TRUE",
}


class _WithoutKeys(logging.Filter):
    """GDAL tells of a retried request with its whole address: a signed one is a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = re.sub(r"\?\S+", "?…", record.getMessage()), ()
        return True


logging.getLogger("rasterio._env").addFilter(_WithoutKeys())

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

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """DN of a window."""
        ...


@dataclass(frozen=True)
class _Gdal:
    dataset: rasterio.DatasetReader

    @property
    def transform(self) -> tuple[float, ...]:
        return tuple(self.dataset.transform)[:6]

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.dataset.shape
        return height, width

    @property
    def epsg(self) -> int | None:
        crs = self.dataset.crs
        return crs.to_epsg() if crs else None

    @property
    def dtype(self) -> str:
        return str(self.dataset.dtypes[0])

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        return np.asarray(self.dataset.read(1, window=Window.from_slices(rows, cols)))


Kept = dict[str, rasterio.DatasetReader]
"""Address → a file that stays open, so that blocks which two reads share are decoded once; for one thread at a time."""


def reading(
    source: Source,
    item: str,
    home: str | None,
    read: Callable[[Raster], T],
    kept: Kept | None = None,
) -> T:
    """What ``read`` gives of a file of ``item``, which has the address ``home``; its own signature is no matter.

    Without ``kept`` the file is closed again.

    Raises
    ------
    S2SharpError
        ``asset-unreadable``: whatever goes wrong in the file is told with the item and the band; what
        :func:`~s2sharp.signing.signed` raises.
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
            yield opened(href)
            return
    except store_errors(BrokenError, RuntimeError, ValueError) as error:
        reason = str(error) if isinstance(error, BrokenError) else f"({type(error).__name__})"
        raise _unreadable(source, item, href, reason) from None
    settings = dict(_GDAL)
    keys = session(source)
    if href.startswith("s3://") and keys is None and "AWS_ACCESS_KEY_ID" not in os.environ:
        settings["AWS_NO_SIGN_REQUEST"] = "YES"
    try:
        with rasterio.Env(keys, **settings) as env, ExitStack() as stack:
            # Not kept where reading it fails: it is opened anew then.
            dataset = kept.pop(source.href, None) if kept else None
            if dataset is None:
                dataset = rasterio.open(_unzipped(href), driver=_driver(href, env.drivers()))
            stack.callback(dataset.close)
            yield _Gdal(dataset)
            if kept is not None:
                kept[source.href] = dataset
                stack.pop_all()
    except RasterioError as error:
        reason = str(error.__cause__ or error).replace(_unzipped(href), "").lstrip(": ")
        raise _unreadable(source, item, href, reason) from error


def _unreadable(source: Source, item: str, href: str, reason: str) -> S2SharpError:
    return S2SharpError(
        "asset-unreadable",
        f"Item {item}, band {source.band}: cannot read {public(href)}: {public(reason)}.",
        "If the archive has it elsewhere or later, run again: only what failed is redone.",
        item=item,
        band=source.band,
    )


def _unzipped(href: str) -> str:
    """``/PATH.zip!/ENTRY`` as GDAL calls it; any other address as it is."""
    found = re.fullmatch(r"(/.+\.zip)!/(.+)", href, re.IGNORECASE)
    return f"/vsizip/{{{found[1]}}}/{found[2]}" if found else href


def _driver(href: str, known: Container[str]) -> str:
    if not href.partition("?")[0].lower().endswith((".jp2", ".j2k")):
        return "GTiff"
    return next((name for name in _JPEG2000 if name in known), _JPEG2000[0])


def header(
    source: Source, item: str, home: str | None
) -> tuple[tuple[float, ...], tuple[int, int]]:
    """Transform (a, b, c, d, e, f) and shape that a file states; parameters as of :func:`reading`."""
    return reading(source, item, home, lambda file: (file.transform, file.shape))


def read_scene(
    scene: "Scene", source: Source, epsg: int, box: Box, kept: Kept | None = None
) -> np.ndarray:
    """DN of the cells ``box`` of one file, which must hold them all: (n·rows, n·cols); ``kept`` as of :func:`reading`.

    Raises
    ------
    S2SharpError
        ``asset-unreadable``, or ``metadata-contradicts-file`` when the file lies elsewhere than its
        item says.
    """
    gsd = native_gsd(source.band)
    lattice = Lattice.of(epsg)

    def read(file: Raster) -> np.ndarray:
        stated = lattice.transform(scene.box, gsd)
        off = np.abs(np.array(file.transform) - stated).max()
        if off > 1e-3 or file.shape != scene.box.pixels(gsd) or file.epsg != epsg:
            raise S2SharpError(
                "metadata-contradicts-file",
                f"Item {scene.id}, band {source.band}: its metadata say {stated}, "
                f"{scene.box.pixels(gsd)} px, EPSG:{epsg}; the file says {file.transform}, "
                f"{file.shape} px, EPSG:{file.epsg}.",
                "Leave the item out, or report it to the archive.",
                item=scene.id,
                band=source.band,
            )
        if file.dtype not in {"uint8", "uint16"}:
            raise S2SharpError(
                "metadata-contradicts-file",
                f"Item {scene.id}, band {source.band}: the file holds {file.dtype}, not unsigned DN.",
                "Use the archive's own files, not ones converted to reflectance.",
                item=scene.id,
                band=source.band,
            )
        return file.read(*scene.box.slices(box, gsd))

    return reading(source, scene.id, scene.href, read, kept)


class Reader(Protocol):
    """Where native pixels come from: the files of the items, or the stage."""

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """DN over ``box`` (0 where there is none) and which scene each pixel is from (1 = first)."""
        ...


@dataclass(frozen=True)
class Files:
    """Reads the files of an acquisition's items directly; they stay open as long as it lives."""

    acquisition: "Acquisition"
    _kept: Kept = field(default_factory=dict, init=False, repr=False, compare=False)

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        gsd = native_gsd(band)
        dn = np.zeros(box.pixels(gsd), dtype=np.uint16)
        source = np.zeros(box.pixels(gsd), dtype=np.uint16)
        scenes = [
            scene
            for scene in self.acquisition.scenes
            if not (scene.box & box).empty and source_of(scene, band)
        ]
        if len(scenes) == 1:  # as the rest would do it, with a third of the work
            inner = scenes[0].box & box
            place = box.slices(inner, gsd)
            dn[place] = harmonised(self.acquisition, scenes[0], band, inner, self._kept)
            source[place] = np.where(dn[place] != 0, np.uint16(scenes[0].number), np.uint16(0))
            return dn, source
        choices = precedence(tuple(scene.box for scene in scenes), box)
        for choice in choices:
            # What the choices before gave may have holes.
            wanted = (choice >= 0) & _any_in_cells(dn == 0, box)
            for index, scene in enumerate(scenes):
                mine = wanted & (choice == index)
                if not mine.any():
                    continue
                inner = _around(mine, box)
                place = box.slices(inner, gsd)
                part = harmonised(self.acquisition, scene, band, inner, self._kept)
                free = (dn[place] == 0) & (part != 0) & _to_pixels(mine, box, inner, gsd)
                dn[place][free] = part[free]
                source[place][free] = scene.number
        return dn, source


def _any_in_cells(x: np.ndarray, box: Box) -> np.ndarray:
    rows, cols = box.shape
    return np.asarray(x.reshape(rows, x.shape[0] // rows, cols, -1).any(axis=(1, 3)))


def _around(mask: np.ndarray, box: Box) -> Box:
    """The smallest box around the cells of ``box`` that ``mask`` has."""
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Box(
        box.row0 + int(rows[0]),
        box.row0 + int(rows[-1]) + 1,
        box.col0 + int(cols[0]),
        box.col0 + int(cols[-1]) + 1,
    )


def _to_pixels(mask: np.ndarray, box: Box, inner: Box, gsd: int) -> np.ndarray:
    n = CELL // gsd
    return mask[box.slices(inner, CELL)].repeat(n, axis=0).repeat(n, axis=1)


def harmonised(
    acquisition: "Acquisition", scene: "Scene", band: str, box: Box, kept: Kept | None = None
) -> np.ndarray:
    """DN of one scene over ``box``, which it holds, as :func:`reference_offset` means them; 0 as nodata.

    ``kept`` as of :func:`reading`.
    """
    file = source_of(scene, band)
    assert file is not None  # noqa: S101  (the caller asks for what there is)
    part = read_scene(scene, file, acquisition.epsg, box, kept)
    return _harmonise(part, file, reference_offset(acquisition, band))


def source_of(scene: "Scene", band: str) -> Source | None:
    if band == "SCL":
        return scene.scl
    return next(source for source in scene.sources if source.band == band)


def reference_offset(acquisition: "Acquisition", band: str) -> tuple[float, float]:
    """(scale, offset) that an acquisition's DN of ``band`` are kept in: the lowest of its items."""
    if band == "SCL":
        return 1.0, 0.0
    files = [source_of(scene, band) for scene in acquisition.scenes]
    return min((f.scale, f.offset) for f in files if f is not None)


def _harmonise(dn: np.ndarray, file: Source, reference: tuple[float, float]) -> np.ndarray:
    """DN as if the file had the reference's offset; nodata becomes 0, saturated pixels stay."""
    dn = np.where(dn == file.nodata, 0, dn) if file.nodata else dn
    scale, offset = reference
    if (file.scale, file.offset) == reference:
        return dn.astype(np.uint16, copy=False)
    moved = np.rint((dn * file.scale + file.offset - offset) / scale)
    moved = np.clip(moved, 1, SATURATED - 1)
    keep = (dn == 0) | (dn == SATURATED)
    return np.where(keep, dn, moved).astype(np.uint16)


def decode(dn: np.ndarray, scale: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """DN → (float32 reflectance with NaN as nodata, bool saturated).

    Dark negatives survive. A saturated pixel's value is unknown: it is NaN, and flagged, so that no
    interpolation averages it into its neighbours.
    """
    saturated = dn == SATURATED
    # In whole DN first: (DN - 1000) / 10 000 comes back exactly when it is stored as int16.
    y = (dn.astype(np.float32) + np.float32(round(offset / scale))) * np.float32(scale)
    y[(dn == 0) | saturated] = np.nan
    return y, saturated


@dataclass(frozen=True)
class Block:
    """Native reflectance over ``box``, and layers on the 10 m grid over what was wanted.

    ``source``: the number of the scene that the first band's pixels are from.
    """

    box: Box
    data: Mapping[str, np.ndarray]
    saturated: np.ndarray
    source: np.ndarray
    cloud: np.ndarray


def load_block(
    reader: Reader, acquisition: "Acquisition", bands: tuple[str, ...], want: Box, margin: int
) -> Block:
    """Read ``bands`` over ``want`` and ``margin`` cells around it.

    Raises
    ------
    S2SharpError
        As :func:`read_scene`, for the first file that cannot be read.
    """
    box = want.grow(margin)
    data = {}
    saturated = np.zeros(want.pixels(10), dtype=bool)
    source = np.zeros(want.pixels(10), dtype=np.uint16)
    for order, band in enumerate(bands):
        gsd = BANDS[band].gsd
        dn, number = reader.mosaic(band, box)
        data[band], glare = decode(dn, *reference_offset(acquisition, band))
        inner = box.slices(want, gsd)
        if glare.any():
            saturated |= _at_10m(glare[inner], gsd)
        if order == 0:
            source = _at_10m(number[inner], gsd)
    cloud = np.zeros(want.pixels(10), dtype=np.uint8)
    if any(scene.scl for scene in acquisition.within(want)):
        cloud = load_scl(reader, want)
    return Block(box, data, saturated, source, cloud)


def load_scl(reader: Reader, want: Box) -> np.ndarray:
    """The scene classification over ``want`` on the 10 m grid, uint8: nearest, since classes have no mean."""
    scl, _ = reader.mosaic("SCL", want)
    return _at_10m(scl.astype(np.uint8), 20)


def _at_10m(x: np.ndarray, gsd: int) -> np.ndarray:
    n = gsd // 10
    return x if n == 1 else x.repeat(n, axis=0).repeat(n, axis=1)


def offset_doubt(block: Block, acquisition: "Acquisition") -> str | None:
    """Whether the dark end of the pixels contradicts the offset that the metadata gave.

    Archives' flags err both ways. An offset subtracted twice sends much of a picture below zero; one
    that was not subtracted at all lifts every band's darkest pixels to 0.1.
    """
    lowest, below = [], 0.0
    for y in block.data.values():
        sample = y[:: max(1, y.shape[0] // 200), :: max(1, y.shape[1] // 200)]
        sample = sample[~np.isnan(sample)]
        if sample.size < 100:
            return None
        lowest.append(float(np.quantile(sample, 0.001)))
        below = max(below, float(np.mean(sample < -0.02)))
    for scene in acquisition.within(block.box):
        source = scene.sources[0]
        if source.offset < 0 and below > 0.2:
            return (
                f"Item {scene.id}: much of a band lies below -0.02 after "
                f"its offset of {source.offset:g} ({source.origin}): it seems to have been applied already "
                "by the archive. Compare with another archive before you use the values."
            )
        modern = scene.baseline is None or scene.baseline >= (4, 0)
        if source.offset == 0 and modern and min(lowest) > 0.095:
            return (
                f"Item {scene.id}: the darkest pixels of every band lie above "
                f"0.095 with no offset ({source.origin}): it seems not to have been applied, so "
                "that reflectance is inflated by 0.1. Compare with another archive before you use the "
                "values."
            )
    return None
