"""Rounds after which a cube may hold what it should not: a worker wakes too late, a stage is stale, a cube grows.

Each of :data:`ROUNDS` prepares what its rounds have in common, and gives a function that does one.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import xarray as xr
import zarr
from pyproj import Transformer
from s2sharp.cube.layout import Layout, level_group
from s2sharp.cube.open import open_cube
from s2sharp.cube.overviews import overview
from s2sharp.cube.write import read_part
from s2sharp.demo.synthetic import COLLECTION, simulate, write_catalogue
from s2sharp.execution.verify import verify_run
from s2sharp.planning.frozen import read_plan
from s2sharp.storage.files import files
from s2sharp.storage.location import Location

from s2sharp_core import S2SharpError
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
        """The catalogue of these, their files copied to where those of that ``name`` lie."""
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
        write_catalogue(self.folder, placed)

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


@dataclass
class Growth:
    """A landscape on some days, and its cube made at once in ``whole``."""

    ground: Ground
    days: list[str]
    whole: Path
    layout: Layout

    def steps(self, rng: random.Random) -> list[dict[str, Any]]:
        """Three queries: somewhere inside, for a larger area, and for all that there is."""
        area, (height, width) = self.layout.area, self.layout.area.shape
        row, col = area.row0 + rng.randrange(height - 6), area.col0 + rng.randrange(width - 6)
        inner = Box(row, row + rng.randrange(4, 10), col, col + rng.randrange(4, 10)) & area
        up, down, left, right = (rng.choice([0, rng.randrange(10)]) for _ in range(4))
        outer = Box(inner.row0 - up, inner.row1 + down, inner.col0 - left, inner.col1 + right)
        some = [
            {"bbox": self._degrees(box), "datetime": rng.choice(self.days)}
            for box in (inner, outer & area)
        ]
        return [*some, {}]

    def _degrees(self, cells: Box) -> Bounds:
        layout = self.layout
        to_degrees = Transformer.from_crs(layout.epsg, 4326, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(*layout.lattice.bounds(cells))
        return west, south, east, north

    def doomed(self, out: Path, rng: random.Random) -> Blow | None:
        """For every other run: the moment at which its client is killed."""
        return rng.choice([None, Blow(str(out), rng.randrange(1, TOUCHES[""]))])


@contextmanager
def _growing(folder: Path, days: int) -> Iterator[Growth]:
    with cluster(folder, 2) as there:
        ground = Ground(folder, there, SMALL)
        simulate(ground.archive, cells=CELLS, tiles=1, dates=days, seed=5)
        whole = folder / "whole"
        ground.do(whole)
        times = open_cube(whole).time.values
        yield Growth(ground, [str(t)[:10] for t in times], whole, read_plan(whole).layouts[0])


@contextmanager
def growth(folder: Path) -> Iterator[Round]:
    """A cube grows to all sides, killed at times, while those who opened it before read here and there."""
    with _growing(folder, 1) as on:

        def one(rng: random.Random) -> Result:
            out, eyes = (
                on.ground.fresh(),
                random.Random(rng.random()),
            )  # nobody knows how often they look
            readers: list[Reader] = []
            reads: list[Read] = []
            states: list[Reader] = []
            before, code = 0, None
            for query in on.steps(rng):
                for blow in (on.doomed(out, rng), None):
                    process = on.ground.start(out, blow, **query)
                    while process.is_alive():
                        time.sleep(0.02)
                        reads += _read(readers, eyes)
                    process.join()
                    reads += [x for _ in range(20) for x in _read(readers, eyes)]
                    fresh = [*_readers(out)]
                    readers += fresh
                    if process.exitcode == 0:
                        states += [reader for reader in fresh if reader.raw]
                        break
                    before, code = len(records(out)), process.exitcode
            wrong = sum(not _known(read, states) for read in reads)
            same = _unlike(on, out) == 0
            return Result(
                before, len(records(on.whole)), code, same, drafts=drafts(out), others=wrong
            )

        yield one


@dataclass(frozen=True)
class Reader:
    """One who opened a level of a cube by our own function, or by xarray's (``raw``); ``seen``: what it held then."""

    level: int
    raw: bool
    lazy: xr.Dataset
    seen: xr.Dataset
    area: Bounds


def _readers(out: Path) -> Iterator[Reader]:
    for level in (0, 1, 2):
        with suppress(S2SharpError, FileNotFoundError):
            ours = [open_cube(out, level=level) for _ in "ab"]
            group = level_group(read_plan(out).layouts[0], level)
            raw = [xr.open_zarr(out / "cube.zarr", group=group) for _ in "ab"]
            area = raw[0].attrs["s2sharp"]["area"]
            yield Reader(level, False, ours[0], ours[1].load(), area)
            yield Reader(level, True, raw[0], raw[1].load(), area)


@dataclass(frozen=True)
class Read:
    """A window that a reader looked at."""

    reader: Reader
    now: xr.DataArray

    @property
    def then(self) -> xr.DataArray:
        return self.reader.seen[self.now.name].sel(x=self.now.x, y=self.now.y)

    @property
    def inside(self) -> np.ndarray:
        """Pixels that lie wholly in the area that the cube had; on its edge, those of overviews show what comes, too."""
        left, bottom, right, top = self.reader.area
        half = 5.0 * 2**self.reader.level
        x, y = self.now.x.values, self.now.y.values[:, None]
        return (x - half >= left) & (x + half <= right) & (y - half >= bottom) & (y + half <= top)


def _read(readers: list[Reader], rng: random.Random) -> Iterator[Read]:
    """A window somewhere; none where an error tells that it cannot be read."""
    if readers:
        reader = rng.choice(readers)
        window = {}
        for dim in ("y", "x"):
            begin = rng.randrange(reader.lazy.sizes[dim])
            window[dim] = slice(begin, begin + rng.randrange(1, 60))
        part = reader.lazy[rng.choice([*reader.seen.data_vars])].isel(window)
        with suppress(OSError, ValueError, RuntimeError, KeyError):
            yield Read(reader, part.compute(scheduler="synchronous"))


def _known(read: Read, states: list[Reader]) -> bool:
    """Whether values are those of the cube as it was opened or, where it had none and beyond its area, of these places
    in one that it became.
    """
    good, then = _equal(read.now, read.then), read.then
    free = ~read.inside | (np.isnan(then) if then.dtype.kind == "f" else then == 0).values
    for state in states:
        if state.level == read.reader.level:
            x, y = read.now.x, read.now.y
            fill = np.nan if read.now.dtype.kind == "f" else 0
            later = state.seen[read.now.name].reindex(x=x, y=y, fill_value=fill)
            good |= free & _equal(read.now, later)
    return bool(good.all())


def _equal(a: xr.DataArray, b: xr.DataArray) -> np.ndarray:
    """Whether pixels are the same; xarray scales them in float64, we in float32."""
    return np.isclose(a.values, b.values, rtol=1e-6, atol=0, equal_nan=True)


@contextmanager
def overviews(folder: Path) -> Iterator[Round]:
    """A cube gets other dates and a larger area, killed at times, and goes on with the same query or the next one."""
    with _growing(folder, 3) as on:

        def one(rng: random.Random) -> Result:
            out, stale = on.ground.fresh(), 0
            before, code = 0, None
            for query in on.steps(rng):
                for blow in (on.doomed(out, rng), None):
                    ended = on.ground.do(out, blow, **query)
                    if ended == 0:
                        stale += _stale(out)
                        break
                    before, code = len(records(out)), ended
                    if query and rng.random() < 0.5:
                        break
            others = stale + _unlike(on, out)
            return Result(
                before, len(records(on.whole)), code, not others, drafts=drafts(out), others=others
            )

        yield one


def _stale(out: Path) -> int:
    """Shards of overviews, of any date, that are not what the level below shows."""
    plan, count = read_plan(out), 0
    (layout,) = plan.layouts
    for time_, level in np.ndindex(len(layout.times), layout.levels):
        for row, col in np.ndindex(layout.shards(level + 1)):
            made = overview(plan.store, layout, time_, row, col, level + 1)
            place = layout.place(row, col, level + 1)
            count += any(
                not np.array_equal(x, read_part(plan.store, layout, name, time_, place, level + 1))
                for name, x in made.items()
            )
    return count


def _unlike(on: Growth, out: Path) -> int:
    """Pictures, of any date, variable and level, that differ from those of the cube made at once."""
    count = 0
    for level in range(on.layout.levels + 1):
        theirs, ours = open_cube(on.whole, level=level).load(), open_cube(out, level=level)
        ours = ours.sel(x=theirs.x, y=theirs.y).load()
        assert (ours.time.values == theirs.time.values).all()
        count += sum(
            not _equal(ours[name][t], theirs[name][t]).all()
            for name in theirs.data_vars
            for t in range(theirs.sizes["time"])
        )
    return count


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

ROUNDS: dict[str, Callable[[Path], AbstractContextManager[Round]]] = {
    "a zombie wakes": zombie,
    "a stage is left of other files": stage,
    "growth under readers": growth,
    "overviews of a growth that is killed": overviews,
}
