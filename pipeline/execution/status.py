"""Where a run stands, from its store alone: while it works, and after it died."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import zarr

from ..engine.lease import Holder, holder
from ..engine.ledger import FINAL, Ledger, Record, States
from ..planning.frozen import read_plan
from ..planning.items import with_acquisitions
from ..planning.plan import Plan, Unit
from ..planning.queries import Query, owed
from ..storage.arrays import zarr_store
from ..storage.location import Location

__all__ = ["Standing", "Status", "at_work", "cube_status", "standings", "status_of"]


class Standing(NamedTuple):
    """How a unit stands: the ``phase`` it belongs to, the ``unit`` (None: a measurement or a fit), its name and key in the ledger, and
    its ``state``, a record's status or "left".
    """

    phase: str
    unit: Unit | None
    name: str
    key: str
    state: str


@dataclass(frozen=True)
class Status:
    """How far a run is.

    ``cube``: what the cube says of itself: "writing", "partial" or "complete", "missing" before it is laid out.
    ``units``: phase → status → how many, "left" being those of which there is no record. ``failed``: the records of
    those that failed. ``holder``: who took the lease last and has not released it. ``owed``: queries that are not done;
    the latest is among them while it is not.
    """

    plan: Plan
    cube: str
    holder: Holder | None
    units: dict[str, Counter[str]]
    failed: tuple[Record, ...]
    owed: tuple[Query, ...]

    @property
    def left(self) -> int:
        """Units that the same command would still do."""
        return sum(count["left"] + count["failed"] for count in self.units.values())


def status_of(out: Location) -> Status:
    """Read the plan and list the ledger; no worker is asked, and nothing is written.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    plan = with_acquisitions(read_plan(out))
    ledger = Ledger(out / "ledger")
    units: defaultdict[str, Counter[str]] = defaultdict(Counter)
    failed = []
    for found in standings(plan, ledger):
        units[found.phase][found.state] += 1
        if found.state == "failed":
            failed.append(ledger.read(found.name, found.key, "failed"))
    held = holder(out)
    return Status(
        plan,
        cube_status(plan),
        held if held and not held.released else None,
        dict(units),
        tuple(failed),
        owed(out),
    )


def at_work(held: Holder | None) -> bool:
    """Whether who took a lease last writes still, as far as the lease tells."""
    return bool(held and not held.released and not held.dead and held.age < held.seconds)


def standings(plan: Plan, ledger: Ledger) -> Iterator[Standing]:
    """How everything stands that a plan holds."""
    measured = ledger.states("sensors")
    for datatake in plan.datatakes if plan.measures else ():
        names = plan.sensor_name(datatake), [plan.sensor_key(datatake)]
        yield Standing("sensor", None, *_state(measured, *names))
    fits = ledger.states("fits")
    for datatake in plan.datatakes if plan.learns else ():
        yield Standing(
            "fit", None, *_state(fits, plan.fit_name(datatake), [plan.fit_key(datatake)])
        )
    levels = range(1, max(layout.levels for layout in plan.layouts) + 1)
    phases = [("sharpen", plan.units()), *(("overviews", plan.overviews(x)) for x in levels)]
    if plan.config.publish:
        phases.append(("publish", plan.pictures()))
    for phase, every in phases:
        for acquisition, some in groupby(every, plan.acquisition_id):
            states = ledger.states(acquisition)
            # What is made of units that failed does without them, and has another key.
            lost = tuple(states.units("failed"))
            for unit in some:
                found = _state(states, plan.name(unit), _keys(plan, unit, lost))
                yield Standing(phase, unit, *found)


def _keys(plan: Plan, unit: Unit, lost: tuple[str, ...]) -> list[str]:
    """The keys that a unit may have been recorded under."""
    keys = [plan.key(unit)]
    return [*keys, plan.key(unit, lost)] if unit.level and lost else keys


def _state(states: States, name: str, keys: list[str]) -> tuple[str, str, str]:
    there = {key: state for key in keys if (state := states.get(name, key))}
    best = sorted(there, key=lambda key: there[key] not in FINAL)
    return (name, best[0], there[best[0]]) if best else (name, keys[0], "left")


def cube_status(plan: Plan) -> str:
    """What the cube says of itself, as of :class:`Status`."""
    if not (plan.store / "zarr.json").exists():
        return "missing"
    facts = zarr.open_group(zarr_store(plan.store), mode="r").attrs["s2sharp"]
    return str(facts["status"])  # type: ignore[index, call-overload]
