"""Work on a worker: one unit at a time, with its memory and time measured and its outcome recorded."""

import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from ctypes import CDLL
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import psutil

from s2sharp_core import S2SharpError

from ..storage.location import Location, store_errors
from .ledger import Ledger, Record


class Clock:
    """Seconds by step; steps may overlap, so that their sum may exceed the whole."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(phase, time.perf_counter() - start)

    def add(self, phase: str, spent: float) -> None:
        """Add seconds that were measured elsewhere."""
        with self._lock:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent


class Peak:
    """Highest resident memory of this process during the block, sampled 50 times a second."""

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
# A process does one unit at a time, whatever its number of threads: memory is planned for one, and Python's record of
# warnings is not thread-safe. Meanwhile, the previous unit may be written.
_ONE_UNIT = threading.Lock()
_ONE_WRITE = threading.Lock()

_ready = {"idle": 0}
"""Memory of the process in bytes when it was last ready for a unit; jobs without a net are compared with it."""

net_thread = ThreadPoolExecutor(1)
"""The one thread for nets, because torch keeps buffers for each thread that it has seen."""

WORKER_THREADS = 2
"""Dask's threads of a worker: one unit at work, another being written. A net has threads of its own."""


_room = threading.Event()
"""Set while a unit is at work that leaves memory to begin the next one."""


def at_work() -> bool:
    """Return whether a unit is at work in this process that leaves memory to begin the next one."""
    return _room.is_set()


Written = dict[str, Any]
Work = Callable[[Clock], tuple[dict[str, Any], Callable[[], Written] | None]]
"""Function that makes a unit's content: returns facts for its record, and a function that writes it and returns more facts."""


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
    """Do one unit and record its outcome in the ledger of ``out``; never raises for errors of inputs and stores.

    ``attempt``: number of this attempt, from 1; ``work``: makes the content of the unit, and returns a writer that runs
    while the next unit begins; ``idle``: makes the process ready, and returns its memory in bytes before its first unit;
    ``whose``: prefix of warnings; ``alone``: whether its memory is planned for a worker that neither writes nor begins
    another unit meanwhile.

    ``still`` raises :class:`S2SharpError` when the plan of the unit is superseded. It is called before the unit is
    written and before it is recorded; if it raises, no record is written.
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
                _give_back()
            with _failures(out, facts):
                before = idle() if idle else _ready["idle"] or psutil.Process().memory_info().rss
                facts["idle"] = _ready["idle"] = before
            memory = until_written.enter_context(Peak())
            if "status" not in facts:
                with _failures(out, facts), nullcontext() if alone else _with_room():
                    made, write = work(clock)
                    facts |= {"status": "ok", **made}
            # Taken before the next unit begins, so that a process holds two units at most.
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
    return write_record(out, record)


def _give_back() -> None:
    """Give memory that earlier units have freed back to the system; the allocator keeps a net's gigabyte."""
    trim = getattr(CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def _with_room() -> Iterator[None]:
    """Let another unit begin during the block; not earlier, or its memory would count as the process's idle size."""
    _room.set()
    try:
        yield
    finally:
        _room.clear()


@lru_cache(maxsize=1)
def _software() -> str:
    return f"s2sharp {version('s2sharp')}"


@contextmanager
def _failures(out: Location, facts: dict[str, Any]) -> Iterator[None]:
    """Turn errors of a unit into facts of its record."""
    try:
        yield
    except S2SharpError as error:
        facts |= {"status": "failed", "kind": error.kind, "message": str(error)}
        facts |= {"item": error.item, "band": error.band}
    except store_errors() as error:
        message = f"{facts['unit']}: cannot read or write {out}: {error}. {REMEDY_NO_SPACE}"
        facts |= {"status": "failed", "kind": "store-unwritable", "message": message}


def write_record(out: Location, record: Record) -> Record:
    """Write a record; if that fails, return a failure, so that the unit is redone."""
    try:
        Ledger(out / "ledger").write(record)
    except store_errors() as error:
        message = f"Cannot write the ledger of {out}: {error}. {REMEDY_NO_SPACE}"
        return Record(record.unit, record.key, "failed", kind="store-unwritable", message=message)
    return record
