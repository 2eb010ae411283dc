"""Status of a mosaic, from its folder alone."""

from collections import Counter

from ..cube.intact import store_status
from ..engine.progress import Progress, held
from ..storage.location import Location
from .execute import MosaicOutcome, phases
from .plan import MosaicPlan


def mosaic_status(to: Location) -> Progress[MosaicPlan]:
    """Read the plan and list the ledger; nothing is written.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    plan, outcome = MosaicPlan.read(to), MosaicOutcome()
    units: dict[str, Counter[str]] = {}
    for phase in phases(plan, outcome):
        count = units.setdefault(phase.name, Counter())
        for job in phase.jobs:
            count[job.state or "left"] += 1
            if job.state == "failed":
                # Phases that follow do without it, as they did when they were made.
                outcome.failed.append(plan.ledger.read(job.name, job.key, "failed"))
    return Progress(plan, store_status(plan.store), units, tuple(outcome.failed), held(to))
