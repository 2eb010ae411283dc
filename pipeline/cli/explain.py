"""Implementation of ``s2sharp plan --explain``."""

from rich.markup import escape
from rich.table import Table

from ..planning.config import RunConfig
from ..planning.explain import explain
from ..planning.resume import plan_of
from ..ui.terminal import console, size_text
from .tables import facts_table


def explained(config: RunConfig, name: str) -> None:
    """Print the reads and writes of one unit of a run, new or continued."""
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
