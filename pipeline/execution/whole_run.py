"""Carry out a run from its settings to its outcome and show its progress, for the command line and for Python."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from ..engine.events import Event, Listener, RunPlanned, UnitDone
from ..engine.lease import Lease
from ..planning.client_plan import ClientPlan
from ..planning.config import RunConfig
from ..planning.cost import Estimate, estimate
from ..planning.plan import Plan
from ..planning.resume import plan_of
from ..ui.progress import prepare, watch_work
from ..ui.terminal import busy, check_extras

if TYPE_CHECKING:
    from .phases import RunOutcome

_BRIEF = 60.0
"""Predicted seconds of a run below which it has no dashboard."""


def make_ready(config: RunConfig) -> None:
    """Set up the terminal for a run, and refuse it if a package is missing."""
    prepare(config)
    if config.publish:
        check_extras(
            ("matplotlib",),
            "Publishing",
            "Install it (`pip install 's2sharp[publish]'`), or run with --no-publish (publish=False).",
        )
    if config.history:
        check_extras(
            ("icechunk",),
            "A history",
            "Install it (`pip install 's2sharp[history]'`), or run without --history.",
        )
        from ..cube.history import check_place

        check_place(config.out)


def plan_run(config: RunConfig) -> tuple[ClientPlan, Estimate]:
    """Make the plan of a run, new or continued, and its cost."""
    with busy(f"Searching {config.collection} …"):
        plan = plan_of(config)
    with busy("Timing one window …"):
        return plan, estimate(plan)


def run_watched(
    config: RunConfig,
    planned: Callable[[], tuple[ClientPlan, Estimate]],
    ahead: Callable[[], None] | None,
) -> "tuple[ClientPlan, Estimate, RunOutcome]":
    """Take the lease of a run's folder, then plan, carry out the plan and show its progress.

    ``ahead``: loads what the caller needs afterwards, if anything. It is called in a thread of its own when the last unit
    is sharpened, while workers still publish.
    """

    def load(what: Callable[[], None]) -> None:
        with suppress(Exception):  # who needs it will tell
            what()

    def work(plan: ClientPlan, cost: Estimate, lease: Lease, tell: Listener) -> "RunOutcome":
        from .execute import carry_out  # `plan` does not write

        facts = {"units": cost.units, "todo": cost.todo, "windows": cost.windows}
        facts |= {"sensors": cost.sensors, "fits": cost.fits}
        before = {"sensor": plan.measures, "fit": plan.learns}
        totals = {phase: len(plan.datatakes) for phase, there in before.items() if there}
        tell(RunPlanned(facts, {**totals, "sharpen": cost.units}))
        left = cost.todo

        def hear(event: Event) -> None:
            nonlocal left
            tell(event)
            if isinstance(event, UnitDone) and event.full:
                left -= 1
                if not left and ahead:
                    Thread(target=load, args=(ahead,), daemon=True).start()

        return carry_out(plan, lease, hear, brief=cost.seconds < _BRIEF)

    return watch_work(config, config.out / Plan.FILE, config.lease, planned, work)
