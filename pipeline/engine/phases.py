"""Keyed jobs, phase by phase, on one cluster: finished jobs are skipped, dependent jobs begin when theirs are done."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from s2sharp_core import S2SharpError

from ..storage.location import Location, store_errors, writing
from .events import (
    ClusterReady,
    LeaseWaiting,
    Listener,
    UnitDone,
    UnitRetried,
    UnitSkipped,
    WorkerSilent,
)
from .lease import Lease
from .ledger import FINAL, Record
from .settings import Command
from .worker import REMEDY_NO_SPACE, write_record

if TYPE_CHECKING:
    from distributed import Client, Future

    from .cluster import Cluster
    from .dispatch import Workers

# Dask's cluster is imported when one is started, so that a run without work does not load it.


class TooManyFailuresError(Exception):
    """More units have failed than allowed."""


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work that is done once.

    ``name``, ``key``: path in the ledger, and digest of all that determines the result; ``of``: its subject: a shard, a
    tile, a datatake; ``state``: status in the ledger under that key, None without a record; ``excuse``: reason why it
    cannot begin. Then it is recorded as failed, and does not count towards ``max_failures``.
    """

    name: str
    key: str
    of: Any
    state: str | None = None
    excuse: S2SharpError | None = None


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Phase:
    """Jobs that may be done in any order, after those of the phases before.

    Attributes
    ----------
    task
        Does one job on a worker: (arguments of the job, attempt) → :class:`Record`.
    arguments
        Returns the arguments of ``task``; called whenever a job is sent.
    prepare
        Called with each unfinished job before it is sent.
    end
        Called with each job that returned, also if it will be tried again.
    then
        Called with each job that has ended in any way, also in earlier runs; returns jobs of other phases that may begin
        now, beside the rest of this one.
    full
        Whether these are the units of the full resolution, which are counted.
    gpu
        Whether a job requests a GPU if workers offer one.
    spare
        Whether dependent jobs may wait, to keep workers busy at the end.
    topic, heard
        Topic of the workers' messages about a running job, and their listener.
    """

    name: str
    jobs: Iterable[Job]
    task: Callable[..., Record]
    arguments: Callable[[Job], tuple[Any, ...]]
    prepare: Callable[[Job], None] = _nothing
    end: Callable[[Job, Record], None] = _nothing
    then: "Callable[[Job], Iterable[Step]]" = lambda _: ()
    full: bool = False
    gpu: bool = True
    spare: bool = False
    topic: str = ""
    heard: Callable[[Mapping[str, Any]], None] = _nothing


Step = tuple[Phase, Job]
"""A job, and the phase that it belongs to."""


@dataclass
class Outcome:
    """Outcome of all phases.

    ``counts``: units of the full resolution by status, "skipped" for those done before; ``peak``: largest memory of a worker
    in bytes beyond its idle size; ``stopped``: whether too many failed, so that the rest was not begun; ``excused``: number
    of failures caused by others.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Record] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    seconds: float = 0.0
    peak: int = 0
    stopped: bool = False
    excused: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """The outcome in numbers, for the last event."""
        return {
            "units": dict(self.counts),
            "failed": len(self.failed),
            "stopped": self.stopped,
            "seconds": round(self.seconds, 1),
        }

    @property
    def worked(self) -> bool:
        """True if any unit of the full resolution was done or failed this time."""
        return bool(self.counts.keys() - {"skipped"})

    def add(self, record: Record, *, full: bool) -> None:
        """Count one record."""
        if full:
            self.counts[record.status] += 1
        if record.status == "failed":
            self.failed.append(record)
        self.warnings.update(record.warnings)
        self.windows += record.windows
        self.peak = max(self.peak, record.peak - record.idle)


@dataclass
class Engine:
    """Execution of phases. The cluster is started with the first unfinished job, if there is any.

    ``size``: flag for smaller jobs; ``begin``: called once before the first job; ``brief``: whether all jobs take at most a
    minute; ``hear``: called with each record, before what follows from it.
    """

    config: Command
    out: Location
    lease: Lease
    outcome: Outcome
    tell: Listener
    size: str
    begin: Callable[[], None] = _nothing
    brief: bool = False
    hear: Callable[[Record], None] = _nothing
    _open: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def cluster(self) -> "Cluster":
        """Cluster of the configuration."""
        from .cluster import connect

        self.begin()
        cluster = self._open.enter_context(connect(self.config, self.out, brief=self.brief))
        local = not (self.config.scheduler or self.config.cluster)
        link = "" if self.brief and local else cluster.client.dashboard_link
        self.tell(ClusterReady(link))
        return cluster

    @property
    def client(self) -> "Client":
        return self.cluster.client

    @cached_property
    def workers(self) -> "Workers":
        from .dispatch import Workers

        def silent(worker: str, seconds: float) -> None:
            self.tell(WorkerSilent(worker, seconds))

        return Workers(self.client, self.cluster.tend, silent)

    def carry_out(self, phases: Iterable[Phase]) -> None:
        """Do one phase after the other; stop if more than ``max_failures`` jobs have failed.

        Error: ``run-stopped`` for a full disk or a lost scheduler.
        """
        try:
            with self._open:
                for phase in phases:
                    self._through(phase)
        except TooManyFailuresError:
            self.outcome.stopped = True
        except store_errors(*_lost_client()) as error:
            raise S2SharpError(
                "run-stopped",
                f"The run in {self.out} stopped: {error}.",
                REMEDY_NO_SPACE + (" Is the scheduler there?" if self.config.scheduler else ""),
            ) from error

    def _through(self, phase: Phase) -> None:
        left = self._left(phase)
        first = next(left, None)
        if first is None:
            return
        from .dispatch import Flow, lost

        def submit(step: Step, attempt: int, where: dict[str, Any]) -> "Future[Any]":
            its, job = step
            where = where if its.gpu else {**where, "resources": None}
            return self.client.submit(its.task, *its.arguments(job), attempt, **where)

        def failure(step: Step, attempt: int, error: Exception) -> Record:
            _, job = step
            return write_record(self.out, lost(job.name, job.key, attempt, error, self.size))

        def land(step: Step, record: Record) -> None:
            its, job = step
            its.end(job, record)
            self._add(its, record)
            for follower in self._after(its, job):
                flow.add(follower, spare=follower[0].spare)

        def again(step: Step, record: Record) -> None:
            its, job = step
            its.end(job, record)
            self.tell(UnitRetried(its.name, record))

        def kind(step: Step) -> str:
            return step[0].name

        if phase.topic:
            self.client.subscribe_topic(phase.topic, lambda event: phase.heard(event[1]))
        retries = self.config.retries
        flow = Flow(self.workers, submit, failure, land, again, retries, self._check, kind)
        flow.through(chain([first], left))

    def _left(self, phase: Phase) -> Iterator[Step]:
        """Yield the jobs to send. Those that failed before come last, since their failures count towards the limit."""
        failed = []
        for job in phase.jobs:
            if not self._begins(phase, job):
                yield from self._after(phase, job)
            elif job.state == "failed":
                failed.append((phase, job))
            else:
                yield phase, job
        yield from failed

    def _after(self, phase: Phase, job: Job) -> Iterator[Step]:
        """Yield the jobs to send after a job has ended."""
        for follower in phase.then(job):
            if self._begins(*follower):
                yield follower
            else:
                yield from self._after(*follower)

    def _begins(self, phase: Phase, job: Job) -> bool:
        """Return whether a job is to be sent; if not, count it as skipped or failed."""
        if job.state in FINAL:
            if phase.full:
                self.outcome.counts["skipped"] += 1
            self.tell(UnitSkipped(phase.name, job.name, job.key))
            return False
        phase.prepare(job)
        if job.excuse is None:
            return True
        self.outcome.excused += 1
        record = Record(job.name, job.key, "failed", job.excuse.kind, str(job.excuse))
        self._add(phase, write_record(self.out, record))
        return False

    def _check(self) -> None:
        self.lease.check()
        if len(self.outcome.failed) - self.outcome.excused > self.config.max_failures:
            raise TooManyFailuresError

    def _add(self, phase: Phase, record: Record) -> None:
        self.hear(record)
        self.outcome.add(record, full=phase.full)
        self.tell(UnitDone(phase.name, record))


@contextmanager
def leased(file: Location, seconds: float, tell: Listener) -> Iterator[Lease]:
    """Hold the lease of the folder of a plan's ``file`` during the block.

    If the block ends without a frozen plan, the lease leaves nothing in the folder.

    Errors: ``busy``, ``lease-lost``; ``store-unwritable`` if the lease cannot be taken, or for a file that the block
    cannot read or write.
    """
    out = file.parent
    with ExitStack() as stack:
        with writing(f"Cannot write to {out}", "Choose another folder."):
            taken = Lease.taken(out, seconds, lambda text: tell(LeaseWaiting(text)))
            lease = stack.enter_context(taken)
        try:
            with writing(
                f"A file that {out} needs could not be read or written",
                "Check the path, its permissions and the free space.",
            ):
                yield lease
        finally:
            if not _planned(file):
                lease.forget()


def _planned(file: Location) -> bool:
    """Return whether the plan exists; True if its store does not answer."""
    try:
        return file.exists()
    except store_errors():
        return True


def _lost_client() -> tuple[type[Exception], ...]:
    """Return the errors of a client that has lost its scheduler; none if there has been no client."""
    module = sys.modules.get("distributed.client")
    return (module.ClosedClientError,) if module else ()
