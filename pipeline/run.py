"""Units as futures: a bounded number in flight, every outcome recorded, nothing done twice."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, LocalCluster, as_completed

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .cube import finish, lay_out
from .deliver import publish_unit, write_catalogue
from .fits import TOPIC, fit_unit
from .ledger import FINAL, Ledger, Record
from .plan import Plan, Unit, freeze
from .planning import frozen
from .stage import Stage
from .unit import SPACE, Run, keep, overview_unit, sharpen_unit, stage_unit

__all__ = ["Event", "Outcome", "connect", "execute"]

# Units in flight for each worker: one at work and one waiting.
_AHEAD = 2


@dataclass(frozen=True)
class Event:
    """Something to show: ``phase`` is "fit", "sharpen", "overviews" or "publish".

    ``record``: None if skipped, or while a fit is under way; then ``fit`` says how far it is: ``take``,
    ``step``, ``steps``, ``loss``.
    """

    phase: str
    record: Record | None
    fit: Mapping[str, Any] | None = None


@dataclass
class Outcome:
    """What a run did. ``counts`` by status, "skipped" being what an earlier run had done."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Record] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    seconds: float = 0.0
    peak: int = 0
    dashboard: str = ""

    def add(self, phase: str, record: Record | None) -> None:
        """Take in one record; only units of the full resolution are counted."""
        if phase == "sharpen":
            self.counts[record.status if record else "skipped"] += 1
        if record is None:
            return
        if record.status == "failed":
            self.failed.append(record)
        for text in record.warnings:
            self.warnings[text] += 1
        self.windows += record.windows
        self.peak = max(self.peak, record.peak - record.idle)


@contextmanager
def _lasting(plan: Plan) -> Iterator[None]:
    """What stops the client itself, as a full disk or a lost scheduler does, is told as such."""
    try:
        yield
    except OSError as error:
        raise S2SharpError(
            "run-stopped",
            f"The run in {plan.out} stopped: {error}.",
            f"{SPACE} Is the scheduler there?" if plan.config.scheduler else SPACE,
        ) from error


@contextmanager
def connect(scheduler: str | None, workers: int) -> Iterator[tuple[Client, int]]:
    """A client of a scheduler, else of as many worker processes here; and the threads that each worker's net
    may use (0: as the cluster has set them).

    Raises
    ------
    S2SharpError
        ``scheduler-unreachable``.
    """
    if scheduler:
        try:
            client = Client(scheduler, timeout="20s")
        except (OSError, ValueError) as error:
            raise S2SharpError(
                "scheduler-unreachable",
                f"No Dask scheduler answers at {scheduler}: {error}.",
                "Check the address (tcp://HOST:8786), or leave --scheduler out.",
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=60)
            except TimeoutError as error:
                raise S2SharpError(
                    "scheduler-unreachable",
                    f"The scheduler at {scheduler} has had no worker for a minute.",
                    "Start some: `dask worker ADDRESS --nthreads 1`, where s2sharp is installed.",
                ) from error
            yield client, 0
        return
    settings = {
        "distributed.scheduler.allowed-failures": 10,
        # Units bound their memory themselves; a paused or spilled worker would only stall.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
        # Each arena of glibc's allocator keeps what it once had: two are enough for two busy threads. Dask's own
        # threshold gives every array back when it is freed, and has it zeroed by the kernel when it is asked for
        # again: with the many of a net that doubles its time.
        "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 2,
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
        # Threads that wait must not spin: on a shared machine that takes the core from who they wait for.
        "distributed.nanny.pre-spawn-environ.OMP_WAIT_POLICY": "PASSIVE",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client, threads(workers)


def local_workers(plan: Plan) -> int:
    """Worker processes on this machine; one uses all cores for the net."""
    return plan.config.workers or 1


def threads(workers: int) -> int:
    """Threads of each worker's net, when ``workers`` share the cores that this process may use."""
    return max(1, CPU_COUNT // workers)


def execute(plan: Plan, tell: Callable[[Event], None] = lambda _: None) -> Outcome:
    """Do all of a plan that is not done yet.

    Running it again continues it; what the ledger has under a unit's key is skipped. A unit that fails
    is recorded and the others go on.

    Parameters
    ----------
    tell
        Called with each :class:`Event`, in this process.

    Raises
    ------
    S2SharpError
        ``other-run`` when the folder holds another one; ``scheduler-unreachable``,
        ``store-unwritable``.
    """
    begin = time.perf_counter()
    outcome = Outcome()
    plan, stamp = _laid_out(plan)
    with _lasting(plan), connect(plan.config.scheduler, local_workers(plan)) as (client, each):
        outcome.dashboard = client.dashboard_link
        run = Run(plan.out, stamp, each)
        stager = _Stager(client, plan, run)
        flow = _Flow(client, plan, Ledger(plan.out / "ledger").states(), outcome, tell)
        unfitted = flow.fits(run)

        def sharpen(unit: Unit) -> Future[Any]:
            error = unfitted.get(plan.acquisition(unit).take)
            staged = [error] if error else stager.need(unit)
            return client.submit(sharpen_unit, run, unit, staged, pure=False)

        flow.through("sharpen", plan.units(), sharpen, stager.release)

        for level in range(1, max(layout.levels for layout in plan.layouts) + 1):
            flow.derive("overviews", plan.overviews(level), overview_unit, run)
        if plan.config.publish:
            flow.derive("publish", plan.pictures(), publish_unit, run)
            with _unwritable("catalogue", "write the STAC catalogue", outcome):
                write_catalogue(plan)
        if not outcome.failed:
            stager.clear()
    with _unwritable("cube", f"complete {plan.store}", outcome):
        weights = {a.take: plan.weights_of(a.take) for a in plan.acquisitions}
        finish(plan.store, "partial" if outcome.failed else "complete", weights)
    outcome.seconds = time.perf_counter() - begin
    return outcome


def _laid_out(plan: Plan) -> tuple[Plan, str]:
    """The plan that counts, new or continued, frozen and with its cube in place; and its stamp."""
    try:
        plan = frozen(plan.config) or plan
        if not (plan.out / "run.json").exists():
            # Of a run that is gone: it would be taken for this one's.
            shutil.rmtree(plan.out / "stage", ignore_errors=True)
        stamp = freeze(plan)
        if not (plan.store / "zarr.json").exists():
            lay_out(plan.store, plan.layouts, {x.group: plan.facts(x.epsg) for x in plan.layouts})
    except OSError as error:
        raise S2SharpError(
            "store-unwritable", f"Cannot write to {plan.out}: {error}.", "Choose another --out."
        ) from error
    return plan, stamp


@contextmanager
def _unwritable(name: str, what: str, outcome: Outcome) -> Iterator[None]:
    """What cannot be written after all units is one more failure: the rest of the run stands."""
    try:
        yield
    except OSError as error:
        message = f"Cannot {what}: {error}. {SPACE}"
        outcome.failed.append(Record(name, "", "failed", "store-unwritable", message))


@dataclass
class _Flow:
    """Units through a cluster, at most :data:`_AHEAD` of them for each worker at a time."""

    client: Client
    plan: Plan
    states: dict[tuple[str, str], str]
    outcome: Outcome
    tell: Callable[[Event], None]

    def through(
        self,
        phase: str,
        units: Iterable[Unit],
        submit: Callable[[Unit], Future[Any]],
        release: Callable[[Unit], None] = lambda _: None,
        missing: tuple[str, ...] = (),
    ) -> None:
        """Submit what the ledger does not have, and take in each record as it comes."""
        flying: dict[Future[Any], Unit] = {}
        done = as_completed()

        def land() -> None:
            future = next(done)
            unit = flying.pop(future)
            record = self._record(future, unit, missing)
            future.release()
            release(unit)
            self._add(phase, record)

        for unit in units:
            key = self.plan.key(unit, missing)[:24]
            if self.states.get((self.plan.name(unit), key)) in FINAL:
                self._add(phase, None)
                continue
            while len(flying) >= _AHEAD * max(1, len(self.client.nthreads())):
                land()
            future = submit(unit)
            flying[future] = unit
            done.add(future)
        while flying:
            land()

    def derive(
        self, phase: str, units: Iterable[Unit], task: Callable[..., Record], run: Run
    ) -> None:
        """What is made of the cube once it is there: overviews and COGs."""

        def missing() -> tuple[str, ...]:
            """What they have to do without; part of their key, so they are redone."""
            return tuple(sorted(record.unit for record in self.outcome.failed))

        def submit(unit: Unit) -> Future[Any]:
            return self.client.submit(task, run, unit, missing(), pure=False)

        self.through(phase, units, submit, missing=missing())

    def fits(self, run: Run) -> dict[str, S2SharpError]:
        """Fit the method to each datatake; returns what failed: it costs that datatake's units only."""

        def told(event: tuple[float, Mapping[str, Any]]) -> None:
            self.tell(Event("fit", None, event[1]))

        plan, failed = self.plan, {}
        flying: dict[Future[Any], int] = {}
        if plan.datatakes:
            self.client.subscribe_topic(TOPIC, told)
        for index, datatake in enumerate(plan.datatakes):
            key = plan.fit_key(datatake)[:24]
            done = self.states.get((plan.fit_name(datatake), key)) in FINAL
            if done and _whole(plan, datatake.take):
                self._add("fit", None)
            else:
                flying[self.client.submit(fit_unit, run, index, pure=False)] = index
        for future in as_completed(flying):
            datatake = plan.datatakes[flying[future]]
            record = self._result(future, plan.fit_name(datatake), plan.fit_key(datatake))
            self._add("fit", record)
            if record.status == "failed":
                failed[datatake.take] = S2SharpError(record.kind, record.message)
        if plan.datatakes:
            self.client.unsubscribe_topic(TOPIC)
        return failed

    def _record(self, future: Future[Any], unit: Unit, missing: tuple[str, ...]) -> Record:
        return self._result(future, self.plan.name(unit), self.plan.key(unit, missing))

    def _result(self, future: Future[Any], name: str, key: str) -> Record:
        try:
            return cast(Record, future.result())
        except Exception as error:
            # Whatever a worker dies of, or raises beyond what a unit expects, is that unit's failure.
            message = f"{name}: {type(error).__name__}: {error}"
            return keep(
                self.plan, Record(name, key, "failed", kind="worker-error", message=message)
            )

    def _add(self, phase: str, record: Record | None) -> None:
        self.outcome.add(phase, record)
        self.tell(Event(phase, record))


def _whole(plan: Plan, take: str) -> bool:
    """Whether all that a fit left can be read."""
    try:
        plan.sharpener(take)
    except S2SharpError:
        return False
    return True


class _Stager:
    """Stages shards before the units that read them, and evicts the oldest idle ones over budget."""

    def __init__(self, client: Client, plan: Plan, run: Run) -> None:
        self._client, self._plan, self._run = client, plan, run
        self._stages: dict[str, Stage] = {}
        self._shards: dict[tuple[str, Box], Future[Any] | None] = {}
        self._users: Counter[tuple[str, Box]] = Counter()

    def _of(self, unit: Unit) -> tuple[Stage, list[Box]]:
        acquisition = self._plan.acquisition(unit)
        if acquisition.id not in self._stages:
            self._stages[acquisition.id] = self._plan.stage(acquisition)
            self._stages[acquisition.id].lay_out()
        stage = self._stages[acquisition.id]
        return stage, stage.needed(self._plan.wanted(unit).grow(self._plan.margin))

    def need(self, unit: Unit) -> list[Future[Any]]:
        """The futures of the shards that a unit reads."""
        if not self._plan.staged:
            return []
        stage, shards = self._of(unit)
        futures = []
        for cells in shards:
            name = stage.acquisition.id, cells
            self._users[name] += 1
            if name not in self._shards:
                self._shards[name] = None if stage.has(cells) else self._submit(unit, cells)
            future = self._shards[name]
            futures += [future] if future is not None else []
        return futures

    def _submit(self, unit: Unit, cells: Box) -> Future[Any]:
        return self._client.submit(stage_unit, self._run, unit.epsg, unit.time, cells, pure=False)

    def release(self, unit: Unit) -> None:
        """A unit has been done: its shards may go when there are too many."""
        if not self._plan.staged:
            return
        stage, shards = self._of(unit)
        for cells in shards:
            self._users[stage.acquisition.id, cells] -= 1
        sizes = {
            name: size
            for name in self._shards
            if (size := self._stages[name[0]].size(name[1])) is not None
        }
        over = sum(sizes.values()) - self._plan.config.stage_budget * 1e9
        for name, size in sizes.items():
            if over <= 0:
                break
            if self._users[name] == 0:
                self._stages[name[0]].evict(name[1])
                del self._shards[name]
                over -= size

    def clear(self) -> None:
        """Remove the stage: nothing is left to be done from it."""
        stage = self._plan.out / "stage"
        # First that it is there, then its content: a straggler must not read gaps.
        for done in stage.glob("*.done"):
            shutil.rmtree(done, ignore_errors=True)
        shutil.rmtree(stage, ignore_errors=True)
