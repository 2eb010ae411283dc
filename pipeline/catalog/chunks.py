"""Chunks of an archive's Zarr within bounds: as its metadata state them, and as its bytes unpack.

A chunk is unpacked whole, however little of it is wanted, and a few bytes may say that they are a gigabyte.
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
from .broken import BrokenError

__all__ = ["MAX_BLOCK", "BoundedStore", "bounded", "check_chunks"]

MAX_BLOCK = 1 << 27
"""Bytes of one block of a file, unpacked: 8192 × 8192 DN. Archives' blocks have 1830 × 1830 at most."""

_ZSTD = b"\x28\xb5\x2f\xfd"


def check_chunks(array: "zarr.Array[Any]", name: str) -> None:
    """Raise :class:`BrokenError` where a chunk of an array, or the index of a shard, is larger than any should be."""
    chunks, shards = array.chunks, array.shards
    size = math.prod(chunks) * array.dtype.itemsize
    if size > MAX_BLOCK:
        pixels = " × ".join(map(str, chunks))
        raise BrokenError(f"has {name} in chunks of {pixels} px, more than {MAX_BLOCK >> 20} MB")
    if shards is not None and 16 * math.prod(shards) / max(1, math.prod(chunks)) > MAX_BLOCK:
        raise BrokenError(f"has {name} in shards of too many chunks")


def bounded(store: Any) -> "BoundedStore":
    """A store, or the path of a folder, that is read within bounds."""
    return BoundedStore(
        LocalStore(store, read_only=True) if isinstance(store, Path | str) else store
    )


class BoundedStore(WrapperStore[Store]):
    """A store whose objects unpack to :data:`MAX_BLOCK` bytes at most, or are refused."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        folder = getattr(self._store, "root", None)
        if on_this_machine(folder) and (folder / key).exists() and not (folder / key).is_file():
            raise BrokenError(f"has a {key} that is no regular file")
        found = await super().get(key, prototype, byte_range)
        if found is not None and not key.endswith((".json", ".zarray", ".zattrs", ".zgroup")):
            _check(found, key)
        return found


def _check(found: Buffer, key: str) -> None:
    if len(found) > MAX_BLOCK or _unpacked(found) > MAX_BLOCK:
        raise BrokenError(f"has a chunk {key} of more than {MAX_BLOCK >> 20} MB")


def _unpacked(found: Buffer) -> int:
    """Bytes that an object unpacks to, as its first ones say; where these say nothing, its own."""
    head = found[:18].to_bytes()
    if head.startswith(_ZSTD):
        return _zstd_size(head)
    # Blosc 1, whose header says how long it is itself.
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
    """The size of a frame's content (RFC 8878, 3.1.1.1); beyond all bounds where it is not told."""
    about = head[4]
    single = about >> 5 & 1
    length = (single, 2, 4, 8)[about >> 6]
    if not length:
        return MAX_BLOCK + 1
    start = 5 + (not single) + (0, 1, 2, 4)[about & 3]
    return int.from_bytes(head[start : start + length], "little") + (256 if length == 2 else 0)
