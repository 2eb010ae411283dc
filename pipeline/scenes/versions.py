"""Files that an archive replaces while a run reads them: pixels of two versions make no picture."""

import threading
from pathlib import Path
from typing import Any

import rasterio

__all__ = ["begin", "same"]

_MOST = 50_000
"""Files that are remembered."""

_lock = threading.Lock()
_seen: dict[str, tuple[Any, ...]] = {}
_runs: list[str] = []


def begin(run: str) -> None:
    """Say whose files are read from now on; those that another run saw may be others by now."""
    with _lock:
        if _runs != [run]:
            _runs[:] = [run]
            _seen.clear()


def same(href: str, dataset: rasterio.DatasetReader) -> bool:
    """Return whether a file is the one that this process read before, in the same run, as far as its layout tells.

    Nothing more is read of it: where its first and its last block lie, and how long they are, follows from all that is
    in between. Of a file of this machine, the disk tells, too.
    """
    if not _runs:
        return True
    mark = _mark(href, dataset)
    with _lock:
        while len(_seen) >= _MOST:
            del _seen[next(iter(_seen))]
        return bool(_seen.setdefault(href, mark) == mark)


def _mark(href: str, dataset: rasterio.DatasetReader) -> tuple[Any, ...]:
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
