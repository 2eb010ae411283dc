"""How everything stands that a plan holds: each unit, with its key and what the ledger says of it."""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

from ..engine.ledger import FINAL, Ledger, States
from .plan import Plan
from .units import Datatake, Unit

__all__ = ["Standing", "overviews", "pictures", "standings", "taken", "units"]


T = TypeVar("T", bound="Unit | Datatake", covariant=True)


class Standing(NamedTuple, Generic[T]):
    """How a unit stands.

    ``phase``: what it belongs to; ``of``: a shard, an acquisition to publish, or a datatake to measure or to fit to;
    ``name``, ``key``: in the ledger; ``state``: its record's status, or "left" where there is none.
    """

    phase: str
    of: T
    name: str
    key: str
    state: str


def standings(plan: Plan, ledger: Ledger) -> Iterator[Standing[Unit | Datatake]]:
    """Yield how everything stands that a plan holds, phase by phase."""
    yield from taken(plan, ledger)
    yield from units(plan, ledger)
    for level in range(1, plan.levels + 1):
        yield from overviews(plan, ledger, level)
    if plan.config.publish:
        yield from pictures(plan, ledger)


def taken(
    plan: Plan, ledger: Ledger, phases: Collection[str] = ("sensor", "fit")
) -> Iterator[Standing[Datatake]]:
    """Yield how the measurements and fits of datatakes stand."""
    if plan.measures and "sensor" in phases:
        states = ledger.states("sensors")
        for datatake in plan.datatakes:
            keys = plan.sensor_name(datatake), [plan.sensor_key(datatake)]
            yield Standing("sensor", datatake, *_state(states, *keys))
    if plan.learns and "fit" in phases:
        states = ledger.states("fits")
        for datatake in plan.datatakes:
            keys = plan.fit_name(datatake), [plan.fit_key(datatake)]
            yield Standing("fit", datatake, *_state(states, *keys))


def units(plan: Plan, ledger: Ledger, ids: Collection[str] = ()) -> Iterator[Standing[Unit]]:
    """Yield how the units of the full resolution stand; of the acquisitions ``ids`` alone, if any are given."""
    yield from _walk(plan, ledger, "sharpen", plan.units(ids), ())


def overviews(
    plan: Plan, ledger: Ledger, level: int, missing: Collection[str] | None = None
) -> Iterator[Standing[Unit]]:
    """Yield how the units of one overview stand.

    ``missing``: names of units that they have to do without, which are part of their keys; None: those that the ledger
    has as failed.
    """
    yield from _walk(plan, ledger, "overviews", plan.overviews(level), missing)


def pictures(
    plan: Plan, ledger: Ledger, missing: Collection[str] | None = None
) -> Iterator[Standing[Unit]]:
    """Yield how what is published stands; ``missing`` as for :func:`overviews`."""
    yield from _walk(plan, ledger, "publish", plan.pictures(), missing)


def _walk(
    plan: Plan,
    ledger: Ledger,
    phase: str,
    every: Iterable[Unit],
    missing: Collection[str] | None,
) -> Iterator[Standing[Unit]]:
    for acquisition, some in groupby(every, plan.acquisition_id):
        states = ledger.states(acquisition)
        lost = tuple(states.units("failed") if missing is None else missing)
        for unit in some:
            keys = [plan.key(unit, lost)]
            if missing is None and lost:
                keys.insert(0, plan.key(unit))
            yield Standing(phase, unit, *_state(states, plan.name(unit), keys))


def _state(states: States, name: str, keys: list[str]) -> tuple[str, str, str]:
    there = {key: state for key in keys if (state := states.get(name, key))}
    best = sorted(there, key=lambda key: there[key] not in FINAL)
    return (name, best[0], there[best[0]]) if best else (name, keys[0], "left")
