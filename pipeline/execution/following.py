"""Jobs that follow from units: overviews and pictures of an acquisition, made while others are still sharpened."""

from collections.abc import Callable, Iterator
from itertools import groupby

from ..engine.phases import Job, Phase, Step
from ..planning.client import ClientPlan
from ..planning.standings import Gaps, Standing, above
from ..planning.units import Unit

__all__ = ["Following"]


class Following:
    """Takes an acquisition from its units to its overviews, level by level, and to what is published of it.

    A level begins when all jobs of the one below are done with: then it is known what of that is missing, and keys are
    those that they would have after all else. A level of which something failed before is left, with those above it, to
    the end of the run: it could use up what may fail.

    Attributes
    ----------
    begun
        (acquisition, level) of all that were begun here, −1 for what is published.
    """

    def __init__(
        self,
        plan: ClientPlan,
        gaps: Gaps,
        phase: Callable[[int], Phase],
        job: Callable[[Standing[Unit]], Job],
    ) -> None:
        self._plan, self._gaps, self._job = plan, gaps, job
        self._phase = phase
        self._asked = frozenset(plan.asked)
        # Jobs of each acquisition's present level that are not done with.
        self._open: dict[str, int] = {}
        self.begun: set[tuple[str, int]] = set()

    def dealt(self, found: Iterator[Standing[Unit]]) -> Iterator[Standing[Unit]]:
        """Pass the units of the full resolution on, and count those of each acquisition: its last is passed on counted."""
        for whose, some in groupby(found, lambda x: self._plan.acquisition_id(x.of)):
            # No more is made of the others than what is to be repaired.
            counted = whose in self._asked
            if counted:
                self._open[whose] = 0
            held: list[Standing[Unit]] = []
            for one in some:
                if counted:
                    self._open[whose] += 1
                yield from held
                held = [one]
            yield from held

    def then(self, job: Job) -> list[Step]:
        """Return the jobs that may begin now that ``job`` is done with."""
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
        jobs = [*map(self._job, above(self._plan, unit, level, self._gaps))]
        if not jobs or any(job.state == "failed" for job in jobs):
            return []
        self.begun.add((whose, level))
        self._open[whose] = len(jobs)
        phase = self._phase(level)
        return [(phase, job) for job in jobs]
