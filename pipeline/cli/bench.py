"""Implementation of ``s2sharp evaluate``: progress, tables and files."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from s2sharp_core import S2SharpError
from s2sharp_core.learning.options import FitOptions

from ..bench.compare import BenchOutcome, Tasks, compare
from ..bench.tables import SEEN, Grid, grids, write_csv, write_tables
from ..ui.terminal import bars, console, problems


def judge(
    tasks: Tasks,
    methods: Sequence[str],
    weights: Mapping[str, Path],
    options: FitOptions,
    device: str,
    out: Path | None,
    *,
    pictures: bool,
) -> None:
    """Run every method on every case, and show its scores.

    They are written to the folder ``out``, if given, as they arrive, and at the end with ``pictures`` the page.

    Errors: ``nothing-judged``, and the errors of :func:`compare`.
    """
    outcome = BenchOutcome()

    def keep(so_far: BenchOutcome) -> None:
        nonlocal outcome
        outcome = so_far
        if out and so_far.results:
            write_csv(so_far.rows, out)

    try:
        with bars() as shown:
            total = len(tasks.cases)
            each = {name: shown.add_task(name, total=total, note="") for name in methods}
            compare(
                methods,
                tasks.cases,
                weights=weights,
                options=options,
                device=device,
                fits=out / "fits" if out else None,
                tell=lambda name, done, note: shown.update(each[name], completed=done, note=note),
                keep=keep,
            )
    finally:
        # Also after an error: the finished cases took time.
        tables = grids(outcome.rows)
        for table in tables:
            _show_grid(table)
        if any(table.seen for table in tables):
            console.print(SEEN)
        for text in outcome.left_out:
            problems.print(f"[yellow]left out:[/] {escape(text)}")
    if not outcome.results:
        raise S2SharpError(
            "nothing-judged", "No method could be run on any case.", "See the reasons above."
        )
    for file in write_tables(outcome.rows, out) if out else ():
        console.print(f"Table     {file}")
    if out and pictures:
        from ..bench.page import write_page

        with console.status("Drawing …"):
            spoken = " ".join(["s2sharp", *sys.argv[1:]])
            write_page(out / "index.html", outcome, tables, spoken, real=tasks.real)
        console.print(f"Pictures  {out / 'index.html'}")


def _show_grid(grid: Grid) -> None:
    """Print a table: the best of a column in bold, a dagger where the weights have seen the scene."""
    table = Table(
        title=grid.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=0
    )
    table.add_column(grid.corner, no_wrap=True)
    for column in grid.columns:
        table.add_column(column, justify="right", no_wrap=" " not in column)
    for name, row in grid.rows.items():
        cells = [cell.text + "†" * cell.seen for cell in row]
        bold = [f"[bold]{t}[/]" if cell.best else t for t, cell in zip(cells, row, strict=True)]
        table.add_row(name, *bold)
    console.print(table)
