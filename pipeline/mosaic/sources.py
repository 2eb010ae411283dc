"""Sources of a mosaic: the acquisitions of a cube, read from its store alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.lattice import Box, Lattice

from ..catalog.addresses import safe_name
from ..cube.root import no_store, open_root, store_in
from ..engine.ledger import FINAL, Ledger
from ..storage.arrays import arrays_of
from ..storage.location import Located, Location, store_errors
from .grid import Grid, within


@dataclass(frozen=True)
class CubeDate:
    """An acquisition in one EPSG code: ``time`` is its index in the group's arrays.

    ``datetime``: ISO 8601 in UTC.
    """

    id: str
    datetime: str
    epsg: int
    time: int

    @property
    def take(self) -> str:
        """Name of the datatake, which other EPSG codes may share."""
        return self.id.removesuffix(f"_{self.epsg}")


@dataclass(frozen=True)
class Group:
    """The arrays of one EPSG code: ``box`` covers them, ``area`` is the requested part, in pixels of 10 m.

    ``shard``: side of a shard in pixels; ``levels``: number of overviews.
    """

    epsg: int
    box: Box
    area: Box
    shard: int
    levels: int

    @property
    def grid(self) -> Grid:
        return Grid(f"EPSG:{self.epsg}", 10.0)

    def shards(self, window: Box) -> set[tuple[int, int]]:
        """Return the shards that meet ``window``, counted on the lattice."""
        held = window & self.box
        if held.empty:
            return set()
        # Rows of the grid count from the CRS's origin, those of the lattice from its top.
        top = round(Lattice.of(self.epsg).y0 / 10)
        rows = range((top + held.row0) // self.shard, -(-(top + held.row1) // self.shard))
        cols = range(held.col0 // self.shard, -(-held.col1 // self.shard))
        return set(product(rows, cols))


@dataclass(frozen=True)
class Cube:
    """Content of a cube: ``groups`` by EPSG code; ``sources`` in order of time; ``status`` of the cube."""

    store: Located
    bands: tuple[str, ...]
    groups: dict[int, Group]
    sources: tuple[CubeDate, ...]
    status: str
    software: str


def read_cube(out: Location) -> Cube:
    """Describe the cube of the run in ``out``, or the store ``out`` itself; ``not-a-cube`` if it is none."""
    store = store_in(out, "cube")
    root, about = open_root(store, "cube", fresh=True)
    try:
        status = str(about["status"])
        names = sorted(int(name) for name in root.group_keys())
        groups: dict[int, Any] = {epsg: root[str(epsg)] for epsg in names}
        facts: dict[int, Any] = {epsg: group.attrs["s2sharp"] for epsg, group in groups.items()}
        sources = [
            _source(acquisition, epsg, time)
            for epsg, made in facts.items()
            for time, acquisition in enumerate(made["acquisitions"])
            if time not in made.get("removed", ())
        ]
    except store_errors(KeyError, TypeError, ValueError) as error:
        raise no_store(store, "cube", error) from error
    if not sources:
        raise S2SharpError(
            "not-a-cube", f"{store} holds no acquisition.", "Run again with another --datetime."
        )
    first = groups[names[0]]
    return Cube(
        store=store,
        bands=tuple(band for band in BANDS if band in first),
        groups={e: _group(e, group, facts[e]) for e, group in groups.items()},
        sources=tuple(sorted(sources, key=lambda s: (s.datetime, s.epsg, s.id))),
        status=status,
        software=str(facts[names[0]].get("software", "")),
    )


def _source(acquisition: Mapping[str, Any], epsg: int, time: int) -> CubeDate:
    name, when = str(acquisition["id"]), datetime.fromisoformat(acquisition["datetime"])
    # The name is that of a folder of the ledger; safe_name marks its changes by "~".
    if safe_name(name.replace("~", "_")) != name.replace("~", "_"):
        raise ValueError(f"{name!r} is no acquisition's name")
    return CubeDate(name, f"{when:%Y-%m-%dT%H:%M:%S}", epsg, time)


def _group(epsg: int, group: Any, made: Mapping[str, Any]) -> Group:
    grid = Grid(f"EPSG:{epsg}", 10.0)
    return Group(
        epsg=epsg,
        box=grid.around(tuple(group.attrs["spatial:bbox"])),
        area=grid.around(tuple(made["area"])),
        shard=group["valid"].shards[1],
        levels=sum(1 for name in group.group_keys() if name.startswith("x")),
    )


def read_window(
    cube: Cube, source: CubeDate, names: tuple[str, ...], window: Box, level: int = 0
) -> np.ndarray:
    """Read (variables, height, width) of one acquisition as stored.

    ``window``: pixels of the group's grid; for an overview, its own pixels, counted from the arrays' corner.

    Error: ``asset-unreadable``.
    """
    group = cube.groups[source.epsg]
    folder = str(group.epsg) if level == 0 else f"{group.epsg}/x{2**level}"
    rows, cols = within(Box(0, 0, 0, 0) if level else group.box, window)
    read = []
    for name in names:
        try:
            arrays = arrays_of(cube.store, folder)
            read.append(np.asarray(arrays[name][source.time, rows, cols]))
        except store_errors(RuntimeError, ValueError, KeyError) as error:
            raise S2SharpError(
                "asset-unreadable",
                f"{name} of {source.id} cannot be read from {cube.store / folder} at pixels {rows.start}:"
                f"{rows.stop}, {cols.start}:{cols.stop}: {type(error).__name__}: {error}.",
                "Find broken files with `s2sharp verify OUT`, and run again, which makes them anew.",
            ) from error
    return np.stack(read)


def done_units(cube: Cube, source: CubeDate) -> dict[tuple[int, int], tuple[str, ...]]:
    """Return for each shard of an acquisition, counted on the lattice, "KEY.STATUS" of its units, by the cube's ledger."""
    done: dict[tuple[int, int], tuple[str, ...]] = {}
    for (unit, key), status in Ledger(ledger_folder(cube)).states(source.id).of.items():
        _, found, shard = unit.partition("/x1_")
        if found and status in FINAL:
            row, col = (int(n) for n in shard.split("_"))
            done[row, col] = tuple(sorted({*done.get((row, col), ()), f"{key}.{status}"}))
    return done


def ledger_folder(cube: Cube) -> Location:
    """Return the folder of the ledger of the cube's run, which is missing if the cube was moved."""
    return cube.store.parent / "ledger"
