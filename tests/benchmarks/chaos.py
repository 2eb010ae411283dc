"""What is lost when things break: ``python -m tests.benchmarks.chaos [--rounds 20] [KIND …]``.

A run on a scheduler and two workers, each a process; at a random moment something breaks: a worker, the scheduler, the
client or all of them are killed, a worker has no memory left, the disk is full, the object store refuses some requests
and leaves others unanswered. Then the same run is started again. Its shards must be those of an undisturbed one, no unit
may have been done twice but those that were in flight, no empty one done again, and no draft may be left.

After others a cube might hold, or show, what it should not (``tests/pipeline/rounds.py``, ``growing.py``): a worker wakes when its run
has been done by others from newer files, a stage is left of files that an archive has replaced, a cube grows under its
readers, or is killed while it grows. What is of other content after the fact is counted. Part of a kind's name is enough.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table
from s2sharp.engine.ledger import Ledger
from s2sharp.storage.files import remove_tree
from s2sharp.storage.location import Location, place

from ..pipeline.chaos import (
    BANDS,
    FULL,
    IMPATIENT,
    KINDS,
    STORE,
    Cluster,
    Running,
    cluster,
    heal,
    write_archive,
)
from ..pipeline.growing import growth, overviews
from ..pipeline.moments import FORKS, start
from ..pipeline.rounds import Result, Round, differing, drafts, stage, zombie
from ..pipeline.runs import records
from ..services import s3_server
from ..web import Proxy, proxied

CELLS = 36
"""Side of the picture: some thirty units, a few of them empty, and their overviews."""

FATAL = {"the scheduler is killed", "everything is killed", "a worker has no memory left"}
"""To a cluster: each round has one of its own."""

# A request without an answer is given up after seconds, not after the usual minute: a setting of fsspec's own.
PATIENCE = {
    "config_kwargs": {
        "read_timeout": 2,
        "retries": {"mode": "standard", "total_max_attempts": 3},
    }
}


@contextmanager
def room(folder: Path, kind: str) -> Iterator[tuple[Location, Proxy | None]]:
    """Where runs write: a folder; a disk of its own, small enough to be filled; or an object store."""
    if kind == FULL:
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
        subprocess.run(mount, check=True)
        try:
            yield folder, None
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    elif kind == STORE:
        with s3_server() as server, proxied(server) as (proxy, url):
            found_by = {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "none",
                "AWS_DEFAULT_REGION": "us-east-1",
                "FSSPEC_S3": json.dumps(PATIENCE),
            }
            with patch.dict(os.environ, found_by):
                yield place("s3://bucket"), proxy
    else:
        yield folder, None


@dataclass
class Ground:
    """What the rounds of a kind have in common: archive, cluster, and an undisturbed run in ``whole``."""

    folder: Path
    archive: Path
    cluster: Cluster
    out: Location
    store: Proxy | None = None

    @property
    def whole(self) -> Location:
        return self.out / "whole"

    def start(self, out: Location, scheduler: str) -> BaseProcess:
        environment = {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "FSSPEC_"))}
        about = {"bands": BANDS, "window": 8, "shard": 8, "retries": 1}
        return start(self.archive, out, scheduler, about, {**environment, **IMPATIENT})

    def again(self, out: Location) -> None:
        process = self.start(out, self.cluster.address)
        process.join(600)
        assert process.exitcode == 0, f"{out}: {process.exitcode}"


@contextmanager
def ground(folder: Path, kind: str) -> Iterator[Ground]:
    archive = write_archive(folder / "archive", CELLS).parent
    with room(folder / "room", kind) as (out, store), cluster(folder) as there:
        made = Ground(folder, archive, there, out, store)
        made.again(made.whole)
        assert any(name.endswith(".empty") for name in records(made.whole))
        yield made


def one(on: Ground, kind: str, rng: random.Random) -> Result:
    """Break a run and start it again."""
    out = on.out / "broken"
    moment = rng.randrange(len(records(on.whole)))
    with ExitStack() as stack:
        there = stack.enter_context(cluster(on.folder)) if kind in FATAL else on.cluster
        process = on.start(out, there.address)
        broken = Running(there, out, rng, process, on.store)
        while process.is_alive() and (begun := broken.done) < moment:
            time.sleep(0.05)
        KINDS[kind](broken)
        process.join(900)
        code = process.exitcode
        _end(process)
    heal(broken)
    # Of a client that was killed, workers may finish what they have.
    before = records(out)
    on.again(out)
    after = records(out)
    finished = {name for name in before if not name.endswith(".failed")}
    others = differing(out, on.whole)
    result = Result(
        before=begun,
        total=len(records(on.whole)),
        code=code,
        same=not others and states(on.whole).items() <= states(out).items(),
        twice=sum(after.get(name) != before[name] for name in finished),
        drafts=drafts(out),
        others=others,
    )
    remove_tree(out)
    return result


def _end(process: BaseProcess) -> None:
    if process.is_alive():
        process.kill()
        process.join()


def states(out: Location) -> Mapping[tuple[str, str], str]:
    """What became of each unit in the end."""
    return Ledger(out / "ledger").states().of


@contextmanager
def broken(kind: str, folder: Path) -> Iterator[Round]:
    """Rounds in which a run breaks and is started again."""
    with ground(folder, kind) as on:
        yield partial(one, on, kind)


AFTERWARDS: dict[str, Callable[[Path], AbstractContextManager[Round]]] = {
    "a zombie wakes": zombie,
    "a stage is left of other files": stage,
    "growth under readers": growth,
    "overviews of a growth that is killed": overviews,
}


def main() -> None:
    every = {**{kind: partial(broken, kind) for kind in KINDS}, **AFTERWARDS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(every)}")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    FORKS.set_forkserver_preload(["s2sharp.execution.execute", "tests.benchmarks.chaos"])
    rng = random.Random(given.seed)
    console = Console(width=140)
    shown = Table(title="What there was when the same run had been started again")
    columns = (
        "what broke",
        "rounds",
        "done before",
        "broke off",
        "all equal",
        "of other content",
        "till verify saw it",
        "twice",
        "drafts",
    )
    for column in columns:
        shown.add_column(column, justify="right")
    for kind in [k for k in every if not given.kinds or any(part in k for part in given.kinds)]:
        with tempfile.TemporaryDirectory() as name, every[kind](Path(name)) as play:
            found = []
            for number in range(given.rounds):
                begin = time.monotonic()
                found.append(play(rng))
                console.print(kind, number, found[-1], f"{time.monotonic() - begin:.1f} s")
        shown.add_row(
            kind,
            str(len(found)),
            f"{sum(r.before for r in found) / len(found):.0f} of {max(r.total for r in found)}",
            str(sum(bool(r.code) for r in found)),
            str(sum(r.same for r in found)),
            str(sum(r.others for r in found)),
            str(sum(r.seen for r in found)),
            str(sum(r.twice for r in found)),
            str(sum(r.drafts for r in found)),
        )
    console.print(shown)


if __name__ == "__main__":
    main()
