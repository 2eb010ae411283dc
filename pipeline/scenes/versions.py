"""Files that an archive replaces while a run reads them: pixels of two versions make no picture."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # whoever makes a plan needs no GDAL
    from rasterio import DatasetReader

__all__ = ["Versions"]

_MOST = 50_000
"""Files that are remembered."""


class Versions:
    """Memory of the files that were read for one purpose: a run in one process, or one reader. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[Any, ...]] = {}

    def __reduce__(self) -> "tuple[type[Versions], tuple[()]]":
        """A copy begins anew."""
        return Versions, ()

    def same(self, href: str, dataset: "DatasetReader") -> bool:
        """Return whether a file is the one that was read before, as far as its layout tells.

        Nothing more is read of it: where its first and its last block lie, and how long they are, follows from all that
        is in between. Of a file of this machine, the disk tells, too.
        """
        mark = _mark(href, dataset)
        with self._lock:
            while len(self._seen) >= _MOST:
                del self._seen[next(iter(self._seen))]
            return bool(self._seen.setdefault(href, mark) == mark)


def _mark(href: str, dataset: "DatasetReader") -> tuple[Any, ...]:
    rows, cols = (
        -(-size // block) - 1
        for size, block in zip(dataset.shape, dataset.block_shapes[0], strict=True)
    )
    told: list[Any] = [
        dataset.get_tag_item(f"{what}_{col}_{row}", "TIFF", bidx=1)
        for what in ("BLOCK_OFFSET", "BLOCK_SIZE")
        for row, col in ((0, 0), (rows, cols))
    ]
    file = Path(href)
    if "://" not in href and file.is_file():
        about = file.stat()
        told += [about.st_size, about.st_mtime_ns]
    return tuple(told)
