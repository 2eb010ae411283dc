"""Standings of the units of a plan: each with its key and its status in the ledger."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

from ..engine.ledger import States
from .client import ClientPlan
from .plan import Plan
from .units import Datatake, Unit

__all__ = ["Gaps", "Standing", "above", "derived", "phase_of", "standings", "taken", "units"]


Shard = tuple[int, int]
T = TypeVar("T", bound="Unit | Datatake", covariant=True)


class Standing(NamedTuple, Generic[T]):
    """Standing of a unit.

    ``phase``: its phase; ``of``: a shard, an acquisition to publish, or a datatake to measure or to fit to; ``name``,
    ``key``: those in the ledger; ``state``: status of its record, or "left" without one.
    """

    phase: str
    of: T
    name: str
    key: str
    state: str


def standings(plan: ClientPlan) -> Iterator[Standing[Unit | Datatake]]:
    """Yield how everything stands that a plan holds, phase by phase."""
    yield from taken(plan)
    yield from units(plan)
    gaps = Gaps(plan)
    for level in range(1, plan.levels + 1):
        yield from derived(plan, level, gaps, ahead=True)
    if plan.config.publish:
        yield from derived(plan, -1, gaps, ahead=True)


def taken(
    plan: ClientPlan, phases: Collection[str] = ("sensor", "fit")
) -> Iterator[Standing[Datatake]]:
    """Yield the standings of measurements and fits of datatakes."""
    kinds = (
        ("sensor", plan.measures, plan.sensor_name, plan.sensor_key),
        ("fit", plan.learns, plan.fit_name, plan.fit_key),
    )
    for phase, there, name_of, key_of in kinds:
        if there and phase in phases:
            states = plan.ledger.states(f"{phase}s")
            for one in plan.datatakes:
                name, key = name_of(one), key_of(one)
                yield Standing(phase, one, name, key, states.get(name, key) or "left")


class Gaps:
    """Missing units below overviews and pictures: those that failed, were never requested, or are out of date.

    The key of an overview or a picture includes the names of missing units below it, so that it is made anew once they
    exist. A level of an acquisition is read from the ledger when the level above is first requested; by then it must be done.
    """

    def __init__(self, plan: ClientPlan) -> None:
        self._plan = plan
        self._known: dict[tuple[str, int], dict[Shard, str]] = {}
        self._asked: dict[str, frozenset[str]] = {}

    def below(self, unit: Unit) -> list[str]:
        """Return the names of missing units below an overview's or a picture's ``unit``, in order."""
        layout = self._plan.layout(unit.epsg)
        if unit.level < 0:
            return sorted(self._of(unit, 0).values())
        cells, found = layout.cells(unit.row, unit.col, unit.level), []
        for level in range(unit.level):
            if lost := self._of(unit, level):
                inside = layout.shards_in(cells, level)
                found += [lost[shard] for shard in inside if shard in lost]
        return sorted(found)

    def after(self, unit: Unit) -> list[str]:
        """Return those of :meth:`below` that will still be missing when the run is done."""
        whose = self._plan.acquisition_id(unit)
        if whose not in self._asked:
            self._asked[whose] = frozenset(map(self._plan.name, self._plan.units([whose])))
        full = self._of(unit, 0).values()
        coming = self._asked[whose]
        return [name for name in self.below(unit) if name in full and name not in coming]

    def _of(self, unit: Unit, level: int) -> dict[Shard, str]:
        """Return (row, column) → name of each missing unit in a level of the acquisition of ``unit``."""
        plan, whose = self._plan, self._plan.acquisition_id(unit)
        if (whose, level) not in self._known:
            states, lost = plan.ledger.states(whose), {}
            for row, col in plan.shards(unit.epsg, plan.acquisition(unit), level):
                one = Unit(unit.epsg, unit.time, row, col, level)
                if not states.done(name := plan.name(one), plan.key(one, self.below(one))):
                    lost[row, col] = name
            self._known[whose, level] = lost
        return self._known[whose, level]


def units(plan: ClientPlan, ids: Collection[str] = ()) -> Iterator[Standing[Unit]]:
    """Yield how the units of the full resolution stand; of the acquisitions ``ids`` alone, if any are given."""
    for acquisition, some in groupby(plan.units(ids), plan.acquisition_id):
        states = plan.ledger.states(acquisition)
        for unit in some:
            yield _standing(plan, states, "sharpen", unit)


def phase_of(level: int) -> str:
    """Return the phase of dependent units: overviews, or published files for level −1."""
    return "overviews" if level > 0 else "publish"


def above(plan: ClientPlan, unit: Unit, level: int, gaps: Gaps) -> list[Standing[Unit]]:
    """Return how one level stands of the acquisition of ``unit``."""
    states = plan.ledger.states(plan.acquisition_id(unit))
    found = plan.above(unit.epsg, unit.time, level)
    return [_standing(plan, states, phase_of(level), one, gaps.below(one)) for one in found]


def derived(
    plan: ClientPlan,
    level: int,
    gaps: Gaps,
    *,
    ahead: bool = False,
    without: Collection[tuple[str, int]] = (),
) -> Iterator[Standing[Unit]]:
    """Yield the standings of the units of one overview, or of published files for level −1.

    Parameters
    ----------
    ahead
        Whether the levels below may be unfinished; a unit that will be valid when they are done counts as done.
    without
        (acquisition, level) to leave out.
    """
    every = plan.overviews(level) if level > 0 else plan.pictures()
    for acquisition, some in groupby(every, plan.acquisition_id):
        if (acquisition, level) in without:
            continue
        states = plan.ledger.states(acquisition)
        for unit in some:
            yield _standing(plan, states, phase_of(level), unit, *_missing(gaps, unit, ahead=ahead))


def _missing(gaps: Gaps, unit: Unit, *, ahead: bool) -> list[list[str]]:
    now = gaps.below(unit)
    return [gaps.after(unit), now] if now and ahead else [now]


def _standing(
    plan: Plan, states: States, phase: str, unit: Unit, *missing: Sequence[str]
) -> Standing[Unit]:
    """Return the standing of a unit under the first of its keys that is done, or else under the first."""
    name = plan.name(unit)
    keys = [plan.key(unit, names) for names in missing or ((),)]
    key = next((key for key in keys if states.done(name, key)), keys[0])
    return Standing(phase, unit, name, key, states.get(name, key) or "left")
