"""Shards of a cube, written whole and read back."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from s2sharp_core import S2SharpError

from ..storage.arrays import DigestStore, digest_store
from ..storage.digests import Digest, settle
from ..storage.files import clear_place, remove, version
from ..storage.location import Location
from .layout import Sharded, level_group, shard_file

_Opened = tuple[DigestStore, "dict[str, zarr.Array[Any]]"]


def _opened(store: Location, name: str) -> _Opened:
    """Open the arrays of one group once per process; a region write through xarray would reopen them all."""
    return _open(store, name, version(store / name / "zarr.json"))


@lru_cache(maxsize=8)
def _open(store: Location, name: str, written: str) -> _Opened:  # noqa: ARG001
    opened = digest_store(store)
    # Consolidated metadata are for readers, and may be old.
    group = zarr.open_group(opened, path=name, mode="r+", use_consolidated=False)
    return opened, {key: array for key, array in group.arrays() if array.ndim == 3}


def write_shard(
    store: Location,
    layout: Sharded,
    time: int,
    row: int,
    col: int,
    data: Mapping[str, np.ndarray],
    level: int = 0,
) -> dict[str, Digest]:
    """Write one shard of every variable, whole; return the size and digest of each one's file.

    On a disk, these files are synced against a loss of power.

    Error: ``partial-shard`` when an array is not exactly the shard: writers of parts would race.
    """
    group = level_group(layout, level)
    opened, arrays = _opened(store, group)
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
    written = {}
    for name, x in data.items():
        file = shard_file(layout, name, time, row, col, level)
        clear_place(store / file)
        try:
            arrays[name][time, rows, cols] = x
        except (ValueError, RuntimeError):  # zarr reads the old shard first, which is broken
            remove(store / file)
            arrays[name][time, rows, cols] = x
        settle(store / file)
        written[name] = opened.take(file)
    return written


def read_part(
    store: Location, layout: Sharded, name: str, time: int, place: tuple[slice, slice], level: int
) -> np.ndarray:
    """Return a part of one variable of one level, as stored; ``shard-broken`` if it cannot be unpacked."""
    _, arrays = _opened(store, level_group(layout, level))
    try:
        return np.asarray(arrays[name][time, place[0], place[1]])
    except (ValueError, RuntimeError) as error:  # a checksum, or a stream that cannot be unpacked
        raise S2SharpError(
            "shard-broken",
            f"A shard of {name} in {store / level_group(layout, level)} is broken: {error}.",
            "Find all broken shards with `s2sharp verify OUT`, then run again, which makes them anew.",
        ) from error
