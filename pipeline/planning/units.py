"""Units of a run, and their names in the ledger."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from s2sharp_core.lattice import Box

from ..cube.layout import Layout
from ..scenes.acquisition import Acquisition


@dataclass(frozen=True)
class Unit:
    """A unit of work, which a worker does and records as one: a shard of an acquisition, or of an overview.

    ``time``: index of the acquisition in its group; ``row``, ``col``: those of the shard in the array of ``level``; level
    −1: all published files of the acquisition.
    """

    epsg: int
    time: int
    row: int
    col: int
    level: int = 0


@dataclass(frozen=True)
class Datatake:
    """A whole datatake in the catalog, whatever the area, for measuring its sensor and fitting a method."""

    take: str
    acquisitions: tuple[Acquisition, ...]


def by_datatake(acquisitions: Iterable[Acquisition]) -> tuple[Datatake, ...]:
    """Group acquisitions by their datatake."""
    takes: dict[str, list[Acquisition]] = {}
    for acquisition in acquisitions:
        takes.setdefault(acquisition.take, []).append(acquisition)
    return tuple(Datatake(take, tuple(takes[take])) for take in sorted(takes))


def unit_name(layout: Layout, unit: Unit) -> str:
    """Return a unit's path in the ledger: its acquisition, and its shard counted on the lattice."""
    whose = layout.ids[unit.time]
    if unit.level < 0:
        return f"{whose}/published"
    down, right = _offset(layout) if unit.level == 0 else (0, 0)
    return f"{whose}/x{2**unit.level}_{unit.row + down}_{unit.col + right}"


def unit_named(layout: Layout, time: int, name: str) -> Unit | None:
    """Return the unit of an acquisition with a name from :func:`unit_name`; None if its group has no such unit."""
    what = name.rpartition("/")[2]
    if what == "published":
        return Unit(layout.epsg, time, 0, 0, level=-1)
    found = re.fullmatch(r"x(\d+)_(-?\d+)_(-?\d+)", what)
    if found is None:
        return None
    scale, row, col = map(int, found.groups())
    level = scale.bit_length() - 1
    down, right = _offset(layout) if level == 0 else (0, 0)
    unit = Unit(layout.epsg, time, row - down, col - right, level)
    rows, cols = layout.shards(level) if level <= layout.levels else (0, 0)
    return unit if 0 <= unit.row < rows and 0 <= unit.col < cols else None


def _offset(layout: Layout) -> tuple[int, int]:
    """Return the number of shards of the lattice above and left of the arrays."""
    return layout.box.row0 // layout.shard, layout.box.col0 // layout.shard


def strips(cells: Box, window: int, abreast: int) -> list[Box]:
    """Cut a unit into strips, which are read ahead and held one at a time: rows of windows with ``abreast`` windows or more.

    That is one for each thread: threads that share a window wait for each other after each of its small steps. Of a GPU it
    is a batch. ``window``: the side of a window, or of several that are sharpened as one (:func:`~.method.side_of`).
    """
    across = -(-cells.col1 // window) - cells.col0 // window
    side = window * -(-max(1, abreast) // max(1, across))
    edges = range(cells.row0 // window * window, cells.row1, side)
    return [
        Box(max(cells.row0, row), min(cells.row1, row + side), cells.col0, cells.col1)
        for row in edges
    ]
