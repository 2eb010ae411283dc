"""A mosaic's tiles through a cluster: what the ledger does not have, a bounded number in flight."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future

from s2sharp_core import S2SharpError

from ..cube.create import finish
from ..engine.cluster import connect
from ..engine.events import Event
from ..engine.flow import EnoughError, Flow, Workers, lost
from ..engine.lease import Lease
from ..engine.ledger import Ledger, Record
from ..engine.worker import REMEDY_NO_SPACE, keep
from ..storage.files import sweep
from ..storage.location import store_errors
from .differences import Pair, merge
from .make import continued
from .plan import MosaicPlan, Tile, freeze
from .publish import write_catalogue
from .store import begin_writing, lay_out, status_of
from .unit import Job, do_tile

__all__ = ["MosaicOutcome", "execute"]


@dataclass
class MosaicOutcome:
    """What came of it. ``counts`` of the tiles of the full resolution by status, "skipped" being what was
    there; ``peak``: memory of a worker in bytes beyond its idle size; ``stopped``: too many had failed, and the rest
    was not begun.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Record] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0
    stopped: bool = False


def execute(plan: MosaicPlan, tell: Callable[[Event], None] = lambda _: None) -> MosaicOutcome:
    """Do all of a mosaic that is not done yet; a tile that fails is recorded and the others go on, until more have
    failed than ``max_failures``.

    Parameters
    ----------
    tell
        Called with each :class:`Event`, in this process.

    Raises
    ------
    S2SharpError
        ``busy`` when another mosaic is being made in the same folder, ``lease-lost`` when one has taken over;
        ``other-run``; ``scheduler-unreachable``, ``workers-lost``, ``store-unwritable``.
    """
    begin = time.perf_counter()
    outcome = MosaicOutcome()

    def waits(text: str) -> None:
        tell(Event("lease", about={"waits": text}))

    try:
        with Lease.taken(plan.config.to, tell=waits) as lease:
            if (plan.config.to / "mosaic.json").exists():
                plan = continued(plan)  # from where another has left it meanwhile
            plan = freeze(plan)
            lay_out(plan.store, plan.canvas, plan.facts())
            try:
                _Road(plan, lease, outcome, tell).travel()
            except EnoughError:
                outcome.stopped = True
            lease.check()
            for folder in ("ledger", "differences", "cogs", "stac"):
                sweep(plan.config.to / folder)  # what killed writers left behind
            if plan.config.publish:
                write_catalogue(plan)
            outcome.pairs = merge(plan)
            status = "partial" if outcome.failed else "complete"
            if status_of(plan.store) != status:
                finish(plan.store, status)
    except store_errors() as error:
        raise S2SharpError(
            "store-unwritable", f"The mosaic in {plan.config.to} stopped: {error}.", REMEDY_NO_SPACE
        ) from error
    outcome.seconds = time.perf_counter() - begin
    return outcome


@dataclass
class _Road:
    """The phases of a mosaic, each on what the ledger does not have."""

    plan: MosaicPlan
    lease: Lease
    outcome: MosaicOutcome
    tell: Callable[[Event], None]

    def __post_init__(self) -> None:
        self._states = Ledger(self.plan.config.to / "ledger").states()
        self._keys = {tile: self.plan.key(tile) for tile in self.plan.tiles()}
        self._begun = False

    def travel(self) -> None:
        """The tiles, then what is made of them; without a cluster where nothing is left to do."""
        plan = self.plan
        if all(self._done(name, key) for _, todo in self._phases() for _, name, key in todo):
            for phase, todo in self._phases():
                for _, name, key in todo:
                    self._skip(phase, name, key)
            return
        with connect(plan.config, plan.config.to) as cluster:
            self.tell(Event("cluster", about={"dashboard": cluster.client.dashboard_link}))
            workers = Workers(cluster.client, cluster.tend)
            for phase, todo in self._phases():
                self._through(cluster.client, workers, phase, todo)

    def _done(self, name: str, key: str) -> bool:
        return self._states.done(name, key)

    def _phases(self) -> Iterator[tuple[str, list[tuple[Tile, str, str]]]]:
        """Each phase with its tiles, their names in the ledger and their keys, once the ones before are done."""
        plan = self.plan
        yield "mosaic", [(tile, plan.name(tile), key) for tile, key in self._keys.items()]
        failed = {record.unit for record in self.outcome.failed}
        # What could not be made is no part of what follows from it, so that is redone once it is there.
        made = {tile: key for tile, key in self._keys.items() if plan.name(tile) not in failed}
        above = made
        for level in range(1, plan.canvas.levels + 1):
            above = plan.overview_keys(above, level)
            yield "overviews", [(tile, plan.name(tile), key) for tile, key in above.items()]
        if plan.config.publish:
            yield "publish", [(tile, plan.name(tile, "cogs"), key) for tile, key in made.items()]
        yield "compare", [(tile, plan.name(tile, "compared"), key) for tile, key in made.items()]

    def _through(
        self, client: Client, workers: Workers, phase: str, tiles: list[tuple[Tile, str, str]]
    ) -> None:
        def submit(job: Job, attempt: int, where: dict[str, Any]) -> Future[Any]:
            return client.submit(do_tile, job, attempt, **{**where, "resources": None})

        def failure(job: Job, attempt: int, error: Exception) -> Record:
            return keep(job.to, lost(job.name, job.key, attempt, error, "--tile"))

        def land(_job: Job, record: Record) -> None:
            self._take_in(phase, record)

        def again(_job: Job, record: Record) -> None:
            self.tell(Event(phase, record, again=True))

        retries = self.plan.config.retries
        flow = Flow(workers, submit, failure, land, again, retries, self._check)
        flow.through(self._todo(phase, tiles))

    def _todo(self, phase: str, tiles: list[tuple[Tile, str, str]]) -> Iterator[Job]:
        plan = self.plan
        failed = []
        for tile, name, key in tiles:
            if self._done(name, key):
                self._skip(phase, name, key)
                continue
            if not self._begun:
                begin_writing(plan.store)
                self._begun = True
            takes = plan.takes(tile) if tile.level == 0 else ()
            job = Job(plan.config.to, plan.stamp, phase, tile, takes, name, key)
            if self._states.get(name, key) == "failed":
                failed.append(job)
            else:
                yield job
        # Last: else they could use up what may fail before the others had their turn.
        yield from failed

    def _check(self) -> None:
        self.lease.check()
        if len(self.outcome.failed) > self.plan.config.max_failures:
            raise EnoughError

    def _take_in(self, phase: str, record: Record) -> None:
        if phase == "mosaic":
            self.outcome.counts[record.status] += 1
        if record.status == "failed":
            self.outcome.failed.append(record)
        self.outcome.peak = max(self.outcome.peak, record.peak - record.idle)
        self.tell(Event(phase, record))

    def _skip(self, phase: str, name: str, key: str) -> None:
        if phase == "mosaic":
            self.outcome.counts["skipped"] += 1
        self.tell(Event(phase, skipped=(name, key)))
