"""States of the units of a plan: each with its key and its status in the ledger."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

from ..engine.ledger import KnownRecords, Record, States
from .client_plan import ClientPlan
from .units import Datatake, Unit

Shard = tuple[int, int]
T = TypeVar("T", bound="Unit | Datatake", covariant=True)


class UnitState(NamedTuple, Generic[T]):
    """State of a unit.

    ``phase``: its phase; ``of``: a shard, an acquisition to publish, or a datatake to measure or to fit to; ``name``,
    ``key``: those in the ledger; ``state``: status of its record, or "left" without one.
    """

    phase: str
    of: T
    name: str
    key: str
    state: str


def phase_of(level: int) -> str:
    """Return the phase of dependent units: overviews, or published files for level −1."""
    return "overviews" if level > 0 else "publish"


class UnitStates:
    """States of everything that a plan holds, as one process knows them: the ledger is listed once.

    The key of an overview or a picture includes the names of missing units below it, so that it is made anew once they
    exist. Missing are those that failed, were never requested, or are out of date. They are looked up when the level
    above is first requested; by then a level must be done.
    """

    def __init__(self, plan: ClientPlan) -> None:
        self._plan = plan
        ids = {one for layout in plan.layouts for one in layout.ids}
        asked = ids if plan.grown else ids.intersection(plan.asked)
        self._records = KnownRecords(plan.ledger, asked, ids - asked)
        self._lost: dict[tuple[str, int], dict[Shard, str]] = {}
        self._asked: dict[str, frozenset[str]] = {}

    def hear(self, record: Record) -> None:
        """Take in that a record was written."""
        self._records.hear(record)

    def every(self) -> Iterator[UnitState[Unit | Datatake]]:
        """Yield the states of everything, phase by phase."""
        yield from self.taken()
        yield from self.units()
        for level in range(1, self._plan.levels + 1):
            yield from self.derived(level, ahead=True)
        if self._plan.config.publish:
            yield from self.derived(-1, ahead=True)

    def taken(self, phases: Collection[str] = ("sensor", "fit")) -> Iterator[UnitState[Datatake]]:
        """Yield the states of measurements and fits of datatakes."""
        plan = self._plan
        kinds = (
            ("sensor", plan.measures, plan.sensor_name, plan.sensor_key),
            ("fit", plan.learns, plan.fit_name, plan.fit_key),
        )
        for phase, there, name_of, key_of in kinds:
            if there and phase in phases:
                states = self._records.states(f"{phase}s")
                for one in plan.datatakes:
                    name, key = name_of(one), key_of(one)
                    yield UnitState(phase, one, name, key, states.get(name, key) or "left")

    def units(self, ids: Collection[str] = ()) -> Iterator[UnitState[Unit]]:
        """Yield the states of units of the full resolution; of the acquisitions ``ids`` alone, if any are given."""
        for acquisition, some in groupby(self._plan.units(ids), self._plan.acquisition_id):
            states = self._records.states(acquisition)
            for unit in some:
                yield self._state(states, "sharpen", unit)

    def above(self, unit: Unit, level: int) -> list[UnitState[Unit]]:
        """Return the states of one level of the acquisition of ``unit``."""
        states = self._records.states(self._plan.acquisition_id(unit))
        found = self._plan.above(unit.epsg, unit.time, level)
        return [self._state(states, phase_of(level), one, self.below(one)) for one in found]

    def derived(
        self, level: int, *, ahead: bool = False, without: Collection[tuple[str, int]] = ()
    ) -> Iterator[UnitState[Unit]]:
        """Yield the states of units of one overview, or of published files for level −1.

        Parameters
        ----------
        ahead
            Whether the levels below may be unfinished; a unit that will be valid when they are done counts as done.
        without
            (acquisition, level) to leave out.
        """
        every = self._plan.overviews(level) if level > 0 else self._plan.pictures()
        for acquisition, some in groupby(every, self._plan.acquisition_id):
            if (acquisition, level) in without:
                continue
            states = self._records.states(acquisition)
            for unit in some:
                missing = self._missing(unit, ahead=ahead)
                yield self._state(states, phase_of(level), unit, *missing)

    def below(self, unit: Unit) -> list[str]:
        """Return the names of missing units below an overview's or a picture's ``unit``, in order."""
        layout = self._plan.layout(unit.epsg)
        if unit.level < 0:
            return sorted(self._lost_of(unit, 0).values())
        cells, found = layout.cells(unit.row, unit.col, unit.level), []
        for level in range(unit.level):
            if lost := self._lost_of(unit, level):
                inside = layout.shards_in(cells, level)
                found += [lost[shard] for shard in inside if shard in lost]
        return sorted(found)

    def _missing(self, unit: Unit, *, ahead: bool) -> list[list[str]]:
        """Return what is missing below a unit now, and with ``ahead`` first what still will be when the run is done."""
        now = self.below(unit)
        if not now or not ahead:
            return [now]
        whose = self._plan.acquisition_id(unit)
        if whose not in self._asked:
            self._asked[whose] = frozenset(map(self._plan.name, self._plan.units([whose])))
        full, coming = self._lost_of(unit, 0).values(), self._asked[whose]
        return [[name for name in now if name in full and name not in coming], now]

    def _lost_of(self, unit: Unit, level: int) -> dict[Shard, str]:
        """Return (row, column) → name of each missing unit in a level of the acquisition of ``unit``."""
        plan, whose = self._plan, self._plan.acquisition_id(unit)
        if (whose, level) not in self._lost:
            states, lost = self._records.states(whose), {}
            for row, col in plan.shards(unit.epsg, plan.acquisition(unit), level):
                one = Unit(unit.epsg, unit.time, row, col, level)
                if not states.done(name := plan.name(one), plan.key(one, self.below(one))):
                    lost[row, col] = name
            self._lost[whose, level] = lost
        return self._lost[whose, level]

    def _state(
        self, states: States, phase: str, unit: Unit, *missing: Sequence[str]
    ) -> UnitState[Unit]:
        """Return the state of a unit under the first of its keys that is done, or else under the first."""
        name = self._plan.name(unit)
        keys = [self._plan.key(unit, names) for names in missing or ((),)]
        key = next((key for key in keys if states.done(name, key)), keys[0])
        return UnitState(phase, unit, name, key, states.get(name, key) or "left")
