"""Shards of a cube, written whole and read back."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from s2sharp_core import S2SharpError

from ..storage.arrays import zarr_store
from ..storage.files import version
from ..storage.location import Location
from .layout import Sharded, level_group

__all__ = ["read_part", "write_shard"]


def _opened(store: Location, name: str) -> "dict[str, zarr.Array[Any]]":
    """The arrays of one group, opened once a process: a region write through xarray reopens them all."""
    return _open(store, name, version(store / name / "zarr.json"))


@lru_cache(maxsize=8)
def _open(store: Location, name: str, written: str) -> "dict[str, zarr.Array[Any]]":  # noqa: ARG001
    # As it is, not as it was consolidated for readers.
    group = zarr.open_group(zarr_store(store), path=name, mode="r+", use_consolidated=False)
    return {key: array for key, array in group.arrays() if array.ndim == 3}


def write_shard(
    store: Location,
    layout: Sharded,
    time: int,
    row: int,
    col: int,
    data: Mapping[str, np.ndarray],
    level: int = 0,
) -> None:
    """Write one shard of every variable, whole.

    Raises
    ------
    S2SharpError
        ``partial-shard`` when an array is not exactly the shard: a part of one would race with others.
    """
    arrays = _opened(store, level_group(layout, level))
    rows, cols = layout.place(row, col, level)
    expected = (rows.stop - rows.start, cols.stop - cols.start)
    wrong = {name: x.shape for name, x in data.items() if x.shape != expected}
    if wrong or set(data) != set(arrays):
        raise S2SharpError(
            "partial-shard",
            f"Shard ({row}, {col}) of {layout.group} takes arrays of {expected} for {sorted(arrays)}, not "
            f"{wrong or sorted(data)}.",
            "Units must be whole shards.",
        )
    for name, x in data.items():
        arrays[name][time, rows, cols] = x


def read_part(
    store: Location, layout: Sharded, name: str, time: int, place: tuple[slice, slice], level: int
) -> np.ndarray:
    """A part of one variable of one level, as stored."""
    return np.asarray(_opened(store, level_group(layout, level))[name][time, place[0], place[1]])
