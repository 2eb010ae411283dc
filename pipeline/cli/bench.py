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


class Bench:
    """Results of methods on ``tasks``, written to the folder ``out``, if given, as they arrive."""

    def __init__(self, tasks: Tasks, out: Path | None) -> None:
        self.tasks, self.out = tasks, out
        self.outcome = BenchOutcome()
        self.tables: list[Grid] = []

    def judge(
        self,
        methods: Sequence[str],
        weights: Mapping[str, Path],
        options: FitOptions,
        device: str,
    ) -> None:
        """Run every method on every case, and show its scores.

        Raises
        ------
        S2SharpError
            ``nothing-judged``, and the errors of :func:`compare`.
        """
        cases = self.tasks.cases
        try:
            with bars() as shown:
                each = {name: shown.add_task(name, total=len(cases), note="") for name in methods}
                compare(
                    methods,
                    cases,
                    weights=weights,
                    options=options,
                    device=device,
                    fits=self.out / "fits" if self.out else None,
                    tell=lambda name, done, note: shown.update(
                        each[name], completed=done, note=note
                    ),
                    keep=self._keep,
                )
        finally:
            # Also after an error: the finished cases took time.
            self._show()
        if not self.outcome.results:
            raise S2SharpError(
                "nothing-judged",
                "No method could be run on any case.",
                "See the reasons above.",
            )

    def _keep(self, so_far: BenchOutcome) -> None:
        self.outcome = so_far
        if self.out and so_far.results:
            write_csv(so_far.rows, self.out)

    def _show(self) -> None:
        self.tables = grids(self.outcome.rows)
        for table in self.tables:
            _show_grid(table)
        if any(table.seen for table in self.tables):
            console.print(SEEN)
        for text in self.outcome.left_out:
            problems.print(f"[yellow]left out:[/] {escape(text)}")

    def write(self, out: Path, *, pictures: bool) -> None:
        """Write the tables to ``out``, and with ``pictures`` the page."""
        for file in write_tables(self.outcome.rows, out):
            console.print(f"Table     {file}")
        if pictures:
            from ..bench.page import write_page

            with console.status("Drawing …"):
                spoken = " ".join(["s2sharp", *sys.argv[1:]])
                page = out / "index.html"
                write_page(page, self.outcome, self.tables, spoken, real=self.tasks.real)
            console.print(f"Pictures  {page}")


def _show_grid(grid: Grid) -> None:
    """Print a table: the best of a column in bold, a dagger where the weights have seen the scene."""
    table = Table(
        title=grid.title,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column(grid.corner, no_wrap=True)
    for column in grid.columns:
        table.add_column(column, justify="right", no_wrap=" " not in column)
    for name, row in grid.rows.items():
        cells = [cell.text + "†" * cell.seen for cell in row]
        bold = [f"[bold]{t}[/]" if cell.best else t for t, cell in zip(cells, row, strict=True)]
        table.add_row(name, *bold)
    console.print(table)
