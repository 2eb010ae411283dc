"""Cost of a mosaic, before any pixel is read; and the parts of tiles that fit into memory."""

import math
from dataclasses import dataclass

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from ..engine.cost import Cost
from ..engine.resources import workers_of
from .config import BLOCK
from .plan import MosaicPlan

# Seconds per million values read, resampled or composed, and per tile; orders of magnitude.
_READ, _WARP, _PAIR, _TILE = 0.015, 0.12, 0.03, 0.5
# int16 reflectance under blosc-zstd with shuffle.
_COMPRESSION = 1.6
# Bytes of code and buffers that the first tile of a process takes, whatever its size; share held back by allocators.
_PROCESS = 60e6
_SLACK = 1.1


@dataclass(frozen=True, kw_only=True)
class Estimate(Cost):
    """Cost of a mosaic, whose units are tiles; ``most``: most datatakes in a tile."""

    most: int


def estimate(plan: MosaicPlan) -> Estimate:
    """Estimate the cost of the tiles to do; ``memory-exceeded`` if not even one block of a tile fits into a worker."""
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
    workers = workers_of(plan.config)
    output = 1.33 * stored / _COMPRESSION
    return Estimate(
        units=tiles,
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
    """Return the number of 2-byte values read for a tile: layers of all datatakes, bands of those that show."""
    shown = takes if plan.config.by != "best" else min(takes, 2)
    return float(pixels * (takes + shown * len(plan.bands)))


def memory(plan: MosaicPlan, part: Box, takes: int) -> float:
    """Return the bytes that a worker takes for a tile and one part of it."""
    bands, side = len(plan.bands), plan.side
    tile = (side**2) * (2 * bands + 3)
    ring = -(-plan.ring // BLOCK) * BLOCK
    around = math.prod(part.grow(ring).shape)
    pixels = math.prod(part.shape)
    # Arrays of the cube: two layers with their surroundings, and scipy's distances (float64, and the index of the
    # nearest pixel along both axes); then the bands, once as read and once stacked.
    height, width = (plan.scale * n for n in part.grow(ring).shape)
    margin = 2 * plan.reach
    layers = (height + margin) * (width + margin) * 40
    kernel = 2 * (4 * plan.scale + 4)
    inner = (part.shape[0] * plan.scale + kernel) * (part.shape[1] * plan.scale + kernel)
    read = inner * 2 * (2 * bands + 2)
    # Locations of blocks in the cube: two int32 and their float64 sources.
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
    """Cut a tile into parts, rows of as many blocks as fit into the memory of a worker; else ``memory-exceeded``."""
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
        f"{plan.config.memory:g} GB that a worker may take.",
        "Raise --memory, or choose a smaller --tile, a shorter --period, fewer --bands or --by best.",
    )
