"""Explanation of one unit: its reads and writes, before any pixel is read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, MEASURED, native_gsd
from s2sharp_core.lattice import Box

from ..catalog.addresses import public
from ..cube.layout import Layout, Sharded, shard_file
from ..publish.cogs import variables
from ..publish.stretch import TRUE_COLOUR
from ..scenes.acquisition import Acquisition
from ..storage.location import Location
from .client_plan import ClientPlan
from .plan import Plan
from .unit_states import UnitStates
from .units import Unit


@dataclass(frozen=True)
class Read:
    """A window of one file: half-open ranges of ``rows`` and ``cols`` in pixels; ``size`` in bytes of pixels."""

    item: str
    band: str
    href: str
    rows: tuple[int, int]
    cols: tuple[int, int]
    size: int


@dataclass(frozen=True)
class Explanation:
    """Reads and writes of a unit.

    ``cells``: cells that are written; ``context``: cells around them that are read, too; ``reads``: windows of files;
    ``below``: keys in the cube's store that an overview or published files are made from; ``writes``: keys in ``place``,
    the cube's store or, for published files, OUT; ``bounds``: (left, bottom, right, top) in metres of ``epsg``.
    """

    unit: str
    key: str
    epsg: int
    cells: Box
    bounds: tuple[float, float, float, float]
    place: Location
    below: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    context: int = 0
    windows: int = 0
    reads: tuple[Read, ...] = ()


def explain(plan: ClientPlan, name: str) -> Explanation:
    """Explain a unit, given by its name in the ledger or, at full resolution, its number; else ``unit-unknown``.

    Numbers count from 1. Names are ``ACQUISITION/x1_ROW_COL``, with x2, x4, … for overviews, and
    ``ACQUISITION/published``.
    """
    unit = _unit(plan, name)
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)
    cells = plan.wanted(unit) if unit.level >= 0 else acquisition.box & layout.area
    about = Explanation(
        unit=plan.name(unit),
        key=plan.key(unit, UnitStates(plan).below(unit)),
        epsg=unit.epsg,
        cells=cells,
        bounds=layout.lattice.bounds(cells),
        place=plan.store,
    )
    names = [*layout.bands, *layout.layers]
    if unit.level < 0:
        names, writes = _published(layout, acquisition)
        below = _keys(layout, names, layout.shards_in(cells), unit.time)
        return replace(about, below=below, writes=writes, place=plan.out)
    here = [(unit.row, unit.col)]
    writes = _keys(layout, names, here, unit.time, unit.level)
    if unit.level:
        shards = layout.shards_in(layout.cells(*here[0], unit.level), unit.level - 1)
        below = _keys(layout, names, shards, unit.time, unit.level - 1)
        return replace(about, below=below, writes=writes)
    if layout.native is not None:
        writes += _keys(layout.native, layout.native.bands, here, unit.time)
    windows = sum(1 for _ in (cells & acquisition.box).tiles(plan.config.window))
    reads = tuple(_reads(plan, unit))
    return replace(about, writes=writes, context=plan.margin, windows=windows, reads=reads)


def _published(layout: Layout, acquisition: Acquisition) -> tuple[list[str], tuple[str, ...]]:
    """Return the variables of the cube that published files are made from, and these files.

    They are COGs and pictures, for which some native pixels are read, too.
    """
    classified = any(scene.scl for scene in acquisition.scenes)
    names = [name for name in variables(layout) if name != "cloud" or classified]
    coarse = any(BANDS[band].gsd > 10 for band in layout.bands)
    made = [f"cogs/{acquisition.id}/{name}.tif" for name in names]
    pictures = [f"pictures/{acquisition.id}.png"] if coarse else []
    if set(TRUE_COLOUR) <= set(names):
        made.append(f"cogs/{acquisition.id}/visual.tif")
        pictures.append(f"pictures/{acquisition.id}-small.jpg")
    return names, (*made, *pictures)


def _keys(
    layout: Sharded,
    names: Iterable[str],
    shards: Iterable[tuple[int, int]],
    time: int,
    level: int = 0,
) -> tuple[str, ...]:
    return tuple(shard_file(layout, n, time, *shard, level) for shard in shards for n in names)


def _unit(plan: ClientPlan, name: str) -> Unit:
    names = []
    for number, unit in enumerate(plan.units(), 1):
        if name in (str(number), plan.name(unit)):
            return unit
        names.append(plan.name(unit))
    overviews = (plan.overviews(level) for level in range(1, plan.levels + 1))
    for unit in chain(*overviews, plan.pictures() if plan.config.publish else ()):
        if name == plan.name(unit):
            return unit
    raise S2SharpError(
        "unit-unknown",
        f"The plan has no unit {name}; it has {len(names)}: {', '.join(names[:3])} …",
        "Give one of their names, that of an overview or of what is published as the ledger has it, or a number from 1. "
        "What a fit learned from stands in OUT/fits/DATATAKE/sample.json.",
    )


def _reads(plan: Plan, unit: Unit) -> Iterator[Read]:
    around = plan.wanted(unit).grow(plan.margin)
    for scene in plan.acquisition(unit).within(around):
        files = [s for s in scene.sources if s.band in plan.files]
        for source in (*files, *([scene.scl] if scene.scl else [])):
            gsd = native_gsd(source.band)
            inner = scene.box & (around if source.band in BANDS else plan.wanted(unit))
            if inner.empty:
                continue
            rows, cols = scene.box.slices(inner, gsd)
            pixels = (rows.stop - rows.start) * (cols.stop - cols.start)
            size = pixels * (2 if source.band in MEASURED else 1)
            window = (rows.start, rows.stop), (cols.start, cols.stop)
            yield Read(scene.id, source.band, public(source.href), *window, size)
