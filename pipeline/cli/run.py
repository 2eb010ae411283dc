"""Implementation of ``s2sharp plan`` and ``run``: the plan as a table, one unit of it, and the outcome."""

from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from ..engine.cost import check_size
from ..execution.whole_run import make_ready, plan_run, run_watched
from ..planning.client_plan import ClientPlan
from ..planning.config import RunConfig
from ..planning.cost import Estimate, check_memory
from ..planning.empty_query import ended_warning
from ..planning.facts import plan_facts
from ..planning.plan import Plan
from ..planning.resume import plan_of
from ..report.make import load_ahead, write_page
from ..storage.files import files
from ..storage.location import Location
from ..ui.terminal import PARTIAL, console, problems, size_text
from .run_folder_output import print_unfinished
from .tables import facts_table, show_outcome, show_plan

if TYPE_CHECKING:
    from ..execution.phases import RunOutcome


def planned(config: RunConfig, *, yes: bool = True) -> tuple[ClientPlan, Estimate]:
    """Make and print the plan of a run, new or continued, and its cost; without ``yes``, refuse one that is very large.

    Errors of :func:`plan_run`; ``memory-exceeded`` when a worker would need more memory than it may take; ``very-large``.
    """
    plan, cost = plan_run(config)
    show_plan(plan_facts(plan, cost))
    for refusal in plan.refused:
        problems.print(f"[yellow]left out:[/] {escape(refusal.message)}")
    check_memory(plan, cost)
    check_size("run", cost, "narrow --bbox or --datetime", yes=yes)
    return plan, cost


def explained(config: RunConfig, name: str) -> None:
    """Print the reads and writes of one unit of a run, new or continued."""
    from ..planning.explain import explain  # it loads the writers of COGs

    with console.status(f"Searching {config.collection} …"):
        plan = plan_of(config)
    about = explain(plan, name)
    left, bottom, right, top = about.bounds
    table = facts_table(f"Unit {about.unit}")
    cells = f"rows {about.cells.row0} to {about.cells.row1}, columns {about.cells.col0} to {about.cells.col1}"
    table.add_row(
        "Cells",
        f"{cells} of 60 m, {about.windows} windows; also reads {about.context} cells around them",
    )
    table.add_row("Bounds", f"{left:.0f} {bottom:.0f} {right:.0f} {top:.0f} m, EPSG:{about.epsg}")
    table.add_row("Key", about.key)
    console.print(table)
    if about.below:
        console.print(f"Reads, in {plan.store}:")
        for key in about.below:
            console.print(f"  {key}")
    reads = Table(title="Reads", title_justify="left")
    for column in ("item", "band", "rows", "columns", "pixels", "file"):
        reads.add_column(
            column, justify="right" if column in ("rows", "columns", "pixels") else "left"
        )
    for read in about.reads:
        place = "{}–{}".format(*read.rows), "{}–{}".format(*read.cols)
        reads.add_row(read.item, read.band, *place, size_text(read.size), escape(read.href))
    if about.reads:
        console.print(reads)
    console.print(f"Writes, in {about.place}:")
    for key in about.writes:
        console.print(f"  {key}")


def carry_out(config: RunConfig) -> ClientPlan:
    """Plan, run with progress, and report.

    Raises
    ------
    typer.Exit
        With :data:`PARTIAL` when some of it failed.
    S2SharpError
        Errors of :func:`planned` and :func:`run_watched`; ``bad-config`` without the libraries for publishing.
    """
    from ..execution.catalog import picture_path

    make_ready(config)
    if told := ended_warning(config.datetime, config.since):
        problems.print(f"[yellow]note:[/] {escape(told)}")
    plan, cost, outcome = run_watched(
        config, lambda: planned(config, yes=config.yes), load_ahead if config.publish else None
    )
    for text, count in outcome.warnings.items():
        problems.print(
            f"[yellow]warning:[/] {escape(text)}" + (f" ({count} units)" if count > 1 else "")
        )
    _report(plan.store, cost, outcome)
    pictures = [picture_path(plan.out, a) for a in plan.present]
    page = write_page(plan.out, anew=outcome.worked) if config.publish else None
    _show_results(plan, [p for p in pictures if p.exists()], page, outcome.snapshot)
    if outcome.stopped:
        problems.print(
            f"[red]Stopped:[/] more than {config.max_failures} units failed (--max-failures), and the rest was not begun. "
            "The same command continues from here."
        )
    elif outcome.failed or plan.refused:
        problems.print(
            f"{len(outcome.failed)} units failed and {len(plan.refused)} items were refused; all written "
            "units are valid. The same command repeats only the failed ones; with --since last it also "
            "takes refused items that the archive has corrected."
        )
    if outcome.failed or plan.refused:
        raise typer.Exit(PARTIAL)
    print_unfinished(outcome.owed)
    return plan


# Differences in DN below this are shown as none, since one decimal would show 0.0.
_ALIKE = 0.05


def _report(store: Location, cost: Estimate, outcome: "RunOutcome") -> None:
    """Print what was predicted beside what came of it."""
    windows = ("windows", str(cost.windows), str(outcome.windows))
    whole = size_text(cost.output) if cost.todo == cost.units else ""
    size = ("cube on disk", whole, size_text(sum(files(store).values())))
    show_outcome("units", cost, outcome, work=[windows], sizes=[size])
    band = max(outcome.disagreement, key=outcome.disagreement.__getitem__, default=None)
    if band is not None:
        console.print(f"Overlaps  {_overlaps(band, outcome.disagreement[band])}")


def _overlaps(band: str, dn: float) -> str:
    """Describe how far tiles differ where two of them overlap; ``dn``: the largest median."""
    if dn < _ALIKE:
        return "neighbouring tiles have the same values where they overlap: no edges between them"
    return (
        f"where two tiles overlap, one gives the pixels; the other's values typically differ by {dn:.1f} DN, "
        f"{dn / 100:.2g} % of reflectance ({band}, the worst band, where they differ most)"
    )


def _show_results(
    plan: Plan, pictures: list[Location], page: Location | None, snapshot: str | None
) -> None:
    console.print(f"Cube      {plan.store}")
    if plan.config.publish:
        console.print(
            f"COGs      {plan.out / 'cogs'}\nSTAC      {plan.out / 'stac' / 'collection.json'}"
        )
    for picture in pictures[:3]:
        console.print(f"Picture   {picture}")
    if page is not None:
        console.print(f"Report    {page}")
    if snapshot:
        console.print(f"Snapshot  {snapshot}")
    code = f", epsg={plan.layouts[0].epsg}" if len(plan.layouts) > 1 else ""
    console.print(
        f'\n[bold]import s2sharp\ncube = s2sharp.open_cube("{escape(str(plan.out))}"{code})[/]\n'
        "cube   # an xarray.Dataset: all bands at 10 m, dims (time, y, x)"
    )
