"""A cube that grows to the north or west: everything in it moves, and nothing is written anew."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import zarr

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CELL
from s2sharp_core.lattice import Lattice

from ..storage.arrays import zarr_store
from ..storage.location import Location
from .create import lay_out
from .layout import Layout

__all__ = ["move", "recover"]


def corners(store: Location) -> dict[int, tuple[int, int]]:
    """Where the arrays of a cube begin: EPSG code → row and column of its first cell."""
    found = {}
    for name, group in zarr.open_group(zarr_store(store), mode="r").groups():
        _, _, left, _, _, top = cast("list[float]", group.attrs["spatial:transform"])
        first = Lattice.of(int(name)).around((left, top - CELL, left + CELL, top))
        found[int(name)] = (first.row0, first.col0)
    return found


def move(
    store: Location, layouts: Sequence[Layout], facts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Where arrays of ``layouts`` begin farther north or west than those of the cube: a larger cube is laid out beside
    it, its shards are linked into it, and it takes its place.

    The overviews are left out: their pixels straddle others there. Killed at any moment, it is repeated whole;
    a reader sees the one cube or the other.

    Parameters
    ----------
    facts
        As for :func:`~s2sharp.cube.open.lay_out`.

    Raises
    ------
    S2SharpError
        ``cannot-extend`` where the store has no links: an object store.
    """
    there = corners(store)
    new = {layout.epsg: layout for layout in layouts}
    if all(corner == (new[e].box.row0, new[e].box.col0) for e, corner in there.items()):
        return
    if not isinstance(store, Path):
        raise S2SharpError(
            "cannot-extend",
            f"The cube {store} would have to grow to the north or west, which moves all that it holds, and an object "
            "store cannot move things at once.",
            "Begin such a cube with --extent, the largest area it may ever have, or choose another --out.",
        )
    grown = store.with_name(f".{store.name}.grown")
    shutil.rmtree(grown, ignore_errors=True)
    lay_out(grown, layouts, facts)
    for epsg, (row0, col0) in there.items():
        group, into = str(epsg), new[epsg]
        down, right = (row0 - into.box.row0) // into.shard, (col0 - into.box.col0) // into.shard
        natives = () if into.native is None else (store / into.native.group).glob("*/c/*/*/*")
        for shard in (*(store / group).glob("*/c/*/*/*"), *natives):
            *name, _, time, row, col = shard.relative_to(store / group).parts
            target = grown.joinpath(group, *name, "c", time)
            target = target / str(int(row) + down) / str(int(col) + right)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(shard, target)
    old = store.with_name(f".{store.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    store.rename(old)
    grown.rename(store)
    shutil.rmtree(old)


def recover(store: Location) -> None:
    """Put back the cube of a :func:`move` that was killed between its two last steps."""
    old = store.with_name(f".{store.name}.old")
    if isinstance(store, Path) and not store.exists() and old.exists():
        old.rename(store)
