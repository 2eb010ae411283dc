"""Plan of a mosaic: its tiles, listed lazily, and their keys; frozen in one file that every worker reads."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

from s2sharp_core.lattice import Box

from ..engine.frozen_plan import Frozen
from ..storage.location import Location
from .composite import FAR
from .config import BLOCK, MosaicConfig
from .grid import Grid
from .periods import Period, by_preference
from .resample import reach
from .sources import Cube, CubeDate, Group, done_units, ledger_folder
from .store import Canvas

_PIXEL = 10.0
"""Side of the cube's pixels, in metres."""

_EARTH = 6_371_000.0
"""Radius of the Earth in metres."""


@dataclass(frozen=True)
class Tile:
    """A unit of work: one shard of one period, or of its overview ``level``.

    ``period``: its index; ``row``, ``col``: those of the shard in the arrays of ``level``.
    """

    period: int
    row: int
    col: int
    level: int = 0


Takes = tuple[tuple[CubeDate, ...], ...]
"""Datatakes in order of preference, each in all its EPSG codes."""


class MosaicPlan(Frozen):
    """A mosaic, frozen as ``mosaic.json`` before its first tile.

    ``sources``: all acquisitions, in the order in which the ``source`` layer counts them, from 1; ``periods``: in the
    order of the store's times; ``area``: the requested pixels.
    """

    FILE = "mosaic.json"
    FLAG = "--to"

    software: str
    config: MosaicConfig
    cube: Cube
    grid: Grid
    area: Box
    side: int
    sources: tuple[CubeDate, ...]
    periods: tuple[Period, ...]

    @property
    def folder(self) -> Location:
        return self.config.to

    def settled(self, folder: Location) -> "MosaicPlan":
        """Return the plan with the folder where it lies now."""
        return self.model_copy(update={"config": self.config.model_copy(update={"to": folder})})

    @property
    def store(self) -> Location:
        return self.config.to / "mosaic.zarr"

    @property
    def bands(self) -> tuple[str, ...]:
        return self.config.bands or self.cube.bands

    @property
    def canvas(self) -> Canvas:
        return Canvas(
            grid=self.grid,
            area=self.area,
            side=self.side,
            chunk=BLOCK,
            bands=self.bands,
            periods=self.periods,
            by=self.config.by,
        )

    @property
    def reach(self) -> int:
        """Pixels of the cube around a tile that it depends on: those of cloud, and of its border."""
        return FAR + math.ceil(self.config.dilate / _PIXEL) + 1

    @property
    def ring(self) -> int:
        """Pixels of the mosaic around a tile that it is blended with."""
        metres = self.grid.metres
        return math.ceil(self.config.feather / metres) if self.config.feather and metres else 0

    @cached_property
    def numbers(self) -> dict[CubeDate, int]:
        """Number of each acquisition in the ``source`` layer."""
        return {source: number for number, source in enumerate(self.sources, 1)}

    @cached_property
    def _takes(self) -> tuple[Takes, ...]:
        return tuple(by_preference(period, self.sources) for period in self.periods)

    @cached_property
    def _traced(self) -> bool:
        """True if the cube has a ledger, which records where it holds data."""
        return ledger_folder(self.cube).exists()

    @cached_property
    def _done(self) -> Callable[[CubeDate], dict[tuple[int, int], tuple[str, ...]]]:
        return cache(partial(done_units, self.cube))

    def tiles(self, level: int = 0) -> Iterator[Tile]:
        """Yield the tiles of the full resolution, or of an overview, period by period, row by row."""
        rows, cols = map(range, self.canvas.shards(level))
        for period, row, col in itertools.product(range(len(self.periods)), rows, cols):
            yield Tile(period, row, col, level)

    def box(self, tile: Tile) -> Box:
        """Return the pixels of a tile of the full resolution."""
        return self.canvas.tile(tile.row, tile.col)

    def name(self, tile: Tile, what: str = "") -> str:
        """Return a tile's path in the ledger: period, row and column, at full resolution counted from the CRS's origin."""
        row, col = tile.row, tile.col
        if tile.level == 0:
            box = self.box(tile)
            row, col = box.row0 // self.side, box.col0 // self.side
        return f"{self.periods[tile.period].name}/{what or f'x{2**tile.level}'}_{row}_{col}"

    def windows(self, tile: Tile) -> dict[int, Box]:
        """Return by EPSG code the pixels of the cube that a tile depends on."""
        place = tile.row, tile.col
        if place not in self._windows:
            found = {epsg: self._window(tile, group) for epsg, group in self.cube.groups.items()}
            self._windows[place] = {epsg: box for epsg, box in found.items() if box is not None}
        return self._windows[place]

    @cached_property
    def _windows(self) -> dict[tuple[int, int], dict[int, Box]]:
        return {}

    def _window(self, tile: Tile, group: Group) -> Box | None:
        around = self.grid.bounds(self.box(tile).grow(self.ring))
        bounds = group.grid.reached_by(around, self.grid.crs)
        if not all(map(math.isfinite, bounds)):
            return group.area  # the tile reaches beyond the CRS's domain
        # One pixel more, for edges that bend between the transformed points.
        margin = max(self.reach, reach(self.config.resampling, (self.scale, self.scale))) + 1
        held = group.grid.around(bounds).grow(margin) & group.area
        return None if held.empty else held

    @property
    def scale(self) -> float:
        """Pixels of the cube along one pixel of the mosaic, about."""
        metres = self.grid.metres or math.radians(self.grid.resolution) * _EARTH
        return metres / _PIXEL

    def takes(self, tile: Tile) -> Takes:
        """Return the datatakes that may show in a tile, in order of preference: those whose group reaches it and that,
        by the cube's ledger if it has one, have pixels there.
        """
        windows = self.windows(tile)
        found = (
            tuple(s for s in take if s.epsg in windows and self._seen(s, windows[s.epsg]))
            for take in self._takes[tile.period]
        )
        return tuple(take for take in found if take)

    def _seen(self, source: CubeDate, window: Box) -> bool:
        keys = self._keys(source, window)
        return not self._traced or any(key.endswith(".ok") for key in keys)

    def _keys(self, source: CubeDate, window: Box) -> list[str]:
        """Return the keys of the cube's units that ``window`` meets."""
        if not self._traced:
            return []
        done, shards = self._done(source), self.cube.groups[source.epsg].shards(window)
        return [key for shard in sorted(shards) for key in done.get(shard, ())]

    def key(self, tile: Tile) -> str:
        """Return the digest of all that determines a tile: acquisitions, the cube around it, grid and settings."""
        config = self.config
        facts: list[Any] = [self.grid, self.box(tile) & self.area, self.side, self.bands]
        facts += [config.by, config.dilate, config.feather, config.resampling]
        windows = self.windows(tile)
        facts.append(windows)
        for source in itertools.chain(*self._takes[tile.period]):
            if source.epsg in windows:
                keys = self._keys(source, windows[source.epsg])
                facts.append([source, self.numbers[source], keys])
        text = json.dumps(facts, default=lambda x: x.__dict__, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def cog_key(self, key: str) -> str:
        """Return the key of a tile's COGs, from the tile's own."""
        packed = self.config.cog_compression
        if packed == "deflate":
            return key
        return hashlib.sha256(f"{key}\n{packed}".encode()).hexdigest()

    def overview_keys(self, below: Mapping[Tile, str], level: int) -> dict[Tile, str]:
        """Return the keys of an overview's tiles, from those of the existing tiles in the level below."""
        keys = {}
        for tile in self.tiles(level):
            rows, cols = ((2 * n, 2 * n + 1) for n in (tile.row, tile.col))
            parts = (Tile(tile.period, r, c, level - 1) for r in rows for c in cols)
            text = "\n".join(below.get(part, "") for part in parts)
            keys[tile] = hashlib.sha256(text.encode()).hexdigest()
        return keys

    def facts(self) -> dict[str, Any]:
        """Return the store's attributes: how it was made."""
        config = self.config
        return {
            "software": f"s2sharp {self.software}",
            "cube": self.cube.software,
            "period": config.period,
            "by": config.by,
            "dilate_m": config.dilate,
            "feather_m": config.feather,
            "resampling": config.resampling,
            "sources": [{"id": s.id, "datetime": s.datetime, "epsg": s.epsg} for s in self.sources],
        }
