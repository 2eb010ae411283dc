"""Implementation of ``s2sharp mosaic``: the plan as a table, and the outcome."""

import typer
from rich.markup import escape
from rich.table import Table

from ..engine.cost import check_size
from ..engine.events import Listener, RunPlanned
from ..engine.lease import TERM, Lease
from ..mosaic.config import MosaicConfig
from ..mosaic.cost import Estimate, estimate
from ..mosaic.differences import differences_path, kinds
from ..mosaic.execute import MosaicOutcome
from ..mosaic.execute import carry_out as make_tiles
from ..mosaic.make import make_plan
from ..mosaic.plan import MosaicPlan
from ..report.make import write_page
from ..ui.progress import watch_work
from ..ui.terminal import PARTIAL, console, duration_text, problems, size_text
from .tables import show_outcome, show_plan


def planned(config: MosaicConfig, *, yes: bool = True) -> tuple[MosaicPlan, Estimate]:
    """Make and print the plan of a mosaic, new or continued, and its cost; without ``yes``, refuse one that is very
    large.

    Errors of :func:`make_plan`; ``memory-exceeded``; ``very-large``.
    """
    with console.status("Reading the cube …"):
        plan = make_plan(config)
        cost = estimate(plan)
    show_plan(_facts(plan, cost))
    if plan.cube.status != "complete":
        problems.print(
            f"[yellow]warning:[/] the cube is {plan.cube.status}. Once it is complete, the same command adds the "
            "rest."
        )
    check_size("mosaic", cost, "choose a coarser --resolution or a smaller --bbox", yes=yes)
    return plan, cost


def _facts(plan: MosaicPlan, cost: Estimate) -> list[tuple[str, str]]:
    """Return the facts of a mosaic (grid, reads, work, needs, writes) as (name, text)."""
    config = plan.config
    height, width = plan.area.shape
    unit = "m" if plan.grid.metres == plan.grid.resolution else "units"
    shared = [group.epsg for group in plan.cube.groups.values() if group.grid == plan.grid]
    pixels = [f"copied from EPSG:{epsg}" for epsg in shared]
    if len(plan.cube.groups) > len(shared):
        pixels.append(f"{'others ' if shared else ''}resampled ({config.resampling})")
    names = [period.name for period in plan.periods]
    shown = ", ".join(names if len(names) <= 4 else [*names[:2], "…", names[-1]])
    codes = ", ".join(str(code) for code in plan.cube.groups)
    done = cost.units - cost.todo
    workers = f"{cost.workers} worker" + "s" * (cost.workers > 1)
    return [
        (
            "Grid",
            f"{plan.grid.crs[:40]}, {height} × {width} px of {plan.grid.resolution:g} {unit}, in tiles of "
            f"{plan.side} px",
        ),
        ("Pixels", ", ".join(pixels)),
        ("Periods", f"{len(names)}: {shown}"),
        (
            "From",
            f"{len(plan.sources)} acquisitions in EPSG {codes}; at most {cost.most} datatakes in a tile",
        ),
        ("How", f"{config.by} of pixels {config.dilate:g} m away from cloud and shadow"),
        ("Tiles", f"{cost.units}" + (f", {done} of them done already or empty" if done else "")),
        ("Reads", f"about {size_text(cost.read)} of pixels"),
        ("Writes", f"about {size_text(cost.delivered)}, the store {size_text(cost.output)} of it"),
        ("Memory", f"{size_text(cost.memory)} for each worker beyond its idle size"),
        ("Time", f"about {duration_text(cost.seconds)} on {workers}"),
    ]


def carry_out(config: MosaicConfig) -> None:
    """Plan under the lease of the folder, make the mosaic with progress, and report.

    Raises
    ------
    typer.Exit
        With :data:`PARTIAL` when some of it failed.
    S2SharpError
        Errors of :func:`planned` and :func:`~s2sharp.mosaic.execute.carry_out`.
    """

    def work(plan: MosaicPlan, cost: Estimate, lease: Lease, tell: Listener) -> MosaicOutcome:
        facts = {"units": cost.units, "todo": cost.todo}
        tell(RunPlanned(facts, {"mosaic": cost.units}))
        return make_tiles(plan, lease, tell)

    file = config.to / MosaicPlan.FILE
    plan, cost, outcome = watch_work(
        config, file, TERM, lambda: planned(config, yes=config.yes), work
    )
    show_outcome("tiles", cost, outcome)
    _show_differences(plan, outcome)
    _show_results(plan, outcome)
    if outcome.stopped:
        problems.print(
            f"[red]Stopped:[/] more than {config.max_failures} tiles failed (--max-failures), and the rest was not begun. "
            "Overviews, COGs and catalog may still show the earlier state. The same command continues from here."
        )
    elif outcome.failed:
        problems.print(
            f"{len(outcome.failed)} tiles failed; all written tiles are valid. The same command repeats only the "
            "failed ones."
        )
    if outcome.failed:
        raise typer.Exit(PARTIAL)


def _show_results(plan: MosaicPlan, outcome: MosaicOutcome) -> None:
    config = plan.config
    console.print(f"Mosaic       {plan.store}")
    if config.publish:
        console.print(
            f"COGs         {config.to / 'cogs'}\nSTAC         {config.to / 'stac' / 'collection.json'}"
        )
    console.print(f"Differences  {differences_path(plan)}")
    if config.publish and (page := write_page(config.to, anew=outcome.worked)):
        console.print(f"Report       {page}")
    console.print(
        f'\n[bold]import s2sharp\nmosaic = s2sharp.open_mosaic("{escape(str(config.to))}")[/]\n'
        "mosaic   # an xarray.Dataset: dims (time, y, x), time the starts of the periods"
    )


_WHAT = {
    "codes": "one datatake in two EPSG codes",
    "dates": "two dates of one orbit",
    "orbits": "two orbits",
}


def _show_differences(plan: MosaicPlan, outcome: MosaicOutcome) -> None:
    """Print the median difference for each kind of pair."""
    if not outcome.pairs:
        return
    table = Table(
        title="Differences between acquisitions where both are clear, median |Δ| in DN",
        title_justify="left",
    )
    table.add_column("between")
    for name in ("pairs", *plan.bands):
        table.add_column(name, justify="right")
    for kind, (count, typical) in kinds(outcome.pairs).items():
        table.add_row(_WHAT[kind], str(count), *(f"{value:.0f}" for value in typical))
    console.print(table)
