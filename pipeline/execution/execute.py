"""Carry out a run: its phases in order, and its outcome. No unit is done or planned twice."""

import time

from s2sharp_core import S2SharpError

from ..cube.create import finish, lay_out
from ..cube.history import commit
from ..engine.events import Listener
from ..engine.lease import Lease
from ..engine.ledger import Record
from ..engine.phases import Engine, leased
from ..planning.client_plan import ClientPlan
from ..planning.query_log import begun, done, unfinished_queries
from ..planning.resume import as_it_is_now
from ..planning.sensor_files import cube_attributes
from ..planning.unit_states import UnitStates
from ..scenes.stage import clear
from ..storage.files import sweep
from ..storage.location import writing
from .phases import RunOutcome, phases, unwritable
from .verify import quick_audit


def execute(plan: ClientPlan, tell: Listener = lambda _: None) -> RunOutcome:
    """Take the lease of the folder, and do everything in a plan that is not done yet, as :func:`carry_out`.

    If another run has worked in the folder since the plan was made, it continues from that run's results.

    Raises
    ------
    S2SharpError
        Errors of :func:`~s2sharp.engine.phases.leased`, :func:`~s2sharp.planning.resume.resume` and :func:`carry_out`.
    """
    config = plan.config
    with leased(config.out / plan.FILE, config.lease, tell) as lease:
        return carry_out(as_it_is_now(plan), lease, tell)


def carry_out(
    plan: ClientPlan, lease: Lease, tell: Listener = lambda _: None, *, brief: bool = False
) -> RunOutcome:
    """Do everything in a ``plan`` that is not done yet. The plan was made or resumed while ``lease`` was held.

    Run it again to continue. A unit whose key is in the ledger is skipped. A failed unit is tried again if that may help,
    and then recorded. The others continue, until more than ``max_failures`` have failed.

    ``tell``: called with each event in this process; ``brief``: whether the run is expected to take at most a minute, so
    that a local cluster needs no dashboard.

    Errors: ``lease-lost`` when another run has taken over; ``scheduler-unreachable``, ``workers-lost``,
    ``store-unwritable``.
    """
    start = time.perf_counter()
    outcome = RunOutcome(refused=len(plan.refused))
    lease.check()
    plan, moved = _laid_out(plan)
    for found in quick_audit(plan, overviews=not moved):
        outcome.warnings[f"{found.unit} is made anew: {'; '.join(found.what)}"] += 1
    known = UnitStates(plan)
    engine = Engine(
        plan.config, plan.out, lease, outcome, tell, "--shard", brief=brief, hear=known.hear
    )
    engine.carry_out(phases(plan, engine, known))
    lease.check()
    with unwritable("cube", f"complete {plan.store}", outcome):
        _complete(plan, outcome)
    _keep_snapshot(plan, outcome)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _complete(plan: ClientPlan, outcome: RunOutcome) -> None:
    """Say in the cube how far it is, and tidy up."""
    weights = {a.take: plan.weights_of(a.take) for a in plan.acquisitions}
    outcome.owed = unfinished_queries(plan.out) if outcome.failed else done(plan)
    takes = sorted({a.take for a in plan.acquisitions}) if plan.own_sensors else ()
    sensors = {take: cube_attributes(plan.sensor(take)) for take in takes}
    whole = "partial" if outcome.failed or outcome.owed else "complete"
    finish(plan.store, whole, weights, sensors)
    # Drafts that killed writers left behind; the lease's are this process's own.
    sweep(plan.out, deep=False)
    for folder in ("acquisitions", "cogs", "fits", "ledger", "pictures", "sensors", "stac"):
        sweep(plan.out / folder)
    if plan.repairs and not outcome.failed:
        plan.model_copy(update={"repairs": ()}).freeze()


def _laid_out(plan: ClientPlan) -> tuple[ClientPlan, bool]:
    """Freeze the plan and lay out its cube; return the plan, and whether the cube was moved."""
    with writing(f"Cannot write to {plan.out}", "Choose another --out."):
        if not plan.stamp:
            # Otherwise the stage of an earlier, removed run would be used.
            clear(plan.out / "stage")
        # The plan is frozen first, so that a next run can complete an interrupted layout.
        plan = plan.freeze()
        begun(plan)
        facts = {x.group: plan.facts(x.epsg) for x in plan.layouts}
        return plan, lay_out(plan.store, plan.layouts, facts, closely=bool(plan.repairs))


def _keep_snapshot(plan: ClientPlan, outcome: RunOutcome) -> None:
    """Commit a snapshot of the cube, if requested and no unit failed."""
    if not plan.config.history or outcome.failed:
        return
    config = plan.config
    what = f"{len(plan.present)} acquisitions of {config.collection}, {config.datetime}"
    try:
        outcome.snapshot = commit(plan.out, f"{what}, by {config.method}, s2sharp {plan.software}")
    except S2SharpError as error:
        outcome.failed.append(Record("history", "", "failed", error.kind, str(error)))
