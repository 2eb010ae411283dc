"""The stage: native bands of an acquisition in Zarr, shard by shard of the lattice.

Blocks overlap when they are read, but every pixel is stored once. One task writes a shard whole and marks it done
afterwards, so a run continues with the shards that a killed run staged. Shards that no task needs can be evicted; they
are staged again on demand.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from s2sharp_core import S2SharpError
from s2sharp_core.bands import native_gsd
from s2sharp_core.lattice import Box

from ..cube.layout import chunk_side
from ..storage.arrays import arrays_of, in_memory, put_arrays
from ..storage.files import files, read_text, remove, remove_tree, size, write_text
from ..storage.location import Location
from .acquisition import Acquisition
from .file_versions import Versions

# A process copies one shard at a time, because memory is planned for one.
_ONE = threading.Lock()


@dataclass(frozen=True)
class Stage:
    """A :class:`~s2sharp.scenes.read.Reader` of the staged pixels of one acquisition.

    ``box``: the cells that may be needed, in whole shards. ``bands``: the bands that are read, with "SCL" if it
    exists; the first one also stores the scene of each pixel. ``seen``: the versions of the copied files.
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
        """Return a name with the digest of the scenes, so copies of files that an archive has replaced are not used."""
        text = json.dumps([[scene.digest, scene.number] for scene in self.acquisition.scenes])
        return f"{self.acquisition.id}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _marker(self, cells: Box) -> Location:
        return self._done / f"{cells.row0}.{cells.col0}"

    def needed(self, box: Box) -> list[Box]:
        """Return the shards to stage before ``box`` can be read."""
        inner = box & self.box
        return [] if inner.empty else list(inner.tiles(self.shard))

    def has(self, cells: Box) -> bool:
        return self._marker(cells).exists()

    def size(self, cells: Box) -> int | None:
        """Return the bytes of a staged shard, or None if it is not staged."""
        try:
            return int(read_text(self._marker(cells)))
        except FileNotFoundError:
            return None

    def lay_out(self) -> None:
        """Create the arrays, unless all of them exist."""
        if (self._store / "zarr.json").exists():
            return

        def every(group: zarr.Group) -> None:
            for band in self.bands:
                self._create(group, band, native_gsd(band))
            self._create(group, "source", native_gsd(self.bands[0]))

        put_arrays(in_memory(every), self._store)

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
        """Copy one whole shard from the files, and return its size on disk in bytes."""
        # Imported here, because only workers need GDAL; a client lays out and clears.
        from .raster import OpenFiles
        from .read import Files, read_each

        arrays = arrays_of(self._store, mode="r+")
        files = Files(self.acquisition, OpenFiles(seen=self.seen))
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
        """Remove one shard: first its mark, then its content."""
        remove(self._marker(cells))
        for path in self._objects(cells):
            remove(path)

    def _objects(self, cells: Box) -> list[Location]:
        row = (cells.row0 - self.box.row0) // self.shard
        col = (cells.col0 - self.box.col0) // self.shard
        return [self._store / name / "c" / str(row) / str(col) for name in (*self.bands, "source")]

    @property
    def waits(self) -> bool:
        """Return False, because Zarr itself requests the shards of a band at once."""
        return False

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Do the same as :meth:`s2sharp.scenes.read.Reader.mosaic`; only the first band has its scenes."""
        gsd = native_gsd(band)
        inner = box & self.box
        dn = np.zeros(box.pixels(gsd), dtype=np.uint16)
        number = np.zeros_like(dn)
        if inner.empty:
            return dn, number
        there, here = self.box.slices(inner, gsd), box.slices(inner, gsd)
        try:
            arrays = arrays_of(self._store, mode="r+")
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
    """Remove all staged shards."""
    # The marks go first, then the content, so that a late reader does not read gaps.
    for done in {name.partition("/")[0] for name in files(folder) if ".done/" in name}:
        remove_tree(folder / done)
    remove_tree(folder)
