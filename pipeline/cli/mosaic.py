"""``s2sharp mosaic``: its flags, the plan as a table, and the outcome."""

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..mosaic.config import MosaicConfig, configure
from ..ui.terminal import (
    GOES_ON,
    PARTIAL,
    check_extras,
    console,
    duration_text,
    problems,
    size_text,
    told,
)
from .flags import flag

if TYPE_CHECKING:
    from ..mosaic.cost import Estimate
    from ..mosaic.execute import MosaicOutcome
    from ..mosaic.plan import MosaicPlan

__all__ = ["mosaic"]

_PANELS = {
    None: "to",
    "What": "period by bands bbox dilate feather",
    "Grid": "crs resolution resampling tile",
    "Where it runs": "publish cog_compression workers memory scheduler insecure cluster yes retries "
    "max_failures on_failure events metrics quiet",
}
_DEFAULTS = {
    "bands": "the cube's",
    "bbox": "all of the cube",
    "crs": "the UTM code with most of the cube's pixels",
    "resolution": "10, for a CRS in metres",
    "tile": "2048, less for small areas",
    "publish": "publish",
    "workers": "one for each GPU, or for four cores",
    "scheduler": "a cluster on this machine",
    "insecure": "no-insecure",
    "yes": "no-yes",
    "quiet": "no-quiet",
}
_OUT = typer.Argument(
    metavar="OUT", help=MosaicConfig.model_fields["out"].description, show_default=False
)
_PLAN = typer.Option(False, "--plan", help="Show what it would read, need and write, and stop.")


def mosaic(*, plan: bool, **given: Any) -> None:
    """Make one picture per period from the cube that `run` made, across its EPSG codes, on one grid.

    Pixels are left out where the scene classification says cloud, thin cirrus or cloud shadow (classes 8, 9, 10
    and 3) or defective (1), and within --dilate metres of cloud and shadow. Snow is shown. A cube without a
    classification is shown whole. Where no observation is clear, `valid` is 0. The layer `source` names the
    acquisition of each pixel. Where a datatake has two codes, each pixel is taken from the code of its own zone.

    Values stay as observed. Differences between orbits and dates are not evened out; they are measured and written
    to TO/differences.json. --feather blends across borders.

    Examples:
    `s2sharp mosaic vienna --to vienna-monthly`

    `s2sharp mosaic alps --to alps-2024 --period year --by medoid --crs EPSG:3035 --resolution 20`
    """
    from ..ui.progress import prepare

    with told(GOES_ON):
        config = configure({k: v for k, v in given.items() if v is not None})
        check_extras(
            ("odc",),
            "A mosaic",
            "Install it: `pip install 's2sharp[mosaic]'`.",
        )
        if plan:
            _planned(config)
        else:
            prepare(config)
            _make(config)


mosaic.__signature__ = Signature(  # type: ignore[attr-defined]
    [
        Parameter("out", Parameter.KEYWORD_ONLY, default=_OUT, annotation=str),
        *(
            flag(name, panel, MosaicConfig, _DEFAULTS)
            for panel, names in _PANELS.items()
            for name in names.split()
        ),
        Parameter("plan", Parameter.KEYWORD_ONLY, default=_PLAN, annotation=bool),
    ]
)
mosaic.__annotations__ = {
    p.name: p.annotation
    for p in mosaic.__signature__.parameters.values()  # type: ignore[attr-defined]
}


def _planned(config: MosaicConfig) -> "tuple[MosaicPlan, Estimate]":
    """Make and print the plan of a mosaic, new or continued, and its cost."""
    from ..mosaic.cost import estimate
    from ..mosaic.make import make_plan

    with console.status("Reading the cube …"):
        plan = make_plan(config)
        cost = estimate(plan)
    _show(plan, cost)
    if plan.cube.status != "complete":
        problems.print(
            f"[yellow]warning:[/] the cube is {plan.cube.status}. Once it is complete, the same command adds the "
            "rest."
        )
    return plan, cost


def _make(config: MosaicConfig) -> None:
    """Plan under the lease of the folder, make the mosaic with progress, and report."""
    from ..engine.events import RunEnded, RunPlanned
    from ..engine.lease import TERM
    from ..engine.phases import leased
    from ..mosaic.execute import carry_out
    from ..mosaic.plan import MosaicPlan
    from ..planning.cost import check_size
    from ..ui.progress import watched

    file = config.to / MosaicPlan.FILE
    with watched(config) as tell:
        with leased(file, TERM, tell, config.scheduler) as lease:
            plan, cost = _planned(config)
            remedy = "choose a coarser --resolution or a smaller --bbox"
            check_size("mosaic", cost, remedy, yes=config.yes)
            facts = {"units": cost.tiles, "todo": cost.todo}
            tell(RunPlanned(facts, {"mosaic": cost.tiles}))
            outcome = carry_out(plan, lease, tell)
        ended = {"units": dict(outcome.counts), "failed": len(outcome.failed)}
        more = {"stopped": outcome.stopped, "seconds": round(outcome.seconds, 1)}
        tell(RunEnded(ended | more))
    _report(plan, cost, outcome)
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


def _show(plan: "MosaicPlan", cost: "Estimate") -> None:
    table = Table(title="Plan", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    height, width = plan.area.shape
    unit = "m" if plan.grid.metres == plan.grid.resolution else "units"
    shared = [group.epsg for group in plan.cube.groups.values() if group.grid == plan.grid]
    other = len(plan.cube.groups) > len(shared)
    how = [f"copied from EPSG:{epsg}" for epsg in shared]
    how += [f"{'others ' if shared else ''}resampled ({plan.config.resampling})"] if other else []
    table.add_row(
        "Grid",
        f"{escape(plan.grid.crs[:40])}, {height} × {width} px of {plan.grid.resolution:g} {unit}, in tiles of "
        f"{plan.side} px",
    )
    table.add_row("Pixels", ", ".join(how))
    names = [period.name for period in plan.periods]
    shown = ", ".join(names if len(names) <= 4 else [*names[:2], "…", names[-1]])
    table.add_row("Periods", f"{len(names)}: {shown}")
    codes = ", ".join(str(code) for code in plan.cube.groups)
    table.add_row(
        "From",
        f"{len(plan.sources)} acquisitions in EPSG {codes}; at most {cost.most} datatakes in a tile",
    )
    table.add_row(
        "How", f"{plan.config.by} of pixels {plan.config.dilate:g} m away from cloud and shadow"
    )
    done = (
        f", {cost.tiles - cost.todo} of them done already or empty"
        if cost.todo < cost.tiles
        else ""
    )
    table.add_row("Tiles", f"{cost.tiles}{done}")
    table.add_row("Reads", f"about {size_text(cost.read)} of pixels")
    table.add_row(
        "Writes", f"about {size_text(cost.delivered)}, the store {size_text(cost.output)} of it"
    )
    table.add_row("Memory", f"{size_text(cost.memory)} for each worker beyond its idle size")
    workers = f"{cost.workers} worker" + "s" * (cost.workers > 1)
    table.add_row("Time", f"about {duration_text(cost.seconds)} on {workers}")
    console.print(table)


def _report(plan: "MosaicPlan", cost: "Estimate", outcome: "MosaicOutcome") -> None:
    from ..mosaic.differences import differences_path
    from ..report.leave import leave_page

    table = Table(title="Predicted and actual", title_justify="left")
    for name in ("", "predicted", "actual"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("tiles", str(cost.todo), ", ".join(f"{n} {s}" for s, n in outcome.counts.items()))
    table.add_row("time", duration_text(cost.seconds), duration_text(outcome.seconds))
    if outcome.peak:
        table.add_row("memory of a worker", size_text(cost.memory), size_text(outcome.peak))
    console.print(table)
    _show_differences(plan, outcome)
    console.print(f"Mosaic       {plan.store}")
    if plan.config.publish:
        console.print(
            f"COGs         {plan.config.to / 'cogs'}\n"
            f"STAC         {plan.config.to / 'stac' / 'collection.json'}"
        )
    console.print(f"Differences  {differences_path(plan)}")
    if plan.config.publish and (page := leave_page(plan.config.to, anew=outcome.worked)):
        console.print(f"Report       {page}")
    console.print(
        f'\n[bold]import s2sharp\nmosaic = s2sharp.open_mosaic("{escape(str(plan.config.to))}")[/]\n'
        "mosaic   # an xarray.Dataset: dims (time, y, x), time the starts of the periods"
    )


_WHAT = {
    "codes": "one datatake in two EPSG codes",
    "dates": "two dates of one orbit",
    "orbits": "two orbits",
}


def _show_differences(plan: "MosaicPlan", outcome: "MosaicOutcome") -> None:
    """Print the median difference for each kind of pair."""
    from ..mosaic.differences import kinds

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
