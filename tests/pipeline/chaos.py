"""A run on a cluster of processes, and what may befall both at any moment."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from s2sharp.demo.synthetic import write_catalog
from s2sharp.storage.files import files
from s2sharp.storage.location import Location

from s2sharp_core.lattice import Box
from tests.services import QUIET

from ..core.scenes import box_at
from ..web import Proxy
from .pictures import noise, scenes

BANDS = ("B02", "B05", "B09")

IMPATIENT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}
"""So that nobody waits long for a scheduler that is dead."""


def write_archive(folder: Path, cells: int) -> Path:
    """The catalog of a picture of ``cells`` × ``cells`` in two tiles, a quarter of it without data."""
    box = box_at(cells, cells)
    picture = noise(box, *BANDS)
    for dn in picture.values():
        half = dn.shape[0] // 2
        dn[:half, half:] = 0
    middle = box.row0 + cells // 2
    tiles = (
        Box(box.row0, middle + 5, box.col0, box.col1),
        Box(middle - 5, box.row1, box.col0, box.col1),
    )
    return write_catalog(folder, scenes(folder, picture, box, *tiles))


@dataclass
class Cluster:
    """A scheduler and its workers, with their nannies."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def worker(self, rng: random.Random) -> psutil.Process:
        """The process that does a worker's work."""
        nanny = psutil.Process(rng.choice(self.workers).pid)
        children = nanny.children(recursive=True)
        return max(children, key=lambda child: child.memory_info().rss)


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """In a process group each, so that nothing of it is left."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    dask = [sys.executable, "-m", "dask"]
    here = ["--scheduler-file", str(file), "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    environment = {**os.environ, **QUIET, **IMPATIENT}
    command = [*dask, "scheduler", *here, "--host", "127.0.0.1", "--port", "0"]
    worker = [*dask, "worker", *here, "--nthreads", "2", "--local-directory", str(folder)]
    processes = [subprocess.Popen(command, env=environment, **quiet)]  # type: ignore[call-overload]
    try:
        while not (
            file.exists() and file.read_text().endswith("}")
        ):  # it is there before its content
            time.sleep(0.05)
        processes += [subprocess.Popen(worker, env=environment, **quiet) for _ in range(workers)]  # type: ignore[call-overload]
        yield Cluster(json.loads(file.read_text())["address"], processes[0], processes[1:])
    finally:
        for process in reversed(processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Running:
    """A run under way: ``client`` is its process where that is another one, ``store`` what stands before ``out``."""

    cluster: Cluster
    out: Location
    rng: random.Random
    client: BaseProcess | None = None
    store: Proxy | None = None

    @property
    def done(self) -> int:
        """Units in the ledger."""
        return sum(not name.endswith(".partial") for name in files(self.out / "ledger"))


def _kill(process: psutil.Process | subprocess.Popen[bytes] | BaseProcess | None) -> None:
    with suppress(psutil.NoSuchProcess):
        if process:
            process.kill()


def worker_killed(run: Running) -> None:
    _kill(run.cluster.worker(run.rng))


def scheduler_killed(run: Running) -> None:
    _kill(run.cluster.scheduler)


def client_killed(run: Running) -> None:
    _kill(run.client)


def all_killed(run: Running) -> None:
    _kill(run.client)
    for process in (*run.cluster.workers, run.cluster.scheduler):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def no_memory(run: Running) -> None:
    """A worker gets not a byte more than it has."""
    worker = run.cluster.worker(run.rng)
    with suppress(psutil.NoSuchProcess):
        limit = worker.memory_info().vms
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))


def disk_full(run: Running) -> None:
    assert isinstance(run.out, Path)
    free = shutil.disk_usage(run.out).free
    with suppress(OSError), _filler(run.out).open("wb") as file:
        while free > 0:
            file.write(bytes(min(free, 1 << 16)))
            file.flush()
            free = shutil.disk_usage(run.out).free


def _filler(out: Path) -> Path:
    return out.parent / "filler"


def store_fails(run: Running) -> None:
    """Of all requests one in ten is refused, one in a hundred never answered; one shard in fifty cannot be written."""
    assert run.store

    def trouble(method: str, path: str) -> int | float | None:
        if method == "PUT" and "/c/" in path and zlib.crc32(path.encode()) % 50 == 0:
            return 503
        dice = run.rng.random()
        return 5.0 if dice < 0.01 else 500 if dice < 0.06 else 503 if dice < 0.11 else None

    run.store.trouble = trouble


def heal(run: Running) -> None:
    """There is room on the disk, and the store answers."""
    if isinstance(run.out, Path):
        _filler(run.out).unlink(missing_ok=True)
    if run.store:
        run.store.trouble = lambda _method, _path: None


FULL, STORE = "the disk is full", "the store fails or stalls"

KINDS: dict[str, Callable[[Running], None]] = {
    "a worker is killed": worker_killed,
    "the scheduler is killed": scheduler_killed,
    "the client is killed": client_killed,
    "everything is killed": all_killed,
    "a worker has no memory left": no_memory,
    FULL: disk_full,
    STORE: store_fails,
}
