"""What was written: size and digest of files, so that a record can vouch for them and rot is seen."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, WrapperStore

from .arrays import zarr_store
from .files import read_bytes, size
from .location import Location

__all__ = [
    "ABSENT",
    "Digest",
    "DigestStore",
    "digest_of",
    "digest_store",
    "settle",
    "vouched",
    "wrong",
]


class Digest(NamedTuple):
    """Size in bytes and SHA-256 of a file; of one that is not there 0 and ""."""

    size: int
    sha256: str


ABSENT = Digest(0, "")
"""Arrays that are all fill have no file."""


class DigestStore(WrapperStore[Store]):
    """A zarr store that keeps the digests of what is written through it, until they are taken."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._written: dict[str, Digest] = {}

    async def set(self, key: str, value: Buffer) -> None:
        data = value.to_bytes()
        await super().set(key, value)
        self._written[key] = Digest(len(data), hashlib.sha256(data).hexdigest())

    def take(self, key: str) -> Digest:
        """Return the digest of what was written last under ``key``, once; :data:`ABSENT` where nothing was."""
        return self._written.pop(key, ABSENT)


def digest_store(folder: Location) -> DigestStore:
    """Open a folder or a place in an object store for writing."""
    if isinstance(folder, Path):
        return DigestStore(LocalStore(folder))
    store = zarr_store(folder)
    assert isinstance(store, Store)  # noqa: S101  (only a folder of this machine is a path)
    return DigestStore(store)


def digest_of(file: Location) -> Digest:
    """Read a file, and return its digest."""
    try:
        if isinstance(file, Path):  # piece by piece: a COG is as large as its area
            with file.open("rb") as there:
                digest = hashlib.file_digest(there, "sha256")
                return Digest(there.tell(), digest.hexdigest())
        data = read_bytes(file)
    except FileNotFoundError:
        return ABSENT
    return Digest(len(data), hashlib.sha256(data).hexdigest())


def vouched(file: Location) -> Digest:
    """Return the digest of a finished file that a record is going to vouch for."""
    settle(file)
    return digest_of(file)


def wrong(file: Location, expected: Digest, *, deep: bool) -> str:
    """Say what is wrong with a file, "" where it is as expected.

    ``deep``: read it, in place of looking at its size alone.
    """
    found = size(file)
    if found != expected.size:
        return f"{found} bytes in place of {expected.size}" if found else "is missing or empty"
    if deep and digest_of(file) != expected:
        return "its content is not what was written"
    return ""


def settle(file: Location) -> None:
    """Wait until a file of a disk would outlive a loss of power: a record is going to vouch for it."""
    if isinstance(file, Path):
        with suppress(FileNotFoundError):
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
