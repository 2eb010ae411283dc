"""Cubes of odd sizes that hold odd numbers: what lies where is known of each pixel."""

from pathlib import Path
from typing import Any

import numpy as np
from s2sharp.cube.create import finish, lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout
from s2sharp.cube.overviews import _halve
from s2sharp.cube.write import read_part, write_shard

from s2sharp_core.lattice import Box

BANDS = ("B02", "B05")
NORTH, SOUTH = 32633, 32733
# Neither a whole number of shards nor of overview pixels, and not in order of time.
AREA = Box(47_670, 47_689, 12_005, 12_018)
TIMES = ("2024-06-11T10:10:31", "2024-06-01T10:10:31", "2024-06-06T10:10:31")
SMALL = {"area": Box(47_670, 47_678, 12_005, 12_012), "times": TIMES[:1]}


def layout_of(epsg: int = NORTH, area: Box = AREA, **more: Any) -> Layout:
    about = {"shard": 8, "chunk": 24, "times": TIMES, "bands": BANDS}
    return Layout(epsg, area, **{**about, **more})


def world(name: str, cells: Box, time: str) -> np.ndarray:
    """What the cube holds at a place and time, whatever its shape: odd numbers, gaps among them."""
    rows = np.arange(cells.row0 * 6, cells.row1 * 6)[:, None]
    cols = np.arange(cells.col0 * 6, cells.col1 * 6)[None, :]
    mixed = (rows * 7_919 + cols * 104_729 + (rows * cols) % 9_973 + 31 * int(time[8:10])) % 45_007
    if name in LAYERS:
        return (mixed % 2).astype(LAYERS[name][0])
    dn = mixed - (9_000 if name == "B02" else 12_000)
    return np.where(mixed % 7 == 0, FILL, dn).astype(np.int16)


def shard_data(layout: Layout, time: int, row: int, col: int) -> dict[str, np.ndarray]:
    cells, when = layout.cells(row, col), layout.times[time]
    return {name: world(name, cells, when) for name in (*layout.bands, *LAYERS)}


def every_shard(layout: Layout, level: int = 0) -> list[tuple[int, int, int]]:
    rows, cols = layout.shards(level)
    return [(t, r, c) for t in range(len(layout.times)) for r in range(rows) for c in range(cols)]


def make(out: Path, *layouts: Layout, overviews: bool = False) -> Path:
    store = out / "cube.zarr"
    lay_out(store, layouts, {layout.group: {"method": "none"} for layout in layouts})
    for layout in layouts:
        for time, row, col in every_shard(layout):
            write_shard(store, layout, time, row, col, shard_data(layout, time, row, col))
        for level in range(1, layout.levels + 1) if overviews else ():
            for time, row, col in every_shard(layout, level):
                data = halved(store, layout, time, row, col, level)
                write_shard(store, layout, time, row, col, data, level)
    finish(store, "complete")
    return store


def halved(store: Path, layout: Layout, time: int, row: int, col: int, level: int) -> dict:
    """As a unit of an overview does it: the shard's pixels from those of the level below."""
    below = [
        slice(2 * s.start, min(2 * s.stop, n))
        for s, n in zip(layout.place(row, col, level), layout.shape(level - 1), strict=True)
    ]
    fine = read_all(store, layout, time, below[0], below[1], level - 1)
    return {name: _halve(name, x) for name, x in fine.items()}


def read_all(store, layout, time, rows, cols, level):
    names = (*layout.bands, *LAYERS)
    return {n: read_part(store, layout, n, time, (rows, cols), level) for n in names}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
