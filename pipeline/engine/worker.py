"""Work on a worker: one unit at a time, its memory and time measured, its end recorded."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil

from s2sharp_core import S2SharpError

from ..storage.location import Location, store_errors
from .ledger import Ledger, Record

__all__ = [
    "REMEDY_NO_SPACE",
    "WORKER_THREADS",
    "Clock",
    "Peak",
    "failures",
    "keep",
    "net_thread",
    "one_unit",
    "one_write",
]


class Clock:
    """Seconds by phase; one runs beside the other, so they may add up to more than the whole."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start


class Peak:
    """The highest resident memory of this process while the block runs, sampled 50 times a second."""

    def __enter__(self) -> "Peak":
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.is_set():
            self.bytes = max(self.bytes, process.memory_info().rss)
            self._done.wait(0.02)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


REMEDY_NO_SPACE = "Make room (or choose another --out) and run again: only what is missing is done."
# A process sharpens one unit at a time, whatever threads a cluster gives it: memory is planned for that, and
# Python's record of warnings knows no threads. Meanwhile the one before may be written.
one_unit = threading.Lock()
one_write = threading.Lock()

net_thread = ThreadPoolExecutor(1)
"""The thread that nets run in, whichever of Dask's a unit came by: torch keeps buffers for each that it ever saw."""

WORKER_THREADS = 2
"""Dask's threads of a worker, for that; a net's threads are others."""


@contextmanager
def failures(store: Location, facts: dict[str, Any]) -> Iterator[None]:
    """What goes wrong with a unit becomes facts of its record."""
    try:
        yield
    except S2SharpError as error:
        facts |= {"status": "failed", "kind": error.kind, "message": str(error)}
        facts |= {"item": error.item, "band": error.band}
    except store_errors() as error:
        message = f"Cannot write {store}: {error}. {REMEDY_NO_SPACE}"
        facts |= {"status": "failed", "kind": "store-unwritable", "message": message}


def keep(out: Location, record: Record) -> Record:
    """Write a record; one that cannot be written counts as a failure, so that the unit is redone."""
    try:
        Ledger(out / "ledger").write(record)
    except store_errors() as error:
        message = f"Cannot write the ledger of {out}: {error}. {REMEDY_NO_SPACE}"
        return Record(record.unit, record.key, "failed", kind="store-unwritable", message=message)
    return record
