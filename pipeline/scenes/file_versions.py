"""Versions of files: pixels of two versions must not form one image if an archive replaces a file during a run."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a client that plans needs no GDAL
    from rasterio import DatasetReader

_MOST = 50_000
"""Largest number of remembered files."""


class Versions:
    """Memory of the files that were read for one purpose: a run in one process, or one reader. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[Any, ...]] = {}

    def __reduce__(self) -> "tuple[type[Versions], tuple[()]]":
        """Make a copy start empty."""
        return Versions, ()

    def same(self, href: str, dataset: "DatasetReader") -> bool:
        """Return whether a file is the one that was read before, judged by its layout.

        No more of the file is read. The positions and lengths of its first and last block depend on everything in
        between. For local files, their size and time count, too.
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
