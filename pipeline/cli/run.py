"""``s2sharp plan`` and ``run`` at work: the plan as a table, and what came of it."""

from collections import Counter

import typer
from rich.markup import escape
from rich.table import Table

from ..cube.history import check_place
from ..engine.events import Event
from ..execution.catalogue import picture_path
from ..execution.execute import execute
from ..execution.phases import RunOutcome
from ..planning.config import RunConfig
from ..planning.cost import Estimate, check_memory, check_size, estimate
from ..planning.make import make_plan
from ..planning.plan import Plan
from ..planning.resume import resume
from ..storage.files import files
from ..storage.location import Location
from ..ui.progress import prepare, watched
from ..ui.terminal import PARTIAL, check_extras, console, duration_text, problems, size_text
from .inspect import say_owed

__all__ = ["carry_out", "planned"]

# Seconds of a run during which nobody opens a dashboard.
_BRIEF = 60.0


def planned(config: RunConfig) -> tuple[Plan, Estimate]:
    """The plan of a run, new or continued, and its cost, both shown.

    Raises
    ------
    S2SharpError
        As :func:`make_plan`; ``memory-exceeded`` when a worker would need more than it may.
    """
    with console.status(f"Searching {config.collection} …"):
        plan = resume(config) or make_plan(config)
    with console.status("Timing one window …"):
        cost = estimate(plan)
    _show(plan, cost)
    check_memory(plan, cost)
    return plan, cost


def _show(plan: Plan, cost: Estimate) -> None:
    table = Table(title="Plan", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Acquisitions", f"{cost.acquisitions} of {cost.scenes} scenes" + _left_out(plan))
    for layout in plan.layouts:
        height, width = layout.area.pixels(10)
        cube = (
            f"{len(layout.times)} × {height} × {width} px of 10 m, shards of {layout.shard * 6} px"
        )
        table.add_row(f"EPSG:{layout.epsg}", cube)
    table.add_row(
        "Method",
        f"{plan.config.method} → {' '.join(plan.config.bands)}"
        + (f", in {plan.precision}" if plan.precision else ""),
    )
    table.add_row("Sensor", _sensor(plan, cost))
    if plan.learns:
        table.add_row(
            "Fits",
            f"{cost.fits} of {len(plan.datatakes)} datatakes still to be learned from, each on "
            f"{plan.config.fit_windows} windows"
            + (f" in {plan.options.steps} steps" if (plan.options.steps or 1) > 1 else ""),
        )
    done = f", {cost.units - cost.todo} of them done already" if cost.todo < cost.units else ""
    about = "" if cost.exact else "about "
    table.add_row("Units", f"{about}{cost.units}{done}; {about}{cost.windows} windows to sharpen")
    through = ", through the stage" if plan.staged else ", from the files"
    table.add_row("Reads", f"{size_text(cost.read)} of pixels{through}")
    table.add_row(
        "Writes",
        f"about {size_text(cost.delivered)} in all, the cube {size_text(cost.output)} of it",
    )
    table.add_row("Memory", f"{size_text(cost.memory)} for each worker beyond its idle size")
    workers = f"{cost.workers} worker" + "s" * (cost.workers > 1)
    table.add_row("Time", f"about {duration_text(cost.seconds)} on {workers}")
    console.print(table)
    for refusal in plan.refused:
        problems.print(f"[yellow]left out:[/] {escape(refusal.message)}")


def _sensor(plan: Plan, cost: Estimate) -> str:
    """How the coarse bands are taken to relate to the 10 m bands."""
    if plan.measures:
        return (
            f"measured on some windows of each datatake, {cost.sensors} of {len(plan.datatakes)} still to be; "
            "the default where that tells too little"
        )
    return {"measured": "of no account to this method"}.get(plan.config.sensor, plan.config.sensor)


def _left_out(plan: Plan) -> str:
    out = []
    if plan.cloudy:
        out.append(f"{len(plan.cloudy)} left out as cloudier than {plan.config.max_cloud:g} %")
    if plan.refused:
        out.append(f"{len(plan.refused)} items refused")
    for what, count in Counter(choice.what for choice in plan.choices).items():
        out.append(
            f"{count} {'replaced by newer ones' if what == 'replaced' else 'joined in one tile'}"
        )
    return f" ({', '.join(out)})" if out else ""


def carry_out(config: RunConfig) -> Plan:
    """Plan, run with progress, and report.

    Raises
    ------
    typer.Exit
        With :data:`PARTIAL` when some of it failed.
    S2SharpError
        As :func:`make_plan` and :func:`execute`; ``bad-config`` without what publishing needs.
    """
    prepare(config)
    if config.publish:
        check_extras(
            ("matplotlib",),
            "Publishing",
            "Install it (`pip install 's2sharp[publish]'`), or run with --no-publish.",
        )
    if config.history:
        check_extras(
            ("icechunk",),
            "A history",
            "Install it (`pip install 's2sharp[history]'`), or run without --history.",
        )
        check_place(config.out)
    plan, cost = planned(config)
    check_size("run", cost, "narrow --bbox or --datetime", yes=config.yes)
    outcome = _watched(plan, cost)
    for text, count in outcome.warnings.items():
        problems.print(
            f"[yellow]warning:[/] {escape(text)}" + (f" ({count} units)" if count > 1 else "")
        )
    _report(plan, cost, outcome)
    pictures = [picture_path(plan.out, a) for a in plan.acquisitions]
    _show_results(plan, [p for p in pictures if p.exists()], outcome.snapshot)
    if outcome.stopped:
        problems.print(
            f"[red]Stopped:[/] more than {config.max_failures} units failed (--max-failures), and the rest was not begun. "
            "The same command goes on from here."
        )
    elif outcome.failed or plan.refused:
        problems.print(
            f"{len(outcome.failed)} units failed and {len(plan.refused)} items were refused; what is "
            "written is valid. The same command does again only what failed; with --since last it "
            "takes in, too, items that were refused and have been mended since."
        )
    if outcome.failed or plan.refused:
        raise typer.Exit(PARTIAL)
    say_owed(outcome.owed)
    return plan


def _watched(plan: Plan, cost: Estimate) -> RunOutcome:
    """Execute a plan, and show how it goes."""
    before = {"sensor": plan.measures, "fit": plan.learns}
    phases = {phase: len(plan.datatakes) for phase, there in before.items() if there}
    with watched(plan.config, {**phases, "sharpen": cost.units}, cost.units) as tell:
        begun = {"units": cost.units, "todo": cost.todo, "windows": cost.windows}
        begun |= {"sensors": cost.sensors, "fits": cost.fits}
        tell(Event("plan", about=begun))
        outcome = execute(plan, tell, brief=cost.seconds < _BRIEF)
        ended = {"units": dict(outcome.counts), "failed": len(outcome.failed)}
        more = {"refused": len(plan.refused), "stopped": outcome.stopped}
        tell(Event("done", about={**ended, **more, "seconds": round(outcome.seconds, 1)}))
    return outcome


def _report(plan: Plan, cost: Estimate, outcome: RunOutcome) -> None:
    """What was predicted beside what came of it."""
    table = Table(title="Predicted and actual", title_justify="left")
    for name in ("", "predicted", "actual"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("units", str(cost.todo), ", ".join(f"{n} {s}" for s, n in outcome.counts.items()))
    table.add_row("windows", str(cost.windows), str(outcome.windows))
    table.add_row("time", duration_text(cost.seconds), duration_text(outcome.seconds))
    if outcome.peak:
        table.add_row("memory of a worker", size_text(cost.memory), size_text(outcome.peak))
    size = sum(files(plan.store).values())
    table.add_row(
        "cube on disk", size_text(cost.output) if cost.todo == cost.units else "", size_text(size)
    )
    console.print(table)
    band = max(outcome.disagreement, key=outcome.disagreement.__getitem__, default=None)
    if band is not None:
        console.print(
            f"Overlaps  where tiles overlap, a pixel is one tile's; the others differ from it by {outcome.disagreement[band]:.1f} "
            f"DN at most ({band}; of each unit the median)"
        )


def _show_results(plan: Plan, pictures: list[Location], snapshot: str | None) -> None:
    console.print(f"Cube      {plan.store}")
    if plan.config.publish:
        console.print(
            f"COGs      {plan.out / 'cogs'}\nSTAC      {plan.out / 'stac' / 'collection.json'}"
        )
    for picture in pictures[:3]:
        console.print(f"Picture   {picture}")
    if snapshot:
        console.print(f"Snapshot  {snapshot}")
    code = f", epsg={plan.layouts[0].epsg}" if len(plan.layouts) > 1 else ""
    console.print(
        f'\n[bold]import s2sharp\ncube = s2sharp.open_cube("{escape(str(plan.out))}"{code})[/]\n'
        "cube   # an xarray.Dataset: all bands at 10 m, dims (time, y, x)"
    )
