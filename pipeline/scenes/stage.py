"""The stage: native bands of an acquisition in Zarr, shard by shard of the lattice.

Blocks overlap when they are read; every pixel is stored once. A shard is written whole by one task and
marked done afterwards, so a killed run finds what it had staged; what nobody needs can be evicted and is
staged again when somebody does.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import zarr
from zarr.abc.buffer import Buffer
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from s2sharp_core import S2SharpError
from s2sharp_core.bands import native_gsd
from s2sharp_core.lattice import Box

from ..cube.layout import chunk_side
from ..storage.arrays import put_arrays, zarr_store
from ..storage.files import files, read_text, remove, remove_tree, size, version, write_text
from ..storage.location import Location
from .acquisition import Acquisition
from .versions import Versions

__all__ = ["Stage", "clear"]

# A process copies one shard at a time: memory is planned for that.
_ONE = threading.Lock()


@dataclass(frozen=True)
class Stage:
    """A :class:`~s2sharp.scenes.read.Reader` of what was staged of one acquisition.

    ``box``: the cells that may be needed, whole shards; ``bands``: those that are read, "SCL" included
    where there is one; the first one also keeps which scene each pixel is from; ``seen``: what the files were that
    were copied.
    """

    folder: Location
    acquisition: Acquisition
    bands: tuple[str, ...]
    box: Box
    shard: int
    seen: Versions = field(default_factory=Versions, repr=False, compare=False)

    @property
    def _store(self) -> Location:
        return self.folder / f"{self._name}.zarr"

    @property
    def _done(self) -> Location:
        return self.folder / f"{self._name}.done"

    @cached_property
    def _name(self) -> str:
        """With the digest of the scenes: files that were copied of other ones, which an archive has replaced, do not count."""
        text = json.dumps([[scene.digest, scene.number] for scene in self.acquisition.scenes])
        return f"{self.acquisition.id}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _marker(self, cells: Box) -> Location:
        return self._done / f"{cells.row0}.{cells.col0}"

    def needed(self, box: Box) -> list[Box]:
        """The shards to be staged before ``box`` can be read."""
        inner = box & self.box
        return [] if inner.empty else list(inner.tiles(self.shard))

    def has(self, cells: Box) -> bool:
        return self._marker(cells).exists()

    def size(self, cells: Box) -> int | None:
        """Bytes of a staged shard; None while it is not there."""
        try:
            return int(read_text(self._marker(cells)))
        except FileNotFoundError:
            return None

    def lay_out(self) -> None:
        """Create the arrays; does nothing where all of them exist."""
        if (self._store / "zarr.json").exists():
            return
        draft: dict[str, Buffer] = {}
        group = zarr.open_group(MemoryStore(draft), mode="w", zarr_format=3)
        for band in self.bands:
            self._create(group, band, native_gsd(band))
        self._create(group, "source", native_gsd(self.bands[0]))
        put_arrays({name: data.to_bytes() for name, data in draft.items()}, self._store)

    def _create(self, group: zarr.Group, name: str, gsd: int) -> None:
        side = self.shard * 60 // gsd
        group.create_array(
            name,
            shape=self.box.pixels(gsd),
            shards=(side, side),
            chunks=(chunk_side(side), chunk_side(side)),
            dtype="uint16",
            fill_value=0,
            compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec()],
            dimension_names=("y", "x"),
        )

    def write(self, cells: Box) -> int:
        """Copy one shard from the files, whole; returns its size on disk in bytes."""
        # GDAL is for workers: a client lays out, and clears
        from .raster import Kept
        from .read import Files, read_each

        arrays = _arrays(self._store)
        files = Files(self.acquisition, Kept(seen=self.seen))
        with _ONE:
            read = read_each(lambda band: files.mosaic(band, cells), self.bands, files)
            for band, (dn, number) in zip(self.bands, read, strict=True):
                arrays[band][self.box.slices(cells, native_gsd(band))] = dn
                if band == self.bands[0]:
                    arrays["source"][self.box.slices(cells, native_gsd(band))] = number
        total = sum(size(path) for path in self._objects(cells))
        write_text(self._marker(cells), str(total))
        return total

    def evict(self, cells: Box) -> None:
        """Forget one shard: first that it is there, then its content."""
        remove(self._marker(cells))
        for path in self._objects(cells):
            remove(path)

    def _objects(self, cells: Box) -> list[Location]:
        row = (cells.row0 - self.box.row0) // self.shard
        col = (cells.col0 - self.box.col0) // self.shard
        return [self._store / name / "c" / str(row) / str(col) for name in (*self.bands, "source")]

    @property
    def waits(self) -> bool:
        """Zarr asks for the shards of a band at once by itself."""
        return False

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`s2sharp.scenes.read.Reader.mosaic`; only the first band knows its scenes."""
        gsd = native_gsd(band)
        inner = box & self.box
        dn = np.zeros(box.pixels(gsd), dtype=np.uint16)
        number = np.zeros_like(dn)
        if inner.empty:
            return dn, number
        there, here = self.box.slices(inner, gsd), box.slices(inner, gsd)
        try:
            arrays = _arrays(self._store)
        except FileNotFoundError:
            self._check(inner)
            raise
        names = [(dn, band)] + [(number, "source")] * (band == self.bands[0])
        for into, name in names:
            into[here] = arrays[name][there]
            # A missing shard reads as no data, and may have been evicted meanwhile.
            if not into[here].all():
                self._check(inner)
        return dn, number

    def _check(self, box: Box) -> None:
        missing = [cells for cells in self.needed(box) if not self.has(cells)]
        if missing:
            raise S2SharpError(
                "stage-missing",
                f"{self.acquisition.id}: {missing[0]} was evicted from the stage before it was read.",
                "Run again with a larger --stage-budget.",
            )


def clear(folder: Location) -> None:
    """Remove all that was staged."""
    # First that it is there, then its content: a straggler must not read gaps.
    for done in {name.partition("/")[0] for name in files(folder) if ".done/" in name}:
        remove_tree(folder / done)
    remove_tree(folder)


def _arrays(store: Location) -> "dict[str, zarr.Array[Any]]":
    return _open(store, version(store / "zarr.json"))


@lru_cache(maxsize=4)
def _open(store: Location, written: str) -> "dict[str, zarr.Array[Any]]":  # noqa: ARG001
    return dict(zarr.open_group(zarr_store(store), mode="r+").arrays())
