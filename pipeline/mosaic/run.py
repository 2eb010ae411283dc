"""A mosaic's tiles through a cluster: what the ledger does not have, a bounded number in flight."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future

from s2sharp_core import S2SharpError

from ..cube import finish
from ..flow import Flow, Workers
from ..ledger import FINAL, Ledger, Record
from ..run import connect
from ..unit import SPACE
from .deliver import write_catalogue
from .differences import Pair, merge
from .plan import MosaicPlan, Tile, freeze
from .store import begin_writing, lay_out, status_of
from .tile import Job, do_tile, keep

__all__ = ["Outcome", "execute"]


@dataclass
class Outcome:
    """What came of it. ``counts`` of the tiles of the full resolution by status, "skipped" being what was
    there; ``peak``: memory of a worker in bytes beyond its idle size.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Record] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0


def execute(
    plan: MosaicPlan, tell: Callable[[str, Record | None], None] = lambda *_: None
) -> Outcome:
    """Do all of a mosaic that is not done yet; a tile that fails is recorded and the others go on.

    Parameters
    ----------
    tell
        Called in this process with each phase ("mosaic", "overviews", "publish", "compare") and record; None
        for what was done before.

    Raises
    ------
    S2SharpError
        ``scheduler-unreachable``, ``store-unwritable``.
    """
    begin = time.perf_counter()
    outcome = Outcome()
    try:
        plan = freeze(plan)
        lay_out(plan.store, plan.canvas, plan.facts())
        workers = plan.config.workers or 1
        with connect(plan.config.scheduler, workers) as (client, _):
            _Road(client, plan, outcome, tell).everything()
        if plan.config.publish:
            write_catalogue(plan)
        outcome.pairs = merge(plan)
        status = "partial" if outcome.failed else "complete"
        if status_of(plan.store) != status:
            finish(plan.store, status)
    except OSError as error:
        raise S2SharpError(
            "store-unwritable", f"The mosaic in {plan.config.to} stopped: {error}.", SPACE
        ) from error
    outcome.seconds = time.perf_counter() - begin
    return outcome


@dataclass
class _Road:
    """The phases of a mosaic through one cluster, each on what the ledger does not have."""

    client: Client
    plan: MosaicPlan
    outcome: Outcome
    tell: Callable[[str, Record | None], None]

    def __post_init__(self) -> None:
        self._workers = Workers(self.client)
        self._states = Ledger(self.plan.config.to / "ledger").states()
        self._begun = False

    def everything(self) -> None:
        """The tiles, then what is made of them."""
        plan = self.plan
        keys = {tile: plan.key(tile) for tile in plan.tiles()}
        self._through("mosaic", ((tile, plan.name(tile), key) for tile, key in keys.items()))
        failed = {record.unit for record in self.outcome.failed}
        # What could not be made is no part of what follows from it, so that is redone once it is there.
        made = {tile: key for tile, key in keys.items() if plan.name(tile) not in failed}
        above = made
        for level in range(1, plan.canvas.levels + 1):
            above = plan.overview_keys(above, level)
            self._through("overviews", ((t, plan.name(t), key) for t, key in above.items()))
        if plan.config.publish:
            self._through("publish", ((t, plan.name(t, "cogs"), key) for t, key in made.items()))
        self._through("compare", ((t, plan.name(t, "compared"), key) for t, key in made.items()))

    def _through(self, phase: str, tiles: Iterable[tuple[Tile, str, str]]) -> None:
        def submit(job: Job, _attempt: int, where: dict[str, Any]) -> Future[Any]:
            return self.client.submit(do_tile, job, **{**where, "resources": None})

        def failure(job: Job, error: Exception) -> Record:
            # Whatever a worker dies of, or raises beyond what a tile expects, is that tile's failure.
            message = f"{job.name}: {type(error).__name__}: {error}"
            lost = Record(job.name, job.key, "failed", kind="worker-error", message=message)
            return keep(job.to, lost)

        def land(_job: Job, record: Record) -> None:
            self._take_in(phase, record)

        retries = self.plan.config.retries
        flow = Flow(self._workers, submit, failure, land, lambda *_: None, retries, lambda: None)
        flow.through(self._todo(phase, tiles))

    def _todo(self, phase: str, tiles: Iterable[tuple[Tile, str, str]]) -> Iterator[Job]:
        plan = self.plan
        for tile, name, key in tiles:
            if self._states.get((name, key[:24])) in FINAL:
                self._take_in(phase, None)
                continue
            if not self._begun:
                begin_writing(plan.store)
                self._begun = True
            takes = plan.takes(tile) if tile.level == 0 else ()
            yield Job(plan.config.to, plan.stamp, phase, tile, takes, name, key)

    def _take_in(self, phase: str, record: Record | None) -> None:
        if phase == "mosaic":
            self.outcome.counts[record.status if record else "skipped"] += 1
        if record is not None:
            if record.status == "failed":
                self.outcome.failed.append(record)
            self.outcome.peak = max(self.outcome.peak, record.peak - record.idle)
        self.tell(phase, record)
