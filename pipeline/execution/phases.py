"""Phases of a run: sensors, fits, units, overviews, pictures; what the ledger has is skipped."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from distributed import Future

from s2sharp_core import S2SharpError

from ..engine.cluster import Cluster
from ..engine.events import Event
from ..engine.flow import EnoughError, Flow, Workers, lost
from ..engine.lease import Lease
from ..engine.ledger import FINAL, Ledger, Record
from ..engine.worker import REMEDY_NO_SPACE, keep
from ..planning.plan import Datatake, Plan, Unit, freeze_acquisition
from ..planning.queries import Query
from ..planning.sensor_files import there
from ..storage.location import store_errors
from .fits import TOPIC, fit_unit
from .publish import publish_catalog, publish_unit
from .sensors import measure_unit
from .staging import Stager
from .unit import Run, overview_unit, sharpen_unit

__all__ = ["Road", "RunOutcome", "unwritable"]


@dataclass
class RunOutcome:
    """What a run did. ``counts`` by status, "skipped" being what an earlier run had done; ``disagreement``: band → DN by
    which neighbouring tiles differ at most, of the units' medians; ``stopped``: too
    many units had failed, and the rest was not begun; ``snapshot``: the id of the one that was made, if any.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Record] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    seconds: float = 0.0
    peak: int = 0
    disagreement: dict[str, float] = field(default_factory=dict)
    stopped: bool = False
    owed: tuple[Query, ...] = ()
    snapshot: str | None = None

    def add(self, phase: str, record: Record) -> None:
        """Take in one record; only units of the full resolution are counted."""
        if phase == "sharpen":
            self.counts[record.status] += 1
        if record.status == "failed":
            self.failed.append(record)
        for text in record.warnings:
            self.warnings[text] += 1
        self.windows += record.windows
        self.peak = max(self.peak, record.peak - record.idle)
        for band, value in record.disagreement.items():
            self.disagreement[band] = max(value, self.disagreement.get(band, 0.0))


@contextmanager
def unwritable(name: str, what: str, outcome: RunOutcome) -> Iterator[None]:
    """What cannot be written after all units is one more failure: the rest of the run stands."""
    try:
        yield
    except store_errors() as error:
        message = f"Cannot {what}: {error}. {REMEDY_NO_SPACE}"
        outcome.failed.append(Record(name, "", "failed", "store-unwritable", message))


@dataclass(frozen=True)
class _Phase:
    """What is done once a datatake: its ``name``, the ``task`` of a worker, and a datatake's name and key in the ledger."""

    name: str
    task: Callable[..., Record]
    unit: Callable[[Datatake], str]
    key: Callable[[Datatake], str]


@dataclass
class Road:
    """The phases of a run through one cluster, each on what the ledger does not have."""

    cluster: Cluster
    plan: Plan
    run: Run
    lease: Lease
    outcome: RunOutcome
    tell: Callable[[Event], None]

    def __post_init__(self) -> None:
        self.client = self.cluster.client
        self.workers = Workers(self.client, self.cluster.tend)
        self.stager = Stager(self.client, self.plan, self.run, self.workers)
        self._ledger = Ledger(self.plan.out / "ledger")
        self._unfitted: dict[str, S2SharpError] = {}
        self._excused = 0

    def all(self) -> None:
        """One phase after the other."""
        plan = self.plan
        self.sensors()
        self.fits()
        self.sharpen()
        for level in range(1, max(layout.levels for layout in plan.layouts) + 1):
            self.derive("overviews", plan.overviews(level), overview_unit)
        if plan.config.publish:
            self.derive("publish", plan.pictures(), publish_unit)
            with unwritable("catalogue", "write the STAC catalogue", self.outcome):
                publish_catalog(plan)

    def sharpen(self) -> None:
        """Every unit of the full resolution."""
        plan = self.plan

        def submit(unit: Unit, attempt: int, where: dict[str, Any]) -> Future[Any]:
            staged = self.stager.need(unit)
            return self.client.submit(sharpen_unit, self.run, unit, staged, attempt, **where)

        def todo() -> Iterator[Unit]:
            # What failed before comes last: else it could use up what may fail before the others had their turn.
            failed = []
            for acquisition, units in groupby(plan.units(), plan.acquisition):
                left = list(self._left("sharpen", acquisition.id, units))
                if left:
                    freeze_acquisition(plan, acquisition)
                for unit, state in left:
                    if acquisition.take in self._unfitted:
                        self._excuse(unit, self._unfitted[acquisition.take])
                    elif state == "failed":
                        failed.append(unit)
                    else:
                        yield unit
            yield from failed

        self._flow("sharpen", submit, self.stager.release).through(todo())

    def derive(self, phase: str, units: Iterable[Unit], task: Callable[..., Record]) -> None:
        """What is made of the cube once it is there: overviews and COGs."""
        plan = self.plan
        # What they have to do without is part of their key, so they are redone.
        missing = tuple(sorted(record.unit for record in self.outcome.failed))

        def submit(unit: Unit, attempt: int, where: dict[str, Any]) -> Future[Any]:
            return self.client.submit(task, self.run, unit, missing, attempt, **where)

        def todo() -> Iterator[Unit]:
            for acquisition, some in groupby(units, plan.acquisition):
                left = list(self._left(phase, acquisition.id, some, missing))
                if left:
                    freeze_acquisition(plan, acquisition)
                yield from (unit for unit, _ in left)

        self._flow(phase, submit, lambda *_: None, missing).through(todo())

    def _left(
        self, phase: str, acquisition: str, units: Iterable[Unit], missing: tuple[str, ...] = ()
    ) -> Iterator[tuple[Unit, str | None]]:
        """The units of one acquisition that are not done, and what their record says, if they have one; the others are
        told as skipped.
        """
        states = self._ledger.states(acquisition)
        for unit in units:
            name, key = self.plan.name(unit), self.plan.key(unit, missing)
            state = states.get(name, key)
            if state in FINAL:
                self._skip(phase, name, key)
            else:
                yield unit, state

    def _excuse(self, unit: Unit, error: S2SharpError) -> None:
        """A unit that is not begun, since its fit failed: that was counted, once."""
        name, key = self.plan.name(unit), self.plan.key(unit)
        self._excused += 1
        self._add(
            "sharpen", keep(self.plan.out, Record(name, key, "failed", error.kind, str(error)))
        )

    def _flow(
        self,
        phase: str,
        submit: Callable[[Unit, int, dict[str, Any]], Future[Any]],
        release: Callable[[Unit, Record], None],
        missing: tuple[str, ...] = (),
    ) -> Flow[Unit]:
        def failure(unit: Unit, attempt: int, error: Exception) -> Record:
            name, key = self.plan.name(unit), self.plan.key(unit, missing)
            return self._lost(name, key, attempt, error)

        def land(unit: Unit, record: Record) -> None:
            release(unit, record)
            self._add(phase, record)

        def again(unit: Unit, record: Record) -> None:
            release(unit, record)
            self.tell(Event(phase, record, again=True))

        retries = self.plan.config.retries
        return Flow(self.workers, submit, failure, land, again, retries, self._check)

    def sensors(self) -> None:
        """Measure the sensor of each datatake; one that fails costs nothing but that: the known one is used."""
        plan = self.plan
        if plan.measures:
            phase = _Phase("sensor", measure_unit, plan.sensor_name, plan.sensor_key)
            self._each(phase, lambda datatake: there(plan, datatake), lambda *_: None)

    def fits(self) -> None:
        """Fit the method to each datatake; one that fails costs that datatake's units only."""
        plan = self.plan
        if not plan.learns:
            return

        def told(event: tuple[float, Mapping[str, Any]]) -> None:
            self.tell(Event("fit", about=dict(event[1])))

        def land(datatake: Datatake, record: Record) -> None:
            if record.status == "failed":
                self._unfitted[datatake.take] = S2SharpError(record.kind, record.message)

        self.client.subscribe_topic(TOPIC, told)
        phase = _Phase("fit", fit_unit, plan.fit_name, plan.fit_key)
        self._each(phase, lambda datatake: _whole(plan, datatake.take), land)
        self.client.unsubscribe_topic(TOPIC)

    def _each(
        self,
        phase: _Phase,
        whole: Callable[[Datatake], bool],
        landed: Callable[[Datatake, Record], None],
    ) -> None:
        """What is done once a datatake, but where the ledger says that it is and what it left is ``whole``."""
        plan = self.plan

        def submit(datatake: Datatake, attempt: int, where: dict[str, Any]) -> Future[Any]:
            return self.client.submit(phase.task, self.run, datatake, attempt, **where)

        def failure(datatake: Datatake, attempt: int, error: Exception) -> Record:
            return self._lost(phase.unit(datatake), phase.key(datatake), attempt, error)

        def land(datatake: Datatake, record: Record) -> None:
            self._add(phase.name, record)
            landed(datatake, record)

        def again(_: Datatake, record: Record) -> None:
            self.tell(Event(phase.name, record, again=True))

        def todo() -> Iterator[Datatake]:
            states = self._ledger.states(f"{phase.name}s")
            for datatake in plan.datatakes:
                name, key = phase.unit(datatake), phase.key(datatake)
                if states.done(name, key) and whole(datatake):
                    self._skip(phase.name, name, key)
                else:
                    yield datatake

        retries = plan.config.retries
        flow = Flow(self.workers, submit, failure, land, again, retries, self._check)
        flow.through(todo())

    def _lost(self, name: str, key: str, attempt: int, error: Exception) -> Record:
        return keep(self.plan.out, lost(name, key, attempt, error, "--shard"))

    def _check(self) -> None:
        self.lease.check()
        if len(self.outcome.failed) - self._excused > self.plan.config.max_failures:
            raise EnoughError

    def _add(self, phase: str, record: Record) -> None:
        self.outcome.add(phase, record)
        self.tell(Event(phase, record))

    def _skip(self, phase: str, name: str, key: str) -> None:
        if phase == "sharpen":
            self.outcome.counts["skipped"] += 1
        self.tell(Event(phase, skipped=(name, key)))


def _whole(plan: Plan, take: str) -> bool:
    """Whether all that a fit left can be read."""
    try:
        plan.sharpener(take)
    except S2SharpError:
        return False
    return True
