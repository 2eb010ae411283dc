"""Work on a worker: one unit at a time, its memory and time measured, its end recorded."""

import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import lru_cache
from importlib.metadata import version
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
    "at_work",
    "do_job",
    "keep",
    "net_thread",
]


class Clock:
    """Seconds by phase; one runs beside the other, so they may add up to more than the whole."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(phase, time.perf_counter() - start)

    def add(self, phase: str, spent: float) -> None:
        """Count seconds that were spent before."""
        with self._lock:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent


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
# A process does one unit at a time, whatever threads a cluster gives it: memory is planned for that, and
# Python's record of warnings knows no threads. Meanwhile the one before may be written.
_ONE_UNIT = threading.Lock()
_ONE_WRITE = threading.Lock()

_ready = {"idle": 0}
"""The process's memory in bytes when it was last made ready: what comes between units of a net is held against no less."""

net_thread = ThreadPoolExecutor(1)
"""The thread that nets run in, whichever of Dask's a unit came by: torch keeps buffers for each that it ever saw."""

WORKER_THREADS = 2
"""Dask's threads of a worker, for that; a net's threads are others."""


_room = threading.Event()
"""Set while a unit is at work beside which the next one may be begun."""


def at_work() -> bool:
    """Return whether a unit is at work in this process that leaves room for the beginning of the next one."""
    return _room.is_set()


Written = dict[str, Any]
Work = Callable[[Clock], tuple[dict[str, Any], Callable[[], Written] | None]]
"""Makes what a unit holds: gives facts of its record, and what is left to do: to write it, which gives more facts."""


def do_job(
    out: Location,
    name: str,
    key: str,
    attempt: int,
    work: Work,
    still: Callable[[], None],
    idle: Callable[[], int] | None = None,
    whose: str = "",
    *,
    alone: bool = False,
) -> Record:
    """Do one unit and record how it ended; never raises for what inputs and stores do.

    Parameters
    ----------
    out
        The folder whose ledger keeps the record.
    attempt
        How often it has been tried, with this time.
    work
        Does it. What it returns to write is written while the next unit begins.
    still
        Raises :class:`S2SharpError` when the plan of the unit does not count any more. Asked before the unit is written,
        and before it is recorded: then nothing of it is recorded.
    idle
        Gets the process ready, and gives its memory in bytes before its first unit.
    whose
        What warnings are about: they begin with it.
    alone
        Whether its memory is planned for a worker that neither writes nor begins another unit meanwhile.
    """
    clock = Clock()
    facts: dict[str, Any] = {"unit": name, "key": key, "attempt": attempt}
    facts |= {"worker": f"{socket.gethostname()}:{os.getpid()}", "software": _software()}
    write = None
    with ExitStack() as until_written:
        with _ONE_UNIT, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            if alone:
                until_written.enter_context(_ONE_WRITE)
            with _failures(out, facts):
                facts["idle"] = _ready["idle"] = idle() if idle else _ready["idle"] or _idle_size()
            memory = until_written.enter_context(Peak())
            if "status" not in facts:
                with _failures(out, facts), nullcontext() if alone else _with_room():
                    made, write = work(clock)
                    facts |= {"status": "ok", **made}
            # Before the next one begins: of all that a process holds there are two at most.
            if not alone:
                until_written.enter_context(_ONE_WRITE)
        if write is not None:
            with _failures(out, facts), clock("write"):
                still()
                facts |= write()
    about = f"{whose}: " if whose else ""
    told = dict.fromkeys(f"{about}{w.message}" for w in caught if w.category is UserWarning)
    facts["warnings"] = (*facts.get("warnings", ()), *told)
    record = Record(**facts, seconds=clock.seconds, peak=memory.bytes)
    try:
        still()
    except S2SharpError as error:
        return Record(name, key, "failed", error.kind, str(error), attempt=attempt)
    return keep(out, record)


@contextmanager
def _with_room() -> Iterator[None]:
    """Let another unit be begun during the block. The process is ready by then: what is held before would count as idle."""
    _room.set()
    try:
        yield
    finally:
        _room.clear()


@lru_cache(maxsize=1)
def _software() -> str:
    return f"s2sharp {version('s2sharp')}"


@lru_cache(maxsize=1)
def _idle_size() -> int:
    return int(psutil.Process().memory_info().rss)


@contextmanager
def _failures(out: Location, facts: dict[str, Any]) -> Iterator[None]:
    """Make what goes wrong with a unit facts of its record."""
    try:
        yield
    except S2SharpError as error:
        facts |= {"status": "failed", "kind": error.kind, "message": str(error)}
        facts |= {"item": error.item, "band": error.band}
    except store_errors() as error:
        message = f"{facts['unit']}: cannot read or write {out}: {error}. {REMEDY_NO_SPACE}"
        facts |= {"status": "failed", "kind": "store-unwritable", "message": message}


def keep(out: Location, record: Record) -> Record:
    """Write a record; one that cannot be written counts as a failure, so that the unit is redone."""
    try:
        Ledger(out / "ledger").write(record)
    except store_errors() as error:
        message = f"Cannot write the ledger of {out}: {error}. {REMEDY_NO_SPACE}"
        return Record(record.unit, record.key, "failed", kind="store-unwritable", message=message)
    return record
