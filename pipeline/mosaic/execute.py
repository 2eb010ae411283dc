"""Carry out a mosaic: its phases in order, their outcome, and their progress."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..cube.create import finish
from ..cube.intact import store_status
from ..engine.events import Listener
from ..engine.lease import Lease
from ..engine.phases import Engine, Job, Outcome, Phase
from ..engine.progress import Progress, held
from ..storage.files import sweep
from ..storage.location import Location
from .differences import Pair, merge
from .plan import MosaicPlan, Tile
from .publish import write_catalog
from .store import begin_writing, lay_out
from .unit import do_tile


@dataclass
class MosaicOutcome(Outcome):
    """Outcome of a mosaic; ``pairs``: differences between acquisitions."""

    pairs: list[Pair] = field(default_factory=list)


def carry_out(plan: MosaicPlan, lease: Lease, tell: Listener = lambda _: None) -> MosaicOutcome:
    """Make all tiles of a mosaic that are not done yet. The plan was made while ``lease`` was held.

    A failed tile is recorded and the others go on, until more than ``max_failures`` have failed. ``tell``: called with
    each event in this process.

    Errors: ``lease-lost`` when another process has taken over; ``scheduler-unreachable``, ``workers-lost``.
    """
    start = time.perf_counter()
    outcome = MosaicOutcome()
    to = plan.config.to
    lease.check()
    plan = plan.freeze()
    lay_out(plan.store, plan.canvas, plan.facts())
    begin = partial(begin_writing, plan.store)
    engine = Engine(plan.config, to, lease, outcome, tell, "--tile", begin)
    engine.carry_out(phases(plan, outcome))
    lease.check()
    for folder in ("ledger", "differences", "cogs", "stac"):
        sweep(to / folder)  # temporary files of killed writers
    if plan.config.publish:
        write_catalog(plan)
    outcome.pairs = merge(plan)
    status = "partial" if outcome.failed else "complete"
    if store_status(plan.store) != status:
        finish(plan.store, status)
    outcome.seconds = time.perf_counter() - start
    return outcome


def phases(plan: MosaicPlan, outcome: MosaicOutcome) -> Iterator[Phase]:
    """Yield what is to be done, in order; each phase is made when those before it are done."""
    states = plan.ledger.states()

    def phase(name: str, tiles: Iterable[tuple[Tile, str]], what: str = "") -> Phase:
        def arguments(job: Job) -> tuple[Any, ...]:
            takes = plan.takes(job.of) if job.of.level == 0 else ()
            return plan.config.to, plan.stamp, name, job, takes

        named = ((plan.name(tile, what), key, tile) for tile, key in tiles)
        jobs = (Job(unit, key, tile, states.get(unit, key)) for unit, key, tile in named)
        return Phase(name, jobs, do_tile, arguments, full=name == "mosaic", gpu=False)

    keys = {tile: plan.key(tile) for tile in plan.tiles()}
    yield phase("mosaic", keys.items())
    failed = {record.unit for record in outcome.failed}
    # Overviews and COGs leave a failed tile out, and are made again once it exists.
    made = {tile: key for tile, key in keys.items() if plan.name(tile) not in failed}
    above = made
    for level in range(1, plan.canvas.levels + 1):
        above = plan.overview_keys(above, level)
        yield phase("overviews", above.items())
    if plan.config.publish:
        packed = {tile: plan.cog_key(key) for tile, key in made.items()}
        yield phase("publish", packed.items(), "cogs")
    yield phase("compare", made.items(), "compared")


def mosaic_status(to: Location) -> Progress[MosaicPlan]:
    """Read the plan and list the ledger; nothing is written."""
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
