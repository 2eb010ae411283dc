"""Cost of a mosaic, before any pixel moves; and the parts into which its tiles are cut to fit."""

import math
from dataclasses import dataclass

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .config import BLOCK
from .plan import MosaicPlan

__all__ = ["Estimate", "estimate", "memory", "parts"]

# Seconds: for a million values read, resampled or composed, and for a tile; orders of magnitude.
_READ, _WARP, _PAIR, _TILE = 0.015, 0.12, 0.03, 0.5
# int16 reflectance under blosc-zstd with shuffle.
_COMPRESSION = 1.6
# Code and buffers that a process takes up with its first tile, whatever its size; what allocators hold back.
_PROCESS = 60e6
_SLACK = 1.1


@dataclass(frozen=True)
class Estimate:
    """Cost of a plan.

    ``tiles``, ``todo``: all of the full resolution, and those that the ledger does not have; ``read``:
    bytes of pixels, uncompressed; ``output``: bytes of the store with its overviews, and ``delivered`` with
    the COGs; ``memory``: bytes of a worker beyond its idle size; ``most``: datatakes that show in a tile;
    ``seconds`` on ``workers``.
    """

    tiles: int
    todo: int
    read: float
    output: float
    delivered: float
    memory: float
    most: int
    seconds: float
    workers: int


def estimate(plan: MosaicPlan) -> Estimate:
    """Count what there is to do.

    Raises
    ------
    S2SharpError
        ``memory-exceeded`` when not even one block of a tile fits into what a worker may take up.
    """
    states = plan.ledger.states()
    tiles = todo = most = 0
    read = stored = seconds = need = 0.0
    for tile in plan.tiles():
        tiles += 1
        takes = len(plan.takes(tile))
        pixels = math.prod((plan.box(tile) & plan.area).shape)
        stored += pixels * (2 * len(plan.bands) + 3) * (takes > 0)
        most = max(most, takes)
        if states.done(plan.name(tile), plan.key(tile)) or not takes:
            continue
        todo += 1
        inner = (plan.box(tile) & plan.area).snap(BLOCK)
        need = max(need, memory(plan, parts(plan, inner, takes)[0], takes))
        values = _values(plan, pixels, takes)
        read += 2 * values * plan.scale**2
        seconds += 1e-6 * values * (_READ * plan.scale**2 + _WARP) + _TILE
        if plan.config.by != "best":
            seconds += 1e-6 * values * _PAIR * (takes if plan.config.by == "medoid" else 1)
    workers = plan.config.workers or 1
    output = 1.33 * stored / _COMPRESSION
    return Estimate(
        tiles=tiles,
        todo=todo,
        read=read,
        output=output,
        delivered=output + (stored / _COMPRESSION * 1.33 if plan.config.publish else 0),
        memory=need,
        most=most,
        seconds=seconds / workers,
        workers=workers,
    )


def _values(plan: MosaicPlan, pixels: int, takes: int) -> float:
    """Values of two bytes that are read for a tile: the layers of all, the bands of those that show."""
    shown = takes if plan.config.by != "best" else min(takes, 2)
    return float(pixels * (takes + shown * len(plan.bands)))


def memory(plan: MosaicPlan, part: Box, takes: int) -> float:
    """Bytes that a worker takes up for one part of a tile, and for the tile that it belongs to."""
    bands, side = len(plan.bands), plan.side
    tile = (side**2) * (2 * bands + 3)
    ring = -(-plan.ring // BLOCK) * BLOCK
    around = math.prod(part.grow(ring).shape)
    pixels = math.prod(part.shape)
    # Memory of the cube: two layers with what is around them, and the distances of scipy (float64, and the index
    # of the nearest pixel along both axes); then the bands, once as they are read and once stacked.
    height, width = (plan.scale * n for n in part.grow(ring).shape)
    margin = 2 * plan.reach
    layers = (height + margin) * (width + margin) * 40
    kernel = 2 * (4 * plan.scale + 4)
    inner = (part.shape[0] * plan.scale + kernel) * (part.shape[1] * plan.scale + kernel)
    read = inner * 2 * (2 * bands + 2)
    # Where blocks lie on the cube: two int32 and what they are made from.
    places = around * 9 + BLOCK**2 * 64
    warped = pixels * 2 * bands * 2
    held = places + around * 8
    if plan.config.by == "best":
        work = max(layers, read + warped)
        if plan.ring:
            work += pixels * 8 * (bands + 4) * 2
    else:
        stack = takes * pixels * (2 * bands + 2)
        held += stack
        compose = takes * pixels * (8 * 3 if plan.config.by == "medoid" else 2 * 4)
        work = max(layers, read + warped, compose)
    write = 3 * 2 * side**2
    return float(_SLACK * (tile + max(held + work, write)) + _PROCESS)


def parts(plan: MosaicPlan, box: Box, takes: int) -> list[Box]:
    """Some blocks of a tile in parts, each as many in a row as fit into the memory of a worker.

    Raises
    ------
    S2SharpError
        ``memory-exceeded``.
    """
    allowed = plan.config.memory * 1e9
    width = box.shape[1]
    while width >= BLOCK:
        first = Box(box.row0, box.row0 + BLOCK, box.col0, box.col0 + width)
        if memory(plan, first, takes) <= allowed:
            return [
                Box(row, row + BLOCK, col, min(col + width, box.col1))
                for row in range(box.row0, box.row1, BLOCK)
                for col in range(box.col0, box.col1, width)
            ]
        width -= BLOCK
    smallest = memory(plan, Box(0, BLOCK, 0, BLOCK), takes)
    raise S2SharpError(
        "memory-exceeded",
        f"A block of {BLOCK} pixels with {takes} datatakes needs {smallest / 1e9:.2f} GB, more than the "
        f"{plan.config.memory:g} GB that a worker may take up.",
        "Raise --memory, or choose a smaller --tile, a shorter --period, fewer --bands or --by best.",
    )
