"""Phases of a run: sensors, fits, units, overviews, pictures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from s2sharp_core import S2SharpError
from s2sharp_core.lazy import LazyFunction

from ..engine.events import FitProgress
from ..engine.ledger import FINAL, Record
from ..engine.phases import Engine, Job, Outcome, Phase
from ..engine.worker import REMEDY_NO_SPACE
from ..planning.acquisition_files import freeze_acquisition
from ..planning.client_plan import ClientPlan
from ..planning.plan import Plan
from ..planning.query_log import Query
from ..planning.sensor_files import is_measured
from ..planning.unit_states import UnitState, UnitStates, phase_of
from ..planning.units import Datatake, Unit
from ..storage.location import store_errors
from .catalog import publish_catalog
from .dependent_jobs import DependentJobs
from .run import TOPIC, Run
from .staging import Stager

# Functions of workers, by name, so that this process does not load the libraries that compute.
sharpener_of = LazyFunction("s2sharp.planning.sharpener", "sharpener_of")
measure_unit = LazyFunction("s2sharp.execution.datatake_jobs", "measure_unit")
fit_unit = LazyFunction("s2sharp.execution.datatake_jobs", "fit_unit")
sharpen_unit = LazyFunction("s2sharp.execution.unit", "sharpen_unit")
overview_unit = LazyFunction("s2sharp.execution.unit", "overview_unit")
publish_unit = LazyFunction("s2sharp.execution.publish", "publish_unit")


@dataclass
class RunOutcome(Outcome):
    """Outcome of a run.

    ``disagreement``: band → largest of the units' median differences between neighbouring tiles, in DN; ``owed``: queries
    of the cube that are not done; ``snapshot``: id of the new snapshot, if any; ``refused``: number of refused items.
    """

    disagreement: dict[str, float] = field(default_factory=dict)
    owed: tuple[Query, ...] = ()
    snapshot: str | None = None
    refused: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "refused": self.refused}

    def add(self, record: Record, *, full: bool) -> None:
        super().add(record, full=full)
        for band, value in record.disagreement.items():
            self.disagreement[band] = max(value, self.disagreement.get(band, 0.0))


@contextmanager
def unwritable(name: str, what: str, outcome: Outcome) -> Iterator[None]:
    """Count an error of writing after all units as one more failure, so that the rest of the run stays valid."""
    try:
        yield
    except store_errors() as error:
        message = f"Cannot {what}: {error}. {REMEDY_NO_SPACE}"
        outcome.failed.append(Record(name, "", "failed", "store-unwritable", message))


def phases(plan: ClientPlan, engine: Engine, known: UnitStates) -> Iterator[Phase]:
    """Yield the phases of a run in order; each one is made when those before it are done.

    Overviews and pictures of an acquisition are made after its units (:class:`DependentJobs`). Their own phases at the end
    make the rest: earlier failures, acquisitions without requested units, and repairs.
    """
    stager = Stager(plan, engine)
    frozen: set[str] = set()

    def run() -> Run:
        return Run(plan.out, plan.stamp, engine.cluster.threads)

    def prepare(job: Job) -> None:
        acquisition = plan.acquisition(job.of)
        if acquisition.id not in frozen:
            freeze_acquisition(plan.out, acquisition)
            frozen.add(acquisition.id)

    def made_of(level: int, found: Iterable[UnitState[Unit]] = ()) -> Phase:
        def arguments(job: Job) -> tuple[Any, ...]:
            return run(), job.of, job.key

        name, jobs, then, last = phase_of(level), map(_job, found), following.then, level < 0
        task = publish_unit if last else overview_unit
        return Phase(name, jobs, task, arguments, prepare, then=then, spare=last)

    following = DependentJobs(plan, known, made_of, _job)

    if plan.measures:
        # A measurement that fails costs nothing but that: the known sensor is used.
        found = known.taken(("sensor",))
        jobs = (_job(x, whole=is_measured(plan, x.of)) for x in found)
        yield Phase("sensor", jobs, measure_unit, lambda job: (run(), job.of))
    unfitted: dict[str, S2SharpError] = {}
    if plan.learns:
        found = known.taken(("fit",))
        jobs = (_job(x, whole=_readable(plan, x)) for x in found)
        yield _fits(jobs, engine, run, unfitted)
    yield Phase(
        "sharpen",
        (
            _job(x, excuse=unfitted.get(plan.acquisition(x.of).take))
            for x in following.dealt(known.units())
        ),
        sharpen_unit,
        lambda job: (run(), job.of, stager.need(job.of)),
        prepare,
        stager.release,
        following.then,
        full=True,
    )
    begun = following.begun
    for level in range(1, plan.levels + 1):
        yield made_of(level, known.derived(level, without=begun))
    if plan.config.publish:
        yield made_of(-1, known.derived(-1, without=begun))
        with unwritable("catalog", "write the STAC catalog", engine.outcome):
            publish_catalog(plan)
    if not engine.outcome.failed:
        stager.clear()


def _fits(
    jobs: Iterable[Job], engine: Engine, run: Callable[[], Run], unfitted: dict[str, S2SharpError]
) -> Phase:
    """Fit the method to each datatake; a failed fit fails only that datatake's units."""

    def heard(about: Mapping[str, Any]) -> None:
        # Dask adds the worker.
        engine.tell(FitProgress(about["take"], about["step"], about["steps"], about["loss"]))

    def end(job: Job, record: Record) -> None:
        unfitted.pop(job.of.take, None)
        if record.status == "failed":
            unfitted[job.of.take] = S2SharpError(record.kind, record.message)

    return Phase(
        "fit", jobs, fit_unit, lambda job: (run(), job.of), end=end, topic=TOPIC, heard=heard
    )


def _job(found: UnitState[Any], *, whole: bool = True, excuse: S2SharpError | None = None) -> Job:
    """Make a job of a unit; a finished one with broken files (not ``whole``) is done again."""
    _, of, name, key, state = found
    known = None if state == "left" or (state in FINAL and not whole) else state
    return Job(name, key, of, known, excuse)


def _readable(plan: Plan, found: UnitState[Datatake]) -> bool:
    """Return whether the files of a finished fit can be read."""
    try:
        if found.state in FINAL:
            sharpener_of(plan, found.of.take)
    except S2SharpError:
        return False
    return True
