"""A zarr store that computes the digests of its writes."""

import hashlib

from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore, WrapperStore

from .arrays import zarr_store
from .digests import ABSENT, Digest
from .location import Location, on_this_machine


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
