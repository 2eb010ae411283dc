"""A run from its settings to its outcome, with what is shown on the way: for the command line and for Python."""

from ..cube.history import check_place
from ..engine.events import RunEnded, RunPlanned
from ..planning.client import ClientPlan
from ..planning.config import RunConfig
from ..planning.cost import Estimate, estimate
from ..planning.make import make_plan
from ..planning.resume import resume
from ..ui.progress import prepare, watched
from ..ui.terminal import busy, check_extras
from .execute import execute
from .phases import RunOutcome

__all__ = ["decide", "make_ready", "watch"]

_BRIEF = 60.0
"""Seconds that a run is predicted to take below which nobody looks at a dashboard."""


def make_ready(config: RunConfig) -> None:
    """Turn the terminal to what a run asks for, and refuse one that lacks a package before it begins.

    Raises
    ------
    S2SharpError
        ``bad-config``.
    """
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
        check_place(config.out)


def decide(config: RunConfig) -> tuple[ClientPlan, Estimate]:
    """The plan of a run, new or continued, and its cost.

    Raises
    ------
    S2SharpError
        As :func:`make_plan`.
    """
    with busy(f"Searching {config.collection} …"):
        plan = resume(config) or make_plan(config)
    with busy("Timing one window …"):
        return plan, estimate(plan)


def watch(plan: ClientPlan, cost: Estimate) -> RunOutcome:
    """Execute a plan, and show how it goes.

    Raises
    ------
    S2SharpError
        As :func:`execute`.
    """
    before = {"sensor": plan.measures, "fit": plan.learns}
    phases = {phase: len(plan.datatakes) for phase, there in before.items() if there}
    with watched(plan.config, {**phases, "sharpen": cost.units}, cost.units) as tell:
        begun = {"units": cost.units, "todo": cost.todo, "windows": cost.windows}
        begun |= {"sensors": cost.sensors, "fits": cost.fits}
        tell(RunPlanned(begun))
        outcome = execute(plan, tell, brief=cost.seconds < _BRIEF)
        ended = {"units": dict(outcome.counts), "failed": len(outcome.failed)}
        more = {"refused": len(plan.refused), "stopped": outcome.stopped}
        tell(RunEnded({**ended, **more, "seconds": round(outcome.seconds, 1)}))
    return outcome
