"""Blocks of a scene through a sharpener, window by window on the lattice.

Law: the same place gives the same values, whatever the area, the tiles, the chunks or the order. So windows have one
shape and lie on the lattice, and each window includes the halo that the sharpener needs. Where a method gives the same
bits in another shape, neighbours are sharpened as one, which saves halos, and windows end with the area. Gaps are filled from a
limited neighbourhood, so a filled pixel depends on a limited area, too. A block is read with :func:`context` cells
around it, and nothing beyond them matters.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from .bands import BANDS, BY_GSD, CELL, GSDS
from .device import Strip, device_of
from .errors import S2SharpError
from .gaps import closed, holes_of
from .lattice import Box, any_in_cells
from .sharpeners.base import Sharpener
from .stored import as_stored, no_data
from .threads import compute_with, threads_for
from .windows import ABREAST, JOINED, WINDOW


def context(sharpener: Sharpener) -> int:
    """Return the cells around a block that its result can depend on: the halo, and as much again for filling."""
    return 2 * sharpener.halo


def valid_mask(data: Mapping[str, np.ndarray], have: Box, want: Box) -> np.ndarray:
    """Return where every band of ``data`` is valid: bool (6h, 6w) over ``want``."""
    return _valid(holes_of(data), have, want)


def _valid(holes: Mapping[str, np.ndarray], have: Box, want: Box) -> np.ndarray:
    valid = np.ones(want.pixels(10), dtype=bool)
    for band, every in holes.items():
        gsd = BANDS[band].gsd
        hole = every[have.slices(want, gsd)]
        if hole.any():
            valid &= ~hole.repeat(gsd // 10, axis=0).repeat(gsd // 10, axis=1)
    return valid


def sharpen_block(
    data: Mapping[str, np.ndarray],
    have: Box,
    want: Box,
    sharpener: Sharpener,
    window: int = WINDOW,
) -> dict[str, np.ndarray]:
    """Sharpen the cells ``want`` of a block. Errors are those of :func:`prepare_block` and :func:`sharpen_prepared`.

    Parameters
    ----------
    data
        Band → float32 reflectance over ``have`` at its native resolution, with NaN as nodata; at least the bands that
        the sharpener reads.
    have
        The cells that ``data`` covers: ``want`` and :func:`context` cells around it.
    window
        Side of a window in cells. Another side changes values by rounding only.

    Returns
    -------
    dict
        Band → float32 (6h, 6w) over ``want``, NaN where a band that the sharpener reads has no data.
    """
    return sharpen_prepared(prepare_block(data, have, want, sharpener), sharpener, window)


@dataclass(frozen=True)
class Prepared:
    """A block that windows can be cut from.

    Attributes
    ----------
    filled
        GSD → float32 (bands, y, x) over ``have``, with filled gaps, in memory that the sharpener's device can read
        directly; empty if no pixel of the block is valid.
    known
        float32 (1, h, w) over ``have``: 1 in cells where all these bands have data, 0 in others. None: all have.
    valid
        bool (6h, 6w) over ``want``: True where every band that the sharpener reads has data.
    """

    have: Box
    want: Box
    filled: Mapping[int, np.ndarray]
    known: np.ndarray | None
    valid: np.ndarray


def prepare_block(
    data: Mapping[str, np.ndarray], have: Box, want: Box, sharpener: Sharpener
) -> Prepared:
    """Do the first half of :func:`sharpen_block`, which needs no network.

    Raises
    ------
    S2SharpError
        ``context-missing`` if ``have`` is too small.
    """
    if not have.contains(want.grow(context(sharpener))):
        raise S2SharpError(
            "context-missing",
            f"{sharpener.name} needs {context(sharpener)} cells around {want}, but the data end at {have}.",
            "Read the block with its context, with NaN beyond the end of an image.",
        )
    read = {band: data[band] for band in sharpener.reads}
    holes = holes_of(read)
    valid = _valid(holes, have, want)
    if not valid.any():
        return Prepared(have, want, {}, None, valid)
    whole, device = closed(read, holes, sharpener.halo), device_of(sharpener.device)
    filled = {}
    for gsd in GSDS:
        bands = [whole.pop(b) for b in BY_GSD[gsd] if b in read]
        filled[gsd] = device.memory((len(bands), *have.pixels(gsd)))
        if bands:
            np.stack(bands, out=filled[gsd])
        del bands
    return Prepared(have, want, filled, _known(holes), valid)


def _known(holes: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return where cells have data in every band: float32 (1, h, w); None where all have."""
    known: np.ndarray | None = None
    for band, hole in holes.items():
        if hole.any():
            whole = ~any_in_cells(hole, BANDS[band].gsd)
            known = whole if known is None else known & whole
    return None if known is None else known[None].astype(np.float32)


def sharpen_prepared(
    block: Prepared, sharpener: Sharpener, window: int = WINDOW, batch: int | None = None
) -> dict[str, np.ndarray]:
    """Do the second half of :func:`sharpen_block`: the windows. See :func:`begin_sharpening`."""
    shape = block.want.pixels(10)
    out = {band: np.empty(shape, dtype=np.float32) for band in sharpener.bands}
    begin_sharpening(block, sharpener, out, window, batch).wait()
    return out


@dataclass(frozen=True)
class Begun:
    """A block at work: its windows, their threads (None where they are done), and what is left to do after them."""

    finish: Callable[[], None]
    windows: Sequence[Future[None]] = ()
    pool: ThreadPoolExecutor | None = None

    def wait(self) -> None:
        """Wait for the result; raise the error of the first window that failed."""
        try:
            for window in self.windows:
                window.result()
            self.finish()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Leave out the windows that have not begun, and wait for the others."""
        for window in self.windows:
            window.cancel()
        wait(self.windows)


def begin_sharpening(
    block: Prepared,
    sharpener: Sharpener,
    into: Mapping[str, np.ndarray],
    window: int = WINDOW,
    batch: int | None = None,
    behind: Begun | None = None,
) -> Begun:
    """Begin to sharpen the windows of a block. :meth:`Begun.wait` waits until ``into`` holds the result.

    Parameters
    ----------
    into
        Band or layer → array over ``want``: float32 for reflectance, or int16 or uint16 for what a cube stores
        (:func:`~s2sharp_core.stored.as_stored`). Every pixel is written.
    batch
        Number of windows that the sharpener gets at once. None: one on a CPU. On a GPU, each batch costs a thousand
        starts whatever its size, so None means as many as its memory holds, at most 16.
    behind
        The block before, which may still be at work. Threads of a CPU turn to this block when they find no window of that
        one left to begin; more windows than there are threads are never at work.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a window that is not a multiple of the sharpener's period.
    """
    if window % sharpener.period or sharpener.halo % sharpener.period:
        raise S2SharpError(
            "bad-config",
            f"{sharpener.name} needs windows of a multiple of {sharpener.period} cells, not {window}.",
            "Choose another --window.",
        )
    want, valid = block.want, block.valid
    tiles = [t for t in want.tiles(window) if valid[want.slices(t & want, 10)].any()]
    size = batch or batch_of(sharpener)
    if size == 1:
        if sharpener.any_shape:
            tiles = [tile & want for tile in tiles]
        tiles = _joined(tiles, window, sharpener)
    while True:
        try:
            with torch.inference_mode(), device_of(sharpener.device).strip() as strip:
                return _begun(strip, block, sharpener, into, tiles, size, behind)
        except RuntimeError as error:
            if size == 1 or not _is_full(error):
                raise
            size = sharpener.batch = size // 2


def _is_full(error: RuntimeError) -> bool:
    """Return whether an error means that a GPU's memory was too small; torch and its libraries word this differently."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def _begun(
    strip: Strip,
    block: Prepared,
    sharpener: Sharpener,
    into: Mapping[str, np.ndarray],
    tiles: Sequence[Box],
    size: int,
    behind: Begun | None,
) -> Begun:
    have, want, valid, halo = block.have, block.want, block.valid, sharpener.halo
    kinds = {band: into[band].dtype for band in sharpener.bands}
    places = [
        into[band].view(np.int16 if kind.kind == "u" else kind) for band, kind in kinds.items()
    ]
    out = [strip.blank(x, no_data(kind)) for x, kind in zip(places, kinds.values(), strict=True)]
    read = [(gsd, strip.sent(x)) for gsd, x in _read(block, sharpener.device)] if tiles else []
    invalid = strip.sent(~valid)

    def sharpened(*inputs: torch.Tensor) -> list[torch.Tensor]:
        sharp = sharpener.sharpen_inner(*inputs)
        height, width = inputs[0].shape[2:]
        core = (..., slice(6 * halo, height - 6 * halo), slice(6 * halo, width - 6 * halo))
        return [as_stored(sharp[band][core], kind) for band, kind in kinds.items()]

    key: tuple[object, ...] | None = None
    if sharpener.device != "cpu" and sharpener.abreast:
        key = sharpener.digest, sharpener.arithmetic, *kinds.values()

    def several(some: Sequence[Box]) -> None:
        around = [tile.grow(halo) for tile in some]
        shapes = [(size, len(x), *around[0].pixels(gsd)) for gsd, x in read]
        with torch.inference_mode():
            one_pass = strip.one_pass(sharpened, shapes, key)
            for (gsd, x), windows in zip(read, one_pass.inputs, strict=True):
                _cut(x, have, around, gsd, windows)
            made = one_pass()
            for i, tile in enumerate(some):
                inner = tile & want
                place, part = want.slices(inner, 10), tile.slices(inner, 10)
                gaps = not valid[place].all()
                for x, pictures, kind in zip(out, made, kinds.values(), strict=True):
                    x[place].copy_(pictures[i][part])
                    if gaps:
                        x[place].masked_fill_(invalid[place], no_data(kind))

    windows: list[Future[None]] = []
    pool = None
    if sharpener.device == "cpu" and sharpener.abreast and size == 1:
        pool = _threads(sharpener, len(tiles))
        if behind is not None and behind.pool is not pool:
            wait(behind.windows)
        windows = [pool.submit(several, [tile]) for tile in tiles]
    else:
        for i in range(0, len(tiles), size):
            several(tiles[i : i + size])
    return Begun(strip.returned(out, places), windows, pool)


def _read(block: Prepared, device: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the resolution and the values of what a pass reads of a block."""
    for gsd in GSDS:
        yield gsd, block.filled[gsd]
    if block.known is not None:
        yield CELL, block.known
    elif device != "cpu":
        # So that there is one kind of pass; where all cells have data, no bit depends on this.
        yield CELL, np.ones((1, *block.have.shape), dtype=np.float32)


def _cut(y: torch.Tensor, have: Box, around: Sequence[Box], gsd: int, into: torch.Tensor) -> None:
    """Cut windows out of ``y`` (bands, y, x) over ``have``: (size, bands, y, x), 0 beyond it and beyond the last window.

    All batches have one shape, because torch may sum another shape in another order.
    """
    for window, box in zip(into, around, strict=False):
        inner = have & box
        if inner != box:
            window.zero_()
        window[:, *box.slices(inner, gsd)].copy_(y[:, *have.slices(inner, gsd)])
    into[len(around) :].zero_()


def _joined(tiles: list[Box], window: int, sharpener: Sharpener) -> list[Box]:
    """Join neighbouring windows where all are there, unless a thread would then have nothing to do."""
    threads = torch.get_num_threads()
    together: defaultdict[tuple[int, int], list[Box]] = defaultdict(list)
    for tile in tiles:
        together[tile.row0 // (JOINED * window), tile.col0 // (JOINED * window)].append(tile)
    joined = []
    for some in together.values():
        whole = some[0] | some[-1]
        full = len(some) == JOINED**2 or sharpener.any_shape
        filled = sum(prod(tile.shape) for tile in some) == prod(whole.shape)
        joined += [whole] if full and filled else some
    # As many as `calibrate` measures the memory of; fewer would leave a thread waiting for another.
    enough = len(tiles) >= threads * JOINED**2 and len(joined) < len(tiles)
    return joined if enough and threads <= ABREAST and sharpener.joins(window) else tiles


def _threads(sharpener: Sharpener, windows: int) -> ThreadPoolExecutor:
    """Return the threads for so many windows of a block, as many at once as a CPU has threads."""
    abreast, each = side_by_side(sharpener, windows, torch.get_num_threads())
    # The number of threads does not depend on the windows, so that threads are kept if a strip has few.
    count = abreast if each > 1 else torch.get_num_threads()
    return threads_for("windows", count, compute_with, each)


def batch_of(sharpener: Sharpener) -> int:
    """Return the number of windows that a sharpener gets at once."""
    return sharpener.batch if sharpener.device != "cpu" and sharpener.abreast else 1


def side_by_side(sharpener: Sharpener, windows: int, threads: int) -> tuple[int, int]:
    """Return the number of windows that run at once, at most ``windows``, and the threads of each.

    Whole windows side by side need no synchronisation. The threads of one window wait for each other after each of
    its thousand small steps.
    """
    if sharpener.device != "cpu" or not sharpener.abreast:
        return 1, threads
    abreast = max(1, min(threads, windows))
    return abreast, max(1, threads // abreast)
