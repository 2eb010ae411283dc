"""Native pixels of an acquisition: windows of its files, copied side by side, never resampled."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import CELL, native_gsd
from s2sharp_core.lattice import Box, Lattice, any_in_cells
from s2sharp_core.threads import threads_for

from ..catalog.reflectance import APPLIED, PIXELS
from ..catalog.sources import MAX_DN, Source
from .limits import ABREAST
from .overlaps import precedence
from .radiometry import decode, harmonise, missing, reference_offset, source_of
from .raster import Kept, Raster, reading

if TYPE_CHECKING:
    from .acquisition import Acquisition
    from .scene import Scene

_REPORT = "Leave the item out, or report it to the archive."
S = TypeVar("S")
T = TypeVar("T")


def read_scene(
    acquisition: "Acquisition", scene: "Scene", band: str, box: Box, kept: Kept
) -> np.ndarray:
    """Return DN of one scene over the cells ``box``, all of which it holds: uint16 (n·rows, n·cols), 0 as nodata.

    They are in the terms of :func:`reference_offset`. Gaps are marked by the item or the file: by a nodata value, or by
    a mask. For ``kept`` see :func:`reading`.

    Errors: ``asset-unreadable``, or ``metadata-contradicts-file`` if the file lies elsewhere, or holds other values,
    than its item states.
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
            raise _contradicts(scene, source, "larger values than reflectance", "reflectance")
        gone = missing(stored, source.nodata, file.nodata)
        masked = file.masked(rows, cols)
        if masked is not None:
            gone = masked if gone is None else gone | masked
        return harmonise(stored, gone, source, reference)

    return reading(source, scene.id, scene.href, read, kept)


def _check_place(scene: "Scene", source: Source, epsg: int, file: Raster) -> None:
    gsd = native_gsd(source.band)
    stated = Lattice.of(epsg).transform(scene.box, gsd)
    off = np.abs(np.array(file.transform) - stated).max()
    if off > 1e-3 or file.shape != scene.box.pixels(gsd) or file.epsg != epsg:
        raise S2SharpError(
            "metadata-contradicts-file",
            f"Item {scene.id}, band {source.band}: its metadata say {stated}, "
            f"{scene.box.pixels(gsd)} px, EPSG:{epsg}; the file says {file.transform}, "
            f"{file.shape} px, EPSG:{file.epsg}.",
            _REPORT,
            item=scene.id,
            band=source.band,
        )


def _check_numbers(scene: "Scene", source: Source, file: Raster) -> None:
    """Refuse values that are neither the item's DN nor, in a Zarr, reflectance made from them.

    Only classes fit into eight bits: reflectance in eight bits is a stretched picture.
    """
    kind = np.dtype(file.dtype).kind
    fits = {"uint16"} | ({"uint8"} if source.band == "SCL" else set())
    fits |= {"int16"} if source.signed else set()
    if file.dtype not in fits and (kind != "f" or file.packing is None):
        expected = "DN below zero, or unsigned ones" if source.signed else "unsigned DN of 16 bits"
        remedy = "Use the archive's own files, not ones converted to reflectance."
        raise _contradicts(scene, source, file.dtype, expected, remedy)
    if file.packing is None or source.band == "SCL" or _agrees(file.packing, source, kind):
        return
    what = "DN" if kind != "f" else "reflectance made"
    raise _contradicts(
        scene,
        source,
        f"{what} with scale and offset {file.packing}",
        f"DN with scale {source.scale:g} and offset {source.offset:g} ({source.origin})",
    )


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
    scene: "Scene", source: Source, found: str, expected: str, remedy: str = _REPORT
) -> S2SharpError:
    return S2SharpError(
        "metadata-contradicts-file",
        f"Item {scene.id}, band {source.band}: the file holds {found}, not {expected}.",
        remedy,
        item=scene.id,
        band=source.band,
    )


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

    acquisition: "Acquisition"
    kept: Kept = field(default_factory=Kept, repr=False, compare=False)

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
                free = (dn[place] == 0) & (part != 0) & _to_pixels(mine, box, inner, gsd)
                dn[place][free] = part[free]
                source[place][free] = scene.number
        return dn, source


def _around(mask: np.ndarray, box: Box) -> Box:
    """Return the smallest box around the cells of ``box`` in ``mask``."""
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
    reader: Reader, acquisition: "Acquisition", bands: tuple[str, ...], want: Box, margin: int
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


def reflectance(reader: Reader, acquisition: "Acquisition", band: str, want: Box) -> np.ndarray:
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
