"""Standings of all that a plan holds: each unit, with its key and what the ledger says of it."""

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

    ``phase``: what it belongs to; ``of``: a shard, an acquisition to publish, or a datatake to measure or to fit to;
    ``name``, ``key``: in the ledger; ``state``: its record's status, or "left" where there is none.
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
    """Yield how the measurements and fits of datatakes stand."""
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
    """Gaps in what others are made of: units that failed, were never asked for, or are out of date.

    The key of an overview or a picture has the names of those below it, so that it is made anew once they are there. A level
    of an acquisition is looked at when the one above it is first asked for: by then it must be done.
    """

    def __init__(self, plan: ClientPlan) -> None:
        self._plan = plan
        self._known: dict[tuple[str, int], dict[Shard, str]] = {}
        self._asked: dict[str, frozenset[str]] = {}

    def below(self, unit: Unit) -> list[str]:
        """Return the names of units that an overview's or a picture's ``unit`` has to do without, in order."""
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
        """Return those of :meth:`below` that will still not be there when the run has done all that it is asked for."""
        whose = self._plan.acquisition_id(unit)
        if whose not in self._asked:
            self._asked[whose] = frozenset(map(self._plan.name, self._plan.units([whose])))
        full = self._of(unit, 0).values()
        coming = self._asked[whose]
        return [name for name in self.below(unit) if name in full and name not in coming]

    def _of(self, unit: Unit, level: int) -> dict[Shard, str]:
        """(row, column) → name of each unit of a level that is not there of the acquisition of ``unit``."""
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
    """Return the phase that makes what is made of others: an overview, or, of level −1, what is published."""
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
    """Yield how the units of one overview stand, or, of level −1, what is published.

    Parameters
    ----------
    ahead
        Before the run has done what they are made of; one that will stand then, as it is, stands now.
    without
        (acquisition, level) of those that are left out.
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
    """Return how a unit stands under the first of its keys that is done, or under the first."""
    name = plan.name(unit)
    keys = [plan.key(unit, names) for names in missing or ((),)]
    key = next((key for key in keys if states.done(name, key)), keys[0])
    return Standing(phase, unit, name, key, states.get(name, key) or "left")
