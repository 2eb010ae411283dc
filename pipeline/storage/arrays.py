"""Zarr arrays in a folder or an object store."""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from .digests import ABSENT, Digest
from .files import version, write_all
from .location import Location, on_this_machine

if TYPE_CHECKING:
    from zarr.core.chunk_key_encodings import ChunkKeyEncodingLike
    from zarr.storage import StoreLike


def in_memory(lay_out: Callable[[zarr.Group], None]) -> dict[str, bytes]:
    """Lay arrays out in memory by a function of their root group: file name → content."""
    draft: dict[str, Buffer] = {}
    lay_out(zarr.open_group(MemoryStore(draft), mode="w", zarr_format=3))
    return {name: data.to_bytes() for name, data in draft.items()}


def put_arrays(draft: Mapping[str, bytes], store: Location) -> None:
    """Write arrays that were laid out in memory. The root's metadata come last, so their existence means that all is
    written.

    A killed layout is repeated.
    """
    write_all(store, draft, last=["zarr.json"])


def write_array(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    facts: dict[str, Any],
    keys: "ChunkKeyEncodingLike | None" = None,
) -> None:
    """Write a small array of a group, such as a coordinate, whole; write it again if it has become longer.

    ``keys``: the encoding of its chunks' names, if it is not Zarr's default.
    """
    if name in group:
        array = resize(group[name], values.shape, facts)
    else:
        array = group.create_array(
            name,
            shape=values.shape,
            # Later values go into chunks of their own, so readers can keep the chunks that they have.
            chunks=tuple(_COORDINATE for _ in dims),
            dtype=values.dtype,
            chunk_key_encoding=keys,
            dimension_names=dims,
            attributes=facts,
        )
    array[...] = values


# Values of a coordinate in one chunk.
_COORDINATE = 4096


def resize(
    there: "zarr.Array[Any] | zarr.Group", shape: tuple[int, ...], facts: dict[str, Any]
) -> "zarr.Array[Any]":
    """Resize an array, which keeps its content."""
    assert isinstance(there, zarr.Array)  # noqa: S101  (of this name there are no groups)
    if there.shape != shape:
        there.resize(shape)
    there.attrs.update(facts)
    return there


def arrays_of(
    store: Location, name: str = "", mode: Literal["r", "r+"] = "r"
) -> "dict[str, zarr.Array[Any]]":
    """Return the arrays of a group as they are now: consolidated metadata lack what a run has added since.

    They are opened once a process, and again when the group's metadata have been written anew.
    """
    return _arrays_of(store, name, mode, version((store / name if name else store) / "zarr.json"))


@lru_cache(maxsize=32)
def _arrays_of(
    store: Location,
    name: str,
    mode: Literal["r", "r+"],
    written: str,  # noqa: ARG001  (part of the cache's key)
) -> "dict[str, zarr.Array[Any]]":
    group = zarr.open_group(zarr_store(store), path=name, mode=mode, use_consolidated=False)
    return dict(group.arrays())


def zarr_store(folder: Location) -> "StoreLike":
    """Return ``folder`` in the form for zarr and xarray."""
    if on_this_machine(folder):
        return folder
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(str(folder), storage_options=dict(folder.storage_options))


class DigestStore(WrapperStore[Store]):
    """A zarr store that keeps the digests of written objects until they are taken."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._written: dict[str, Digest] = {}

    async def set(self, key: str, value: Buffer) -> None:
        data = value.to_bytes()
        await super().set(key, value)
        self._written[key] = Digest(len(data), hashlib.sha256(data).hexdigest())

    def take(self, key: str) -> Digest:
        """Return the digest of the last write under ``key``, once; :data:`ABSENT` without a write."""
        return self._written.pop(key, ABSENT)


def digest_store(folder: Location) -> DigestStore:
    """Open a folder or a place in an object store for writing."""
    if on_this_machine(folder):
        return DigestStore(LocalStore(folder))
    store = zarr_store(folder)
    assert isinstance(store, Store)  # noqa: S101  (only a folder of this machine is a path)
    return DigestStore(store)
