"""Explanation of one unit: its reads and writes, before any pixel is read."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, MEASURED, native_gsd
from s2sharp_core.lattice import Box

from ..catalog.addresses import public
from ..cube.layout import Layout, shard_file
from ..publish.cogs import variables
from ..publish.stretch import TRUE_COLOUR
from ..storage.location import Location
from .client import ClientPlan
from .plan import Plan
from .standings import Standings
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
    below: tuple[str, ...]
    writes: tuple[str, ...]
    place: Location
    context: int = 0
    windows: int = 0
    reads: tuple[Read, ...] = ()


def explain(plan: ClientPlan, name: str) -> Explanation:
    """Explain a unit, given by its name in the ledger or, at full resolution, by its number from 1.

    Names are ``ACQUISITION/x1_ROW_COL``, with x2, x4, … for overviews, and ``ACQUISITION/published``.

    Raises
    ------
    S2SharpError
        ``unit-unknown``, with existing names.
    """
    unit, known = _unit(plan, name), Standings(plan)
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)
    if unit.level < 0:
        return _published(plan, unit, known)
    wanted = plan.wanted(unit)
    names = (*layout.bands, *layout.layers, *(() if unit.level else layout.native_names))
    below = list(_below(layout, unit)) if unit.level else []
    about = Explanation(
        unit=plan.name(unit),
        key=plan.key(unit, known.below(unit)),
        epsg=unit.epsg,
        cells=wanted,
        bounds=layout.lattice.bounds(wanted),
        below=tuple(_key(layout, name, shard) for shard in below for name in names),
        writes=tuple(_key(layout, name, unit) for name in names),
        place=plan.store,
    )
    if unit.level:
        return about
    windows = sum(1 for _ in (wanted & acquisition.box).tiles(plan.config.window))
    reads = tuple(_reads(plan, unit))
    return replace(about, context=plan.margin, windows=windows, reads=reads)


def _published(plan: Plan, unit: Unit, known: Standings) -> Explanation:
    """Explain the published files of an acquisition: COGs, and a picture, for which some native pixels are read, too."""
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)
    cells = acquisition.box & layout.area
    classified = any(scene.scl for scene in acquisition.scenes)
    names = [name for name in variables(layout) if name != "cloud" or classified]
    shards = [replace(unit, row=r, col=c, level=0) for r, c in layout.shards_in(cells)]
    coarse = any(BANDS[band].gsd > 10 for band in layout.bands)
    pictures = [f"pictures/{acquisition.id}.png"] if coarse else []
    made = list(names)
    if set(TRUE_COLOUR) <= set(names):
        made.append("visual")
        pictures.append(f"pictures/{acquisition.id}-small.jpg")
    return Explanation(
        unit=plan.name(unit),
        key=plan.key(unit, known.below(unit)),
        epsg=unit.epsg,
        cells=cells,
        bounds=layout.lattice.bounds(cells),
        below=tuple(_key(layout, name, shard) for shard in shards for name in names),
        writes=(*(f"cogs/{acquisition.id}/{name}.tif" for name in made), *pictures),
        place=plan.out,
    )


def _key(layout: Layout, name: str, unit: Unit) -> str:
    return shard_file(layout, name, unit.time, unit.row, unit.col, unit.level)


def _below(layout: Layout, unit: Unit) -> Iterator[Unit]:
    """Yield the shards, four at most, that a shard of an overview is made from."""
    rows, cols = layout.shards(unit.level - 1)
    for row, col in itertools.product((0, 1), (0, 1)):
        down, right = 2 * unit.row + row, 2 * unit.col + col
        if down < rows and right < cols:
            yield replace(unit, row=down, col=right, level=unit.level - 1)


def _unit(plan: ClientPlan, name: str) -> Unit:
    names = []
    for number, unit in enumerate(plan.units(), 1):
        if name in (str(number), plan.name(unit)):
            return unit
        names.append(plan.name(unit))
    for level in range(1, plan.levels + 1):
        for unit in plan.overviews(level):
            if name == plan.name(unit):
                return unit
    for unit in plan.pictures() if plan.config.publish else ():
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
