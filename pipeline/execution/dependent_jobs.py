"""Jobs that depend on units: overviews and pictures of an acquisition, made while others are still sharpened."""

from collections.abc import Callable, Iterator
from itertools import groupby

from ..engine.phases import Job, Phase, Step
from ..planning.client_plan import ClientPlan
from ..planning.unit_states import UnitState, UnitStates
from ..planning.units import Unit


class DependentJobs:
    """Dependent jobs of each acquisition: overviews level by level after its units, then its published files.

    A level begins when all jobs of the level below have ended, so that its missing shards and its keys are final. A level
    with an earlier failure, and the levels above it, wait for the end of the run, since another failure would count
    towards ``max_failures``. ``begun``: (acquisition, level) of all levels begun here; −1 for published files.
    """

    def __init__(
        self,
        plan: ClientPlan,
        known: UnitStates,
        phase: Callable[[int], Phase],
        job: Callable[[UnitState[Unit]], Job],
    ) -> None:
        self._plan, self._known, self._job = plan, known, job
        self._phase = phase
        self._asked = frozenset(plan.asked)
        # Number of unfinished jobs in the current level of each acquisition.
        self._open: dict[str, int] = {}
        self.begun: set[tuple[str, int]] = set()

    def dealt(self, found: Iterator[UnitState[Unit]]) -> Iterator[UnitState[Unit]]:
        """Pass the units of the full resolution on and count them by acquisition, the last one before it is passed on."""
        for whose, some in groupby(found, lambda x: self._plan.acquisition_id(x.of)):
            # Acquisitions that were not requested only have repairs.
            counted = whose in self._asked
            if counted:
                self._open[whose] = 0
            held: list[UnitState[Unit]] = []
            for one in some:
                if counted:
                    self._open[whose] += 1
                yield from held
                held = [one]
            yield from held

    def then(self, job: Job) -> list[Step]:
        """Return the jobs that may begin after ``job`` has ended."""
        unit: Unit = job.of
        whose = self._plan.acquisition_id(unit)
        if whose not in self._open:
            return []
        self._open[whose] -= 1
        return [] if self._open[whose] else self._next(whose, unit)

    def _next(self, whose: str, unit: Unit) -> list[Step]:
        del self._open[whose]
        last = self._plan.layout(unit.epsg).levels
        level = unit.level + 1 if unit.level < last else -1
        if unit.level < 0 or (level < 0 and not self._plan.config.publish):
            return []
        jobs = [*map(self._job, self._known.above(unit, level))]
        if not jobs or any(job.state == "failed" for job in jobs):
            return []
        self.begun.add((whose, level))
        self._open[whose] = len(jobs)
        phase = self._phase(level)
        return [(phase, job) for job in jobs]
