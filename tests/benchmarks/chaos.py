"""What is lost when things break: ``python -m tests.benchmarks.chaos [--rounds 20] [KIND …]``.

A run on a scheduler and two workers, each a process; at a random moment something breaks: a worker, the scheduler, the
client or all of them are killed, a worker has no memory left, the disk is full. Then the same command runs again. Its
shards must be those of an undisturbed run, no unit may have been done twice but those that were in flight, no empty one
done again, and no draft may be left.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from s2sharp.synthetic import COLLECTION, simulate

from ..pipeline.runs import EVERYWHERE, records, shards

WORKERS = 2
AHEAD = 2
"""Units in flight for each worker."""


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
def cluster(folder: Path) -> Iterator[Cluster]:
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    dask = [sys.executable, "-m", "dask"]
    here = ["--scheduler-file", str(file), "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    # A dead scheduler is not waited for.
    environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}
    command = [*dask, "scheduler", *here, "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen(command, env=environment, **quiet)
    while not file.exists():
        time.sleep(0.05)
    worker = [*dask, "worker", *here, "--nthreads", "1", "--local-directory", str(folder)]
    workers = [subprocess.Popen(worker, env=environment, **quiet) for _ in range(WORKERS)]
    import json

    made = Cluster(json.loads(file.read_text())["address"], scheduler, workers)
    try:
        yield made
    finally:
        for process in (*workers, scheduler):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


Mischief = Callable[[Cluster, subprocess.Popen[bytes], Path, random.Random], None]


def _kill(process: psutil.Process | subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def worker_killed(there: Cluster, _run: object, _out: Path, rng: random.Random) -> None:
    _kill(there.worker(rng))


def scheduler_killed(there: Cluster, _run: object, _out: Path, _rng: random.Random) -> None:
    _kill(there.scheduler)


def client_killed(
    _there: Cluster, run: subprocess.Popen[bytes], _out: Path, _rng: random.Random
) -> None:
    _kill(run)


def all_killed(
    there: Cluster, run: subprocess.Popen[bytes], _out: Path, _rng: random.Random
) -> None:
    _kill(run)
    for process in (*there.workers, there.scheduler):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def no_memory(there: Cluster, _run: object, _out: Path, rng: random.Random) -> None:
    worker = there.worker(rng)
    with suppress(psutil.NoSuchProcess):
        limit = worker.memory_info().vms
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))


def disk_full(_there: Cluster, _run: object, out: Path, _rng: random.Random) -> None:
    free = shutil.disk_usage(out).free
    with suppress(OSError), (out.parent / "filler").open("wb") as file:
        while free > 0:
            file.write(bytes(min(free, 1 << 16)))
            file.flush()
            free = shutil.disk_usage(out).free


KINDS: dict[str, Mischief] = {
    "a worker is killed": worker_killed,
    "the scheduler is killed": scheduler_killed,
    "the client is killed": client_killed,
    "everything is killed": all_killed,
    "a worker has no memory left": no_memory,
    "the disk is full": disk_full,
}


@contextmanager
def room(folder: Path, kind: str) -> Iterator[Path]:
    """Where a run writes: a disk of its own, small enough to be filled, where that is what breaks."""
    folder.mkdir()
    if kind != "the disk is full":
        yield folder
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def command(catalog: Path, out: Path, scheduler: str) -> list[str]:
    flags = {
        "catalog": str(catalog),
        "collection": COLLECTION,
        "datetime": "2024",
        "out": str(out),
        "method": "bicubic",
        "window": "8",
        "shard": "8",
        "scheduler": scheduler,
    }
    given = [part for key, value in flags.items() for part in (f"--{key}", value)]
    area = ["--bbox", *map(str, EVERYWHERE), "--no-publish"]
    return [sys.executable, "-m", "s2sharp.cli", "run", *given, *area]


@dataclass
class Result:
    """Of one round: what was done when it broke, how the broken run ended, what was done twice."""

    before: int
    code: int
    twice: int
    drafts: int
    same: bool


def one(catalog: Path, folder: Path, whole: Path, kind: str, rng: random.Random) -> Result:
    with room(folder, kind) as place:
        out = place / "out"
        total = len(records(whole))
        moment = rng.randrange(total)
        with cluster(folder.parent) as there:
            run = subprocess.Popen(
                command(catalog, out, there.address),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            while run.poll() is None and len(records(out)) < moment:
                time.sleep(0.02)
            begun = records(out)
            KINDS[kind](there, run, out, rng)
            try:
                code = run.wait(600)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                code = run.wait()
        (place / "filler").unlink(missing_ok=True)
        # Of a client that was killed, workers may finish what they have.
        before = records(out)
        with cluster(folder.parent) as there:
            subprocess.run(
                command(catalog, out, there.address), check=True, capture_output=True, timeout=600
            )
        after = records(out)
        finished = {name for name in before if not name.endswith(".failed")}
        return Result(
            before=len(begun),
            code=code,
            twice=sum(after.get(name) != before[name] for name in finished),
            drafts=len([*out.rglob("*.partial"), *(out / "ledger").rglob(".*")]),
            same=shards(out) == shards(whole),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(KINDS)}")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    table = Table(title=f"{given.rounds} rounds of each, then the same command again")
    for column in (
        "what broke",
        "done before (mean)",
        "ended by itself",
        "shards equal",
        "units done twice",
        "drafts left",
    ):
        table.add_column(column, justify="right")
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "archive", cells=64, tiles=2, dates=1, seed=3)
        catalog = folder / "archive" / "catalog.json"
        with cluster(folder) as there:
            subprocess.run(
                command(catalog, folder / "whole", there.address), check=True, capture_output=True
            )
        for kind in given.kinds or KINDS:
            results = []
            for number in range(given.rounds):
                place = folder / f"round-{len(table.rows)}-{number}"
                results.append(one(catalog, place, folder / "whole", kind, rng))
                shutil.rmtree(place)
                console.print(kind, number, results[-1])
            table.add_row(
                kind,
                f"{sum(r.before for r in results) / len(results):.0f} of {len(records(folder / 'whole'))}",
                f"{sum(r.code in (0, 1, 4) for r in results)} of {len(results)}",
                f"{sum(r.same for r in results)} of {len(results)}",
                str(sum(r.twice for r in results)),
                str(sum(r.drafts for r in results)),
            )
    console.print(table)


if __name__ == "__main__":
    main()
