"""A run: its phases in their order, and what came of it; nothing is done twice."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from distributed import Client, Future
from distributed.client import ClosedClientError

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .cluster import Cluster, connect
from .cube import finish, lay_out
from .deliver import publish_unit, write_catalogue
from .events import Event
from .extend import move, recover
from .fits import TOPIC, fit_unit
from .flow import EnoughError, Flow, Workers, lost
from .history import commit
from .lease import Lease
from .ledger import FINAL, Ledger, Record
from .owed import Query, begun, done, owed
from .place import store_errors, sweep
from .plan import Datatake, Plan, Unit, freeze, freeze_acquisition, read_plan
from .planning import frozen
from .sensor_files import brief
from .sensors import measure_unit, there
from .stage import Stage, clear
from .unit import REMEDY_NO_SPACE, Run, keep, overview_unit, sharpen_unit, stage_unit

__all__ = ["Outcome", "execute"]


@dataclass
class Outcome:
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
def _lasting(plan: Plan) -> Iterator[None]:
    """What stops the client itself, as a full disk or a lost scheduler does, is told as such."""
    try:
        yield
    except store_errors(ClosedClientError) as error:
        raise S2SharpError(
            "run-stopped",
            f"The run in {plan.out} stopped: {error}.",
            f"{REMEDY_NO_SPACE} Is the scheduler there?"
            if plan.config.scheduler
            else REMEDY_NO_SPACE,
        ) from error


def execute(plan: Plan, tell: Callable[[Event], None] = lambda _: None) -> Outcome:
    """Do all of a plan that is not done yet.

    Running it again continues it; what the ledger has under a unit's key is skipped. A unit that fails
    is tried again where that may help, then recorded, and the others go on, until more have failed than
    ``max_failures``.

    Parameters
    ----------
    tell
        Called with each :class:`Event`, in this process.

    Raises
    ------
    S2SharpError
        ``busy`` when another run writes to the same folder, ``lease-lost`` when one has taken over;
        ``other-run`` when the folder holds another one; ``scheduler-unreachable``, ``workers-lost``,
        ``store-unwritable``.
    """
    begin = time.perf_counter()
    outcome = Outcome()
    with _lasting(plan), _leased(plan, tell) as lease:
        plan = _laid_out(plan)
        with connect(plan.config, plan.out) as cluster:
            tell(Event("cluster", about={"dashboard": cluster.client.dashboard_link}))
            run = Run(plan.out, plan.stamp, cluster.threads)
            road = Road(cluster, plan, run, lease, outcome, tell)
            try:
                road.all()
            except EnoughError:
                outcome.stopped = True
            if not outcome.failed:
                road.stager.clear()
        lease.check()
        with unwritable("cube", f"complete {plan.store}", outcome):
            for folder in ("acquisitions", "ledger"):
                sweep(plan.out / folder)  # what killed writers left behind
            weights = {a.take: plan.weights_of(a.take) for a in plan.acquisitions}
            outcome.owed = owed(plan.out) if outcome.failed else done(plan)
            takes = sorted({a.take for a in plan.acquisitions}) if plan.own_sensors else ()
            sensors = {take: brief(plan.sensor(take)) for take in takes}
            whole = "partial" if outcome.failed or outcome.owed else "complete"
            finish(plan.store, whole, weights, sensors)
        _keep_snapshot(plan, outcome)
    outcome.seconds = time.perf_counter() - begin
    return outcome


@contextmanager
def _leased(plan: Plan, tell: Callable[[Event], None]) -> Iterator[Lease]:
    def waits(text: str) -> None:
        tell(Event("lease", about={"waits": text}))

    with ExitStack() as stack:
        with _writable(plan):
            lease = stack.enter_context(Lease.taken(plan.out, plan.config.lease, waits))
        yield lease


@contextmanager
def _writable(plan: Plan) -> Iterator[None]:
    """What cannot be written before the first unit ends the run: nothing else could be."""
    try:
        yield
    except store_errors() as error:
        raise S2SharpError(
            "store-unwritable", f"Cannot write to {plan.out}: {error}.", "Choose another --out."
        ) from error


def _laid_out(plan: Plan) -> Plan:
    """The plan that counts, new, continued or added to, frozen and with its cube in place."""
    with _writable(plan):
        recover(plan.store)
        there = read_plan(plan.out) if (plan.out / "run.json").exists() else None
        if plan.stamp != (there.stamp if there else ""):
            plan = frozen(plan.config) or plan
        if there is None:
            # Of a run that is gone: it would be taken for this one's.
            clear(plan.out / "stage")
        # The plan first: the cube is brought to it, however far an earlier run had come with that.
        plan = freeze(plan)
        begun(plan)
        facts = {x.group: plan.facts(x.epsg) for x in plan.layouts}
        if (plan.store / "zarr.json").exists():
            move(plan.store, plan.layouts, facts)
        lay_out(plan.store, plan.layouts, facts)
    return plan


@contextmanager
def unwritable(name: str, what: str, outcome: Outcome) -> Iterator[None]:
    """What cannot be written after all units is one more failure: the rest of the run stands."""
    try:
        yield
    except store_errors() as error:
        message = f"Cannot {what}: {error}. {REMEDY_NO_SPACE}"
        outcome.failed.append(Record(name, "", "failed", "store-unwritable", message))


def _keep_snapshot(plan: Plan, outcome: Outcome) -> None:
    """Of a cube that is complete, if it was asked for."""
    if not plan.config.history or outcome.failed:
        return
    config = plan.config
    what = f"{len(plan.acquisitions)} acquisitions of {config.collection}, {config.datetime}"
    try:
        outcome.snapshot = commit(plan.out, f"{what}, by {config.method}, s2sharp {plan.software}")
    except S2SharpError as error:
        outcome.failed.append(Record("history", "", "failed", error.kind, str(error)))


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
    outcome: Outcome
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
                write_catalogue(plan)

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


class Stager:
    """Stages shards before the units that read them, and evicts the oldest idle ones over budget."""

    def __init__(self, client: Client, plan: Plan, run: Run, workers: Workers) -> None:
        self._client, self._plan, self._run, self._workers = client, plan, run, workers
        self._stages: dict[str, Stage] = {}
        # Of shards that units wait for, and of those that nobody does, the oldest first: (acquisition, cells) → …
        self._coming: dict[tuple[str, Box], Future[Any]] = {}
        self._users: defaultdict[tuple[str, Box], set[Unit]] = defaultdict(set)
        self._idle: dict[tuple[str, Box], int] = {}

    def _of(self, unit: Unit) -> tuple[Stage, list[Box]]:
        acquisition = self._plan.acquisition(unit)
        if acquisition.id not in self._stages:
            self._stages[acquisition.id] = self._plan.stage(acquisition)
            self._stages[acquisition.id].lay_out()
        stage = self._stages[acquisition.id]
        return stage, stage.needed(self._plan.wanted(unit).grow(self._plan.margin))

    def need(self, unit: Unit) -> list[Future[Any]]:
        """The futures of the shards that a unit reads and that are not there yet; of one that is sent again they are new:
        what it waited for may have failed, or been lost with its worker.
        """
        if not self._plan.staged:
            return []
        stage, shards = self._of(unit)
        futures = []
        for cells in shards:
            name = stage.acquisition.id, cells
            before = unit in self._users[name]
            self._users[name].add(unit)
            self._idle.pop(name, None)
            if stage.has(cells):
                continue
            coming = self._coming.get(name)
            if before or coming is None or coming.done():
                self._coming[name] = self._client.submit(
                    stage_unit,
                    self._run,
                    unit,
                    cells,
                    workers=self._workers.staging,
                    allow_other_workers=True,
                    pure=False,
                )
            futures.append(self._coming[name])
        return futures

    def release(self, unit: Unit, _record: Record) -> None:
        """A unit has been done: its shards may go when there are too many."""
        if not self._plan.staged:
            return
        stage, shards = self._of(unit)
        for cells in shards:
            name = stage.acquisition.id, cells
            self._users[name].discard(unit)
            if self._users[name]:
                continue
            del self._users[name]
            # What could not be staged is tried again by whoever needs it next.
            self._coming.pop(name, None)
            size = stage.size(cells)
            if size is not None:
                self._idle[name] = size
        over = sum(self._idle.values()) - self._plan.config.stage_budget * 1e9
        for name, size in list(self._idle.items()):
            if over <= 0:
                break
            self._stages[name[0]].evict(name[1])
            del self._idle[name]
            over -= size

    def clear(self) -> None:
        """Remove the stage: nothing is left to be done from it."""
        clear(self._plan.out / "stage")
