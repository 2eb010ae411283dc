"""Native pixels of an acquisition: windows of its files, copied side by side, never resampled."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import CELL, native_gsd
from s2sharp_core.lattice import Box, Lattice, any_in_cells
from s2sharp_core.threads import threads_for

from ..catalog.reflectance import APPLIED, PIXELS
from ..catalog.sources import MAX_DN, Source
from .acquisition import Acquisition
from .limits import ABREAST
from .radiometry import decode, harmonise, missing, reference_offset, source_of
from .raster import OpenFiles, Raster, reading
from .scene import Scene

S = TypeVar("S")
T = TypeVar("T")


def read_scene(
    acquisition: Acquisition, scene: Scene, band: str, box: Box, kept: OpenFiles
) -> np.ndarray:
    """Return DN of one scene over the cells ``box``, all of which it holds: uint16 (n·rows, n·cols), 0 as nodata.

    They are in the terms of :func:`reference_offset`. Gaps are marked by the item or the file: by a nodata value, or
    by a mask. For ``kept`` see :func:`reading`. Errors: ``asset-unreadable``, or ``metadata-contradicts-file`` if the
    file lies elsewhere, or holds other values, than its item states.
    """
    source = source_of(scene, band)
    assert source is not None  # noqa: S101  (the caller passes scenes with this band)
    reference = reference_offset(acquisition, band)

    def read(file: Raster) -> np.ndarray:
        _check_place(scene, source, acquisition.epsg, file)
        _check_numbers(scene, source, file)
        rows, cols = scene.box.slices(box, native_gsd(source.band))
        stored = file.read(rows, cols)
        if stored.dtype.kind == "f" and (stored > MAX_DN * source.scale + source.offset).any():
            text = "the file holds larger values than reflectance, not reflectance"
            raise _contradicts(scene, source, text)
        gone = missing(stored, source.nodata, file.nodata)
        masked = file.masked(rows, cols)
        if masked is not None:
            gone = masked if gone is None else gone | masked
        return harmonise(stored, gone, source, reference)

    return reading(source, scene.id, scene.href, read, kept)


def _check_place(scene: Scene, source: Source, epsg: int, file: Raster) -> None:
    gsd = native_gsd(source.band)
    stated = Lattice.of(epsg).transform(scene.box, gsd)
    off = np.abs(np.array(file.transform) - stated).max()
    if off > 1e-3 or file.shape != scene.box.pixels(gsd) or file.epsg != epsg:
        text = (
            f"its metadata say {stated}, {scene.box.pixels(gsd)} px, EPSG:{epsg}; the file says {file.transform}, "
            f"{file.shape} px, EPSG:{file.epsg}"
        )
        raise _contradicts(scene, source, text)


def _check_numbers(scene: Scene, source: Source, file: Raster) -> None:
    """Refuse values that are neither the item's DN nor, in a Zarr, reflectance made from them.

    Only classes fit into eight bits: reflectance in eight bits is a stretched picture.
    """
    kind = np.dtype(file.dtype).kind
    fits = {"uint16"} | ({"uint8"} if source.band == "SCL" else set())
    fits |= {"int16"} if source.signed else set()
    if file.dtype not in fits and (kind != "f" or file.packing is None):
        expected = "DN below zero, or unsigned ones" if source.signed else "unsigned DN of 16 bits"
        remedy = "Use the archive's own files, not ones converted to reflectance."
        text = f"the file holds {file.dtype}, not {expected}"
        raise _contradicts(scene, source, text, remedy)
    if file.packing is None or source.band == "SCL" or _agrees(file.packing, source, kind):
        return
    what = "DN" if kind != "f" else "reflectance made"
    text = (
        f"the file holds {what} with scale and offset {file.packing}, not DN with scale {source.scale:g} and offset "
        f"{source.offset:g} ({source.origin})"
    )
    raise _contradicts(scene, source, text)


def _agrees(packing: tuple[float, float], source: Source, kind: str) -> bool:
    """Return whether a file states the same scale and offset as its item.

    An offset of DN may be stated in DN. The file's offset is ignored if a newer statement exists.
    """
    scale, offset = packing
    if kind == "f":
        return np.allclose(packing, (source.scale, source.offset), rtol=1e-4, atol=1e-9)
    if source.origin in (APPLIED, PIXELS):
        return True
    same = any(abs(o - source.offset) < source.scale / 2 for o in (offset, offset * source.scale))
    return same and (scale == 1 or bool(np.isclose(scale, source.scale, rtol=1e-4)))


def _contradicts(
    scene: Scene,
    source: Source,
    text: str,
    remedy: str = "Leave the item out, or report it to the archive.",
) -> S2SharpError:
    text = f"Item {scene.id}, band {source.band}: {text}."
    return S2SharpError("metadata-contradicts-file", text, remedy, item=scene.id, band=source.band)


class Reader(Protocol):
    """Source of native pixels: the files of the items, or the stage.

    ``waits``: whether they come from a server, so that several bands are read at once.
    """

    @property
    def waits(self) -> bool: ...

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Return DN over ``box`` (0 for no data), and the scene of each pixel (1 = first)."""
        ...


@dataclass(frozen=True)
class Files:
    """Reader of the files of an acquisition's items; they stay open as long as it lives.

    Without ``kept``, file versions are remembered as long as the reader lives.
    """

    acquisition: Acquisition
    kept: OpenFiles = field(default_factory=OpenFiles, repr=False, compare=False)

    @property
    def waits(self) -> bool:
        return any("://" in source.href for source in self.acquisition.scenes[0].sources)

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        gsd = native_gsd(band)
        dn = np.zeros(box.pixels(gsd), dtype=np.uint16)
        source = np.zeros(box.pixels(gsd), dtype=np.uint16)
        scenes = [
            scene
            for scene in self.acquisition.scenes
            if not (scene.box & box).empty and source_of(scene, band)
        ]
        if len(scenes) == 1:  # same result as below, with a third of the work
            inner = scenes[0].box & box
            place = box.slices(inner, gsd)
            dn[place] = read_scene(self.acquisition, scenes[0], band, inner, self.kept)
            source[place] = np.where(dn[place] != 0, np.uint16(scenes[0].number), np.uint16(0))
            return dn, source
        choices = precedence(tuple(scene.box for scene in scenes), box)
        for choice in choices:
            # The previous choices may have left holes.
            wanted = (choice >= 0) & any_in_cells(dn == 0, gsd)
            for index, scene in enumerate(scenes):
                mine = wanted & (choice == index)
                if not mine.any():
                    continue
                inner = _around(mine, box)
                place = box.slices(inner, gsd)
                part = read_scene(self.acquisition, scene, band, inner, self.kept)
                cells = mine[box.slices(inner, CELL)]
                own = cells.repeat(CELL // gsd, axis=0).repeat(CELL // gsd, axis=1)
                free = (dn[place] == 0) & (part != 0) & own
                dn[place][free] = part[free]
                source[place][free] = scene.number
        return dn, source


@lru_cache(maxsize=4)
def precedence(boxes: tuple[Box, ...], cells: Box) -> np.ndarray:
    """Return int16 (choice, row, column): the index of the scene for each of ``cells``, best choice first; -1: none.

    The best choice among the scenes that hold a cell has the nearest centre; for equal distances it is the first
    scene. The others fill its holes. Overlaps of Level-2A differ, because it is corrected tile by tile, most of all
    towards the edges of tiles. So the result changes from one tile to the next at one line, in the middle of the overlap.
    The choice depends only on the scenes at this place, which every query for it finds. So no line depends on the
    requested area or the order of reading.
    """
    if len(boxes) == 1:
        alone = np.full((1, *cells.shape), -1, dtype=np.int16)
        if not (boxes[0] & cells).empty:
            alone[0][cells.slices(boxes[0] & cells, CELL)] = 0
        return alone
    rows, cols = np.ogrid[cells.row0 : cells.row1, cells.col0 : cells.col1]
    away = np.full((len(boxes), *cells.shape), np.iinfo(np.int64).max)
    for distance, box in zip(away, boxes, strict=True):
        inner = box & cells
        if not inner.empty:
            here = cells.slices(inner, CELL)
            # The doubled distance from a cell's centre to the scene's, squared.
            down, across = 2 * rows + 1 - box.row0 - box.row1, 2 * cols + 1 - box.col0 - box.col1
            distance[here] = (down**2 + across**2)[here]
    order = np.argsort(away, axis=0, kind="stable")
    held = np.take_along_axis(away, order, axis=0) < np.iinfo(np.int64).max
    return np.where(held, order, -1).astype(np.int16)


def _around(mask: np.ndarray, box: Box) -> Box:
    """Return the smallest box around the cells of ``box`` in ``mask``."""
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Box(
        box.row0 + int(rows[0]),
        box.row0 + int(rows[-1]) + 1,
        box.col0 + int(cols[0]),
        box.col0 + int(cols[-1]) + 1,
    )


@dataclass(frozen=True)
class Block:
    """Native reflectance over ``box``, and layers on the 10 m grid over the wanted cells.

    ``source``: the number of the scene that the pixels of the first band are from.
    """

    box: Box
    data: Mapping[str, np.ndarray]
    saturated: np.ndarray
    source: np.ndarray
    cloud: np.ndarray


def load_block(
    reader: Reader, acquisition: Acquisition, bands: tuple[str, ...], want: Box, margin: int
) -> Block:
    """Read ``bands`` over ``want`` and ``margin`` cells around it.

    Errors: as in :func:`read_scene`, for the first file that cannot be read.
    """
    box = want.grow(margin)

    def one(band: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return reflectance, saturated pixels, and the scenes of the first band's pixels."""
        dn, number = reader.mosaic(band, box)
        y, glare = decode(dn, *reference_offset(acquisition, band))
        inner = box.slices(want, BANDS[band].gsd)
        return y, glare[inner] if glare.any() else None, number[inner] if band == bands[0] else None

    data = {}
    saturated = np.zeros(want.pixels(10), dtype=bool)
    source = np.zeros(want.pixels(10), dtype=np.uint16)
    for band, (y, glare, number) in zip(bands, read_each(one, bands, reader), strict=True):
        data[band] = y
        if glare is not None:
            saturated |= _at_10m(glare, BANDS[band].gsd)
        if number is not None:
            source = _at_10m(number, BANDS[band].gsd)
    cloud = np.zeros(want.pixels(10), dtype=np.uint8)
    if any(scene.scl for scene in acquisition.within(want)):
        cloud = load_scl(reader, want)
    return Block(box, data, saturated, source, cloud)


def read_each(read: Callable[[S], T], things: Iterable[S], reader: Reader) -> Iterator[T]:
    """Yield one result after the other, in order; several are read at once if ``reader`` waits for a server."""
    if not reader.waits:
        yield from map(read, things)
        return
    coming: deque[Future[T]] = deque()
    try:
        for thing in things:
            coming.append(threads_for("files", ABREAST).submit(read, thing))
            if len(coming) == ABREAST:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for future in coming:
            future.cancel()
        wait(coming)  # files of running reads must be closed or kept before another read needs them


def reflectance(reader: Reader, acquisition: Acquisition, band: str, want: Box) -> np.ndarray:
    """Return a band over ``want`` at its own GSD: float32 reflectance, NaN as nodata."""
    dn, _ = reader.mosaic(band, want)
    return decode(dn, *reference_offset(acquisition, band))[0]


def load_scl(reader: Reader, want: Box) -> np.ndarray:
    """Return the scene classification over ``want`` on the 10 m grid, uint8, by nearest neighbour."""
    scl, _ = reader.mosaic("SCL", want)
    return _at_10m(scl.astype(np.uint8), 20)


def _at_10m(x: np.ndarray, gsd: int) -> np.ndarray:
    n = gsd // 10
    return x if n == 1 else x.repeat(n, axis=0).repeat(n, axis=1)
