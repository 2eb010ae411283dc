"""Rounds in which a cube grows: what those who opened it before see, and what becomes of its overviews."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from pyproj import Transformer
from s2sharp.cube.layout import Layout, level_group
from s2sharp.cube.open import open_cube
from s2sharp.cube.overviews import overview
from s2sharp.cube.write import read_part
from s2sharp.demo.synthetic import simulate
from s2sharp.planning.plan import Plan

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .chaos import cluster
from .moments import Blow
from .rounds import CELLS, SMALL, TOUCHES, Ground, Result, Round, drafts
from .runs import records

Bounds = tuple[float, float, float, float]


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
        yield Growth(ground, [str(t)[:10] for t in times], whole, Plan.read(whole).layouts[0])


@contextmanager
def growth(folder: Path) -> Iterator[Round]:
    """A cube grows to all sides, killed at times, while those who opened it before read here and there."""
    with _growing(folder, 1) as on:

        def one(rng: random.Random) -> Result:
            out = on.ground.fresh()
            eyes = random.Random(rng.random())  # nobody knows how often they look
            readers: list[Reader] = []
            reads: list[Read] = []
            states: list[Reader] = []
            before, code = 0, None
            for query in on.steps(rng):
                for blow in (on.doomed(out, rng), None):
                    process = on.ground.start(out, blow, **query)
                    while process.is_alive():
                        time.sleep(0.1)
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
            group = level_group(Plan.read(out).layouts[0], level)
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
    plan, count = Plan.read(out), 0
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
