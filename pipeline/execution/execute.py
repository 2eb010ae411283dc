"""A run: its phases in their order, and what came of it; nothing is done twice."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from distributed.client import ClosedClientError

from s2sharp_core import S2SharpError

from ..cube.create import finish, lay_out
from ..cube.extend import move, recover
from ..cube.history import commit
from ..engine.cluster import connect
from ..engine.events import Event
from ..engine.flow import EnoughError
from ..engine.lease import Lease
from ..engine.ledger import Record
from ..engine.worker import REMEDY_NO_SPACE
from ..planning.frozen import freeze, read_plan
from ..planning.plan import Plan
from ..planning.queries import begun, done, owed
from ..planning.resume import resume
from ..planning.sensor_files import brief
from ..scenes.stage import clear
from ..storage.files import sweep
from ..storage.location import store_errors
from .phases import Road, RunOutcome, unwritable
from .unit import Run

__all__ = ["execute"]


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


def execute(plan: Plan, tell: Callable[[Event], None] = lambda _: None) -> RunOutcome:
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
    outcome = RunOutcome()
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
            plan = resume(plan.config) or plan
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


def _keep_snapshot(plan: Plan, outcome: RunOutcome) -> None:
    """Of a cube that is complete, if it was asked for."""
    if not plan.config.history or outcome.failed:
        return
    config = plan.config
    what = f"{len(plan.acquisitions)} acquisitions of {config.collection}, {config.datetime}"
    try:
        outcome.snapshot = commit(plan.out, f"{what}, by {config.method}, s2sharp {plan.software}")
    except S2SharpError as error:
        outcome.failed.append(Record("history", "", "failed", error.kind, str(error)))
