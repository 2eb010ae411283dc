"""Plan of the client, with the acquisitions and all their units."""

import itertools
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np
import shapely
from pydantic import Field

from ..cube.layout import Layout
from ..scenes.acquisition import Acquisition
from ..storage.files import write_bytes, write_text
from .acquisition_files import broken_plan, freeze_acquisitions, frozen_acquisitions
from .area import AREA, Area
from .plan import Plan
from .units import Datatake, Unit, by_datatake

ITEMS, FIT_ITEMS = "items.parquet", "datatakes.parquet"
"""Names of the files of ``items`` and ``fit_items``."""
ACQUISITIONS, DATATAKES = "acquisitions.jsonl.gz", "datatakes.jsonl.gz"
"""Names of the files of ``acquisitions`` and ``datatakes``."""


class ClientPlan(Plan):
    """A plan with the result of its search.

    ``acquisitions``: all of the cube, including those of earlier queries; ``datatakes``: their whole datatakes in the
    catalog, inside the area and beyond, for measurements and fits; ``items``, ``fit_items``: STAC items of these two, as
    stac-geoparquet.
    """

    acquisitions: tuple[Acquisition, ...] = Field(exclude=True)
    datatakes: tuple[Datatake, ...] = Field(exclude=True)
    items: bytes = Field(exclude=True)
    fit_items: bytes = Field(exclude=True)

    @classmethod
    def made_of(
        cls,
        plan: Plan,
        acquisitions: Iterable[Acquisition],
        datatakes: tuple[Datatake, ...],
        items: bytes = b"",
        fit_items: bytes = b"",
    ) -> "ClientPlan":
        """Return a plan with its acquisitions, in the order of the cube's times; more are left out."""
        by_id = {a.id: a for a in acquisitions}
        return cls(
            **{name: getattr(plan, name) for name in Plan.model_fields},
            acquisitions=tuple(by_id[name] for layout in plan.layouts for name in layout.ids),
            datatakes=datatakes,
            items=items,
            fit_items=fit_items,
        )

    def freeze(self) -> Self:
        """Write the area, what was found, and the plan; return it with its stamp."""
        if self.config.area:
            write_text(self.out / AREA, shapely.to_geojson(self._area.lonlat))
        for name, items in ((ITEMS, self.items), (FIT_ITEMS, self.fit_items)):
            if items:
                write_bytes(self.out / name, items)
        freeze_acquisitions(self.out / ACQUISITIONS, self.acquisitions)
        taken = (a for datatake in self.datatakes for a in datatake.acquisitions)
        freeze_acquisitions(self.out / DATATAKES, taken)
        return super().freeze()

    @cached_property
    def _area(self) -> Area:
        return Area.of(self.config.bbox, self.config.area)

    @cached_property
    def _by_id(self) -> dict[str, Acquisition]:
        return {a.id: a for a in self.acquisitions}

    def of(self, epsg: int) -> list[Acquisition]:
        """Return the acquisitions of one code, in the order of the cube's times."""
        return [self._by_id[name] for name in self.layout(epsg).ids]

    @property
    def present(self) -> tuple[Acquisition, ...]:
        """Acquisitions that were not removed."""
        return tuple(a for a in self.acquisitions if a.id not in self.removed)

    def acquisition(self, unit: Unit) -> Acquisition:
        """Return the acquisition of a unit."""
        return self._by_id[self.acquisition_id(unit)]

    def units(self, ids: Collection[str] = ()) -> Iterator[Unit]:
        """Yield the units of the full resolution, acquisition by acquisition, row by row; only those of ``ids``, if any."""
        for layout in self.layouts:
            shape = self._area.shape(layout.epsg)
            shapely.prepare(shape)
            for time, acquisition in self._asked(layout):
                if ids and acquisition.id not in ids:
                    continue
                shards = list(self.shards(layout.epsg, acquisition))
                if not shards:
                    continue
                boxes = (layout.lattice.bounds(layout.cells(*s) & layout.area) for s in shards)
                wanted = shapely.intersects(shape, shapely.box(*np.transpose([*boxes])))
                for row, col in itertools.compress(shards, wanted):
                    yield Unit(layout.epsg, time, row, col)
        yield from self._repairs(0, ids)

    def shards(
        self, epsg: int, acquisition: Acquisition, level: int = 0
    ) -> Iterator[tuple[int, int]]:
        """Yield the shards (row, col) of a level in which an acquisition may have data, also beyond the requested area."""
        layout = self.layout(epsg)
        shards = layout.shards_in(acquisition.box & layout.area, level)
        if level or not (every := list(shards)):
            return shards
        seen = acquisition.sees([layout.cells(*shard) & layout.area for shard in every])
        return itertools.compress(every, seen)

    def overviews(self, level: int) -> Iterator[Unit]:
        """Yield the units of one overview; the level below must be complete."""
        for layout in self.layouts:
            if level > layout.levels:
                continue
            # After a growth of the area, overviews of earlier dates have other units, too.
            for time, _ in self._asked(layout, every=self.grown):
                yield from self.above(layout.epsg, time, level)
        yield from () if self.grown else self._repairs(level)

    def above(self, epsg: int, time: int, level: int) -> Iterator[Unit]:
        """Yield the units of one overview of an acquisition; for level −1, the unit of its published files."""
        acquisition = self._by_id[self.layout(epsg).ids[time]]
        shards = self.shards(epsg, acquisition, level) if level > 0 else ((0, 0),)
        for row, col in shards:
            yield Unit(epsg, time, row, col, level)

    def pictures(self) -> Iterator[Unit]:
        """Yield the units of published files, one for each acquisition."""
        for layout in self.layouts:
            for time, _ in self._asked(layout):
                yield from self.above(layout.epsg, time, -1)
        yield from self._repairs(-1)

    def _asked(self, layout: Layout, *, every: bool = False) -> Iterator[tuple[int, Acquisition]]:
        """Yield the acquisitions to work on, or ``every`` one, with their indices in time."""
        wanted = frozenset(layout.ids if every else self.asked).difference(self.removed)
        for time, name in enumerate(layout.ids):
            if name in wanted:
                yield time, self._by_id[name]

    def _repairs(self, level: int, ids: Collection[str] = ()) -> Iterator[Unit]:
        """Yield the units of a level to repair that are not requested anyway."""
        for name in sorted(self.repairs):
            whose = name.rpartition("/")[0]
            if whose not in {*self.asked, *self.removed} and (not ids or whose in ids):
                unit = self.unit(name)
                if unit is not None and unit.level == level:
                    yield unit

    def facts(self, epsg: int) -> dict[str, Any]:
        """Return the attributes of one group of the cube: how it was made; ``removed``: indices of empty times."""
        removed = [i for i, name in enumerate(self.layout(epsg).ids) if name in self.removed]
        return {
            "software": f"s2sharp {self.software}",
            "method": self.config.method,
            "sensor": self.config.sensor if not self.sensors else "given",
            "weights": self.weights,
            "precision": self.precision,
            "window_cells": self.config.window,
            "acquisitions": [
                {"id": a.id, "datetime": a.datetime, "items": list(a.items)} for a in self.of(epsg)
            ],
            **({"removed": removed} if removed else {}),
        }


def as_frozen(plan: Plan) -> ClientPlan:
    """Return a plan with the acquisitions of the run that froze it, for whoever only looks at the run.

    A run makes them of the items anew (:func:`~s2sharp.planning.items.with_acquisitions`).

    Error: ``file-broken`` if some are lost.
    """
    file = plan.out / ACQUISITIONS
    there = frozen_acquisitions(file)
    if lost := missing(plan, there):
        raise broken_plan(file, f"is broken: it lacks {lost}")
    datatakes = by_datatake(frozen_acquisitions(plan.out / DATATAKES))
    return ClientPlan.made_of(plan, there, datatakes)


def missing(plan: Plan, there: Iterable[Acquisition]) -> str:
    """Return which acquisitions of a plan are not among those that are ``there``, in words; "" if all are."""
    known = {a.id for a in there}
    ids = [name for layout in plan.layouts for name in layout.ids]
    lost = [name for name in ids if name not in known]
    return f"{len(lost)} of {len(ids)} acquisitions, {lost[0]} for example" if lost else ""
