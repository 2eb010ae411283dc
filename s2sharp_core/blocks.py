"""Blocks of a scene through a sharpener, window by window on the lattice.

Law: the same place gives the same values, whatever the area, the tiles, the chunks or the order. So windows have one
shape and lie on the lattice, and each window includes the halo that the sharpener needs. Where a method gives the same
bits in another shape, neighbours are sharpened as one, which saves halos, and windows end with the area. Gaps are filled from a
limited neighbourhood, so a filled pixel depends on a limited area, too. A block is read with :func:`context` cells
around it, and nothing beyond them matters.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch

from .bands import BANDS, BY_GSD, CELL, GSDS
from .errors import S2SharpError
from .gaps import closed, holes_of
from .lattice import Box, any_in_cells
from .sharpeners.base import Sharpener
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
        GSD → float32 (bands, y, x) over ``have``, with filled gaps; empty if no pixel of the block is valid.
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
    whole = closed(read, holes, sharpener.halo)
    filled = {
        gsd: np.stack([whole.pop(b) for b in BY_GSD[gsd] if b in read])
        if any(b in read for b in BY_GSD[gsd])
        else np.zeros((0, *have.pixels(gsd)), dtype=np.float32)
        for gsd in GSDS
    }
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
    """Do the second half of :func:`sharpen_block`: the windows.

    Parameters
    ----------
    batch
        Number of windows that the sharpener gets at once. None: one on a CPU. On a GPU, each batch costs a thousand
        starts whatever its size, so None means as many as its memory holds, at most 16.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a window that is not a multiple of the sharpener's period.
    """
    return begin_windows(block, sharpener, window, batch).result()


@dataclass(frozen=True)
class Begun:
    """Windows of a block that are at work, or wait for those of the block before.

    ``out``: band → what the windows write into; ``pool``: their threads, None if all was done at once.
    """

    out: dict[str, np.ndarray]
    pool: ThreadPoolExecutor | None = None
    windows: Sequence[Future[None]] = ()

    def result(self) -> dict[str, np.ndarray]:
        """Wait for the windows; raise the error of the first one that has failed."""
        try:
            for window in self.windows:
                window.result()
        finally:
            self.cancel()
        return self.out

    def cancel(self) -> None:
        """Leave out the windows that have not begun, and wait for the others."""
        for window in self.windows:
            window.cancel()
        wait(self.windows)


def begin_windows(
    block: Prepared,
    sharpener: Sharpener,
    window: int = WINDOW,
    batch: int | None = None,
    *,
    stored: Callable[[str, np.ndarray], np.ndarray] = lambda _, picture: picture,
    behind: Begun | None = None,
) -> Begun:
    """Begin :func:`sharpen_prepared`, for whose result :meth:`Begun.result` waits.

    Parameters
    ----------
    stored
        Function (band, float32) → what is kept of it, each pixel by itself; NaN is given where no data are.
    behind
        The block before. Threads turn to this block when they find no window of that one left to begin; more windows
        than there are threads are never at work.
    """
    if window % sharpener.period or sharpener.halo % sharpener.period:
        raise S2SharpError(
            "bad-config",
            f"{sharpener.name} needs windows of a multiple of {sharpener.period} cells, not {window}.",
            "Choose another --window.",
        )
    want, valid = block.want, block.valid
    empty = np.full(1, np.nan, dtype=np.float32)
    blank = {band: stored(band, empty) for band in sharpener.bands}
    out = {band: np.full(want.pixels(10), x[0], dtype=x.dtype) for band, x in blank.items()}
    tiles = [t for t in want.tiles(window) if valid[want.slices(t & want, 10)].any()]

    def several(some: Sequence[Box], size: int) -> None:
        cut = partial(_batch, block.have, some, sharpener.halo, size=size)
        cuts = [cut(block.filled[gsd], gsd) for gsd in GSDS]
        if block.known is not None:
            cuts.append(cut(block.known, CELL))
        with torch.inference_mode():
            sharp = sharpener.sharpen_inner(*(_sent(x, sharpener.device) for x in cuts))
        core = some[0].grow(sharpener.halo).slices(some[0], 10)
        for band, x in sharp.items():
            for tile, picture in zip(some, x[:, *core].cpu().numpy(), strict=False):
                inner = tile & want
                place = want.slices(inner, 10)
                kept = stored(band, picture[tile.slices(inner, 10)])
                np.copyto(out[band][place], kept, where=valid[place])

    size = batch or batch_of(sharpener)
    if size == 1:
        if sharpener.any_shape:
            tiles = [tile & want for tile in tiles]
        tiles = _joined(tiles, window, sharpener)
    if sharpener.device == "cpu" and sharpener.abreast and size == 1:
        pool = _threads(sharpener, len(tiles))
        if behind is not None and behind.pool is not pool:
            wait(behind.windows)
        return Begun(out, pool, [pool.submit(several, [tile], 1) for tile in tiles])
    while True:
        try:
            for i in range(0, len(tiles), size):
                several(tiles[i : i + size], size)
            return Begun(out)
        except RuntimeError as error:
            if size == 1 or not _full(error):
                raise
            size = sharpener.batch = size // 2


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


def _full(error: RuntimeError) -> bool:
    """Return whether an error means that a GPU's memory was too small; torch and its libraries word this
    differently.
    """
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def _threads(sharpener: Sharpener, windows: int) -> ThreadPoolExecutor:
    """Return the threads for so many windows of a block, as many at once as a CPU has threads."""
    abreast, each = side_by_side(sharpener, windows, torch.get_num_threads())
    # The number of threads does not depend on the windows, so that threads are kept if a strip has few.
    count = abreast if each > 1 else torch.get_num_threads()
    return threads_for("windows", count, compute_with, each)


def batch_of(sharpener: Sharpener) -> int:
    """Return the number of windows that a sharpener gets at once."""
    return sharpener.batch if sharpener.device != "cpu" and sharpener.abreast else 1


def _batch(
    have: Box, tiles: Sequence[Box], halo: int, y: np.ndarray, gsd: int, size: int
) -> np.ndarray:
    """Cut windows out of ``y`` (bands, y, x) over ``have``: (size, bands, y, x), 0 beyond the last window.

    All batches have one shape, because torch may sum another shape in another order.
    """
    around = [tile.grow(halo) for tile in tiles]
    out = np.zeros((size, y.shape[0], *around[0].pixels(gsd)), dtype=np.float32)
    for cut, box in zip(out, around, strict=False):
        inner = have & box
        cut[(slice(None), *box.slices(inner, gsd))] = y[(slice(None), *have.slices(inner, gsd))]
    return out


def _sent(x: np.ndarray, device: str) -> torch.Tensor:
    """Send an array to a device; for a GPU, from memory that it can read directly."""
    batch = torch.from_numpy(x)
    return batch if device == "cpu" else batch.pin_memory().to(device, non_blocking=True)


def side_by_side(sharpener: Sharpener, windows: int, threads: int) -> tuple[int, int]:
    """Return the number of windows that run at once, at most ``windows``, and the threads of each.

    Whole windows side by side need no synchronisation. The threads of one window wait for each other after each of
    its thousand small steps.
    """
    if sharpener.device != "cpu" or not sharpener.abreast:
        return 1, threads
    abreast = max(1, min(threads, windows))
    return abreast, max(1, threads // abreast)
