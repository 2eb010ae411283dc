"""Growth of a cube to the north or west: shards get second names, and one write switches to them.

Readers that opened the cube before keep the first names, which are unchanged. The second names follow another
encoding of chunk keys (:mod:`~s2sharp.cube.keys`).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import zarr

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CELL
from s2sharp_core.lattice import Lattice

from ..storage.files import AT_ONCE, files, link
from ..storage.location import Location
from .keys import KEYS, chunk_index, chunk_key, moves_of
from .layout import Layout


def moved(root: zarr.Group, layouts: Sequence[Layout]) -> list[Layout]:
    """Return the layouts whose groups exist in ``root`` with another corner; ``cannot-extend`` after the most moves."""
    found = []
    for layout in layouts:
        if layout.group in root and _corner(root, layout) != (layout.box.row0, layout.box.col0):
            if layout.moves >= KEYS:
                raise S2SharpError(
                    "cannot-extend",
                    f"The cube's EPSG:{layout.epsg} has grown to the north or west {KEYS - 1} times, the most possible.",
                    "Choose another --out, and --extent: the largest area that the cube may ever have.",
                )
            found.append(layout)
    return found


def _corner(root: zarr.Group, layout: Layout) -> tuple[int, int]:
    """Return row and column of a group's first cell today."""
    _, _, left, _, _, top = cast("list[float]", root[layout.group].attrs["spatial:transform"])
    first = Lattice.of(layout.epsg).around((left, top - CELL, left + CELL, top))
    return first.row0, first.col0


def renamed(store: Location, root: zarr.Group, layout: Layout) -> None:
    """Give each shard of the full resolution the name that it has in ``layout``. The call can be repeated.

    Overviews are left out: their pixels do not align with those of the new layout.
    """
    row0, col0 = _corner(root, layout)
    down = (row0 - layout.box.row0) // layout.shard
    right = (col0 - layout.box.col0) // layout.shard

    def pairs(group: str, variable: str) -> Iterator[tuple[Location, Location]]:
        folder = store / group / variable
        about = cast("zarr.Array[Any]", root[f"{group}/{variable}"]).metadata.to_dict()
        moves = moves_of(about) or 0
        for name in files(folder):
            index = chunk_index(moves, name)
            if index is not None:
                time, row, col = index
                yield folder / name, folder / chunk_key(layout.moves, time, row + down, col + right)

    arrays = [(layout.group, name) for name in (*layout.bands, *layout.layers)]
    if layout.native is not None:
        arrays += [(layout.native.group, band) for band in layout.native.bands]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for array in arrays:
            list(pool.map(lambda pair: link(*pair), pairs(*array)))
