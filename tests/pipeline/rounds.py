"""Rounds in which a tile is processed again: a worker wakes when its run has been done by others, a stage is stale.

Each kind prepares what its rounds have in common, and gives a function that does one.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import zarr
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import COLLECTION, write_catalog
from s2sharp.execution.verify import verify_run
from s2sharp.storage.files import files
from s2sharp.storage.location import Location

from s2sharp_core.lattice import Box

from ..core.scenes import box_at
from .chaos import BANDS, IMPATIENT, Cluster, cluster
from .moments import SHARPEN, STAGE, Blow, at_work, start
from .pictures import noise, scenes
from .runs import records, shards

SMALL = {"bands": BANDS[:2], "window": 6, "shard": 6, "retries": 1}
CELLS = 22
"""Side of a picture: sixteen units, and their overviews."""

Bounds = tuple[float, float, float, float]


@dataclass
class Result:
    """Of one round: what was done when it broke, how the broken run ended, and what was found after the next one.

    ``before``: records in the ledger, ``total`` of so many; ``others``: shards of other content after the fact, or what
    was read of other content; ``seen``: shards that were, until ``verify`` saw them.
    """

    before: int
    total: int
    code: int | None
    same: bool
    twice: int = 0
    drafts: int = 0
    others: int = 0
    seen: int = 0


Round = Callable[[random.Random], Result]


@dataclass
class Ground:
    """An archive, a cluster, and where runs of the same kind write, each to a folder of its own."""

    folder: Path
    cluster: Cluster
    about: Mapping[str, Any]
    runs: list[Path] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def fresh(self) -> Path:
        """A folder for the next run; that of the one before goes."""
        for out in self.runs[-1:]:
            shutil.rmtree(out, ignore_errors=True)
        self.runs.append(self.folder / f"run-{len(self.runs)}")
        return self.runs[-1]

    def start(
        self, out: Path, blow: Blow | None = None, task: str = "", **more: Any
    ) -> BaseProcess:
        about = {**self.about, **more}
        return start(self.archive, out, self.cluster.address, about, IMPATIENT, blow, task)

    def do(self, out: Path, blow: Blow | None = None, task: str = "", **more: Any) -> int | None:
        """Do a run as far as it comes: 0, or how it ended."""
        process = self.start(out, blow, task, **more)
        process.join(300)
        assert blow or process.exitcode == 0, f"{out}: {process.exitcode}"
        return process.exitcode


@dataclass
class Tiles:
    """Two tiles of one acquisition, the first of which is processed again: another id and baseline, other pixels."""

    folder: Path
    first: list[pystac.Item]
    again: list[pystac.Item]

    def publish(self, items: list[pystac.Item], name: str) -> None:
        """The catalog of these, their files copied to where those of that ``name`` lie."""
        placed = []
        for number, item in enumerate(items):
            mine = item.clone()
            for band, asset in mine.assets.items():
                file = self.folder / name / str(number) / f"{band}.tif"
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(asset.href, file)
                asset.href = str(file)
            placed.append(mine)
        shutil.rmtree(self.folder / COLLECTION, ignore_errors=True)
        write_catalog(self.folder, placed)

    def reprocess(self, *, in_place: bool) -> None:
        """Publish the second version, over the files of the first or beside them."""
        self.publish(self.again, "first" if in_place else "again")


def _tiles(folder: Path) -> Tiles:
    box = box_at(CELLS, CELLS)
    middle = box.row0 + CELLS // 2
    halves = (
        Box(box.row0, middle + 3, box.col0, box.col1),
        Box(middle - 3, box.row1, box.col0, box.col1),
    )
    first = scenes(folder / "made", noise(box, *BANDS), box, *halves)
    newer = scenes(
        folder / "made again", noise(box, *BANDS, seed=1), box, *halves, baseline="05.12"
    )
    newer[0].id = newer[0].id.replace("_0_", "_1_")
    return Tiles(folder, first, [newer[0], first[1]])


@contextmanager
def _reprocessed(folder: Path, workers: int, **about: Any) -> Iterator[tuple[Ground, Tiles]]:
    """With a run of the second version alone in ``whole``."""
    with cluster(folder, workers) as there:
        ground = Ground(folder, there, {**SMALL, **about})
        tiles = _tiles(ground.archive)
        tiles.publish(tiles.again, "again")
        ground.do(folder / "whole")
        yield ground, tiles


@contextmanager
def zombie(folder: Path) -> Iterator[Round]:
    """A worker is stopped at its unit, its client killed, the tile processed again, the run done by others; it wakes."""
    with _reprocessed(folder, 1) as (ground, tiles), cluster(folder, 1) as others:
        elsewhere = Ground(folder, others, ground.about)

        def one(rng: random.Random) -> Result:
            out = ground.fresh()
            tiles.publish(tiles.first, "first")
            blow = Blow(str(out), rng.randrange(1, TOUCHES[SHARPEN]), signal.SIGSTOP)
            code = ground.do(out, blow, SHARPEN)
            before = len(records(out))
            tiles.reprocess(in_place=rng.random() < 0.5)
            elsewhere.do(out, since="last")
            _wake(ground.cluster)
            _until(lambda: not at_work(out))
            return _told(elsewhere, out, before, code)

        yield one


def _told(ground: Ground, out: Path, before: int, code: int | None) -> Result:
    """What is wrong and not seen by ``verify``: still there when what it names was made anew."""
    whole = ground.folder / "whole"
    total, over = len(records(whole)), _others(out, whole)
    verify_run(out)
    ground.do(out)
    silent = _others(out, whole)
    return Result(before, total, code, not silent, drafts=drafts(out), others=silent, seen=over)


def _wake(there: Cluster) -> None:
    with suppress(ProcessLookupError):
        os.kill(there.worker(random.Random(0)).pid, signal.SIGCONT)


def _until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for it twice in a row: what was waiting may just begin."""
    end, seen = time.monotonic() + seconds, 0
    while seen < 2:
        assert time.monotonic() < end
        time.sleep(0.2)
        seen = seen + 1 if done() else 0


@contextmanager
def stage(folder: Path) -> Iterator[Round]:
    """A run is killed while it stages, or a worker of it, too; the tile is processed again and the run done again."""
    with _reprocessed(folder, 2, stage="always") as (ground, tiles):

        def one(rng: random.Random) -> Result:
            out = ground.fresh()
            tiles.publish(tiles.first, "first")
            task = rng.choice(["", STAGE])
            moment = rng.randrange(1, TOUCHES[task])
            code = ground.do(out, Blow(str(out), moment), task)
            before = len(records(out))
            tiles.reprocess(in_place=rng.random() < 0.5)
            ground.do(out, since="last")
            others, total = _others(out, folder / "whole"), len(records(folder / "whole"))
            return Result(before, total, code, not others, drafts=drafts(out), others=others)

        yield one


def differing(out: Location, whole: Location) -> int:
    """Shards that are not those of another cube."""
    ours, theirs = shards(out), shards(whole)
    return sum(ours.get(name) != theirs.get(name) for name in ours.keys() | theirs.keys())


def _others(out: Path, whole: Path) -> int:
    """Shards that are not those of another cube; items of the two may have other numbers, which are looked up."""
    ours, theirs = shards(out), shards(whole)
    names = [name for name in ours.keys() | theirs.keys() if "/source/" not in name]
    unlike = sum(ours.get(name) != theirs.get(name) for name in names)
    return unlike + int(not np.array_equal(_named(out), _named(whole)))


def _named(out: Path) -> np.ndarray:
    """The item that each pixel is from."""
    (facts,) = (
        group.attrs["s2sharp"] for _, group in zarr.open_group(out / "cube.zarr", mode="r").groups()
    )
    (acquisition,) = facts["acquisitions"]
    return np.array(["", *acquisition["items"]])[open_cube(out).source.values]


def drafts(out: Location) -> int:
    return sum(name.endswith(".partial") for name in files(out))


TOUCHES = {SHARPEN: 600, STAGE: 600, "": 900}
"""How often a worker at these, or a client, touches files of so small a run: about."""
