"""Size limits for chunks in the Zarr of an archive, as their metadata state and as their bytes unpack.

A chunk is unpacked whole, even if only a part is needed, and a few bytes can claim to hold a gigabyte.
"""

import math
import zlib
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from ..storage.location import on_this_machine
from .faults import BrokenError

MAX_BLOCK = 1 << 27
"""Largest block of a file in bytes, unpacked: 8192 × 8192 DN. Archives' blocks have at most 1830 × 1830."""

_ZSTD = b"\x28\xb5\x2f\xfd"


def check_chunks(array: "zarr.Array[Any]", name: str) -> None:
    """Raise :class:`BrokenError` if a chunk of an array, or the index of a shard, is too large."""
    chunks, shards = array.chunks, array.shards
    size = math.prod(chunks) * array.dtype.itemsize
    if size > MAX_BLOCK:
        pixels = " × ".join(map(str, chunks))
        raise BrokenError(f"has {name} in chunks of {pixels} px, more than {MAX_BLOCK >> 20} MB")
    if shards is not None and 16 * math.prod(shards) / max(1, math.prod(chunks)) > MAX_BLOCK:
        raise BrokenError(f"has {name} in shards of too many chunks")


def bounded(store: Any) -> "BoundedStore":
    """Return a store, or the path of a folder, as a store with size limits."""
    return BoundedStore(
        LocalStore(store, read_only=True) if isinstance(store, Path | str) else store
    )


class BoundedStore(WrapperStore[Store]):
    """A store that refuses objects which unpack to more than :data:`MAX_BLOCK` bytes."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        folder = getattr(self._store, "root", None)
        if on_this_machine(folder) and (folder / key).exists() and not (folder / key).is_file():
            raise BrokenError(f"has a {key} that is not a regular file")
        found = await super().get(key, prototype, byte_range)
        if found is None or key.endswith((".json", ".zarray", ".zattrs", ".zgroup")):
            return found
        if len(found) > MAX_BLOCK or _unpacked(found) > MAX_BLOCK:
            raise BrokenError(f"has a chunk {key} of more than {MAX_BLOCK >> 20} MB")
        return found


def _unpacked(found: Buffer) -> int:
    """Return the unpacked size of an object in bytes, from its header; without a header, its own size."""
    head = found[:18].to_bytes()
    if head.startswith(_ZSTD):
        return _zstd_size(head)
    # Blosc 1, whose header states its own length.
    if head[:1] == b"\x02" and int.from_bytes(head[12:16], "little") == len(found):
        return int.from_bytes(head[4:8], "little")
    if head[:2] == b"\x1f\x8b" or (
        head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0
    ):
        try:
            return len(zlib.decompressobj(47).decompress(found.to_bytes(), MAX_BLOCK + 1))
        except zlib.error:
            pass
    return len(found)


def _zstd_size(head: bytes) -> int:
    """Return the content size of a frame (RFC 8878, 3.1.1.1), or more than any limit if it is not stated."""
    about = head[4]
    single = about >> 5 & 1
    length = (single, 2, 4, 8)[about >> 6]
    if not length:
        return MAX_BLOCK + 1
    start = 5 + (not single) + (0, 1, 2, 4)[about & 3]
    return int.from_bytes(head[start : start + length], "little") + (256 if length == 2 else 0)
