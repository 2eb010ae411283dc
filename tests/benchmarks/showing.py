"""Tables of the bench on the terminal, for the benchmarks that judge by its protocols."""

import sys

from rich.console import Console
from rich.table import Table
from s2sharp.bench.compare import BenchOutcome
from s2sharp.bench.tables import SEEN, grids

__all__ = ["console", "show", "tell"]

console = Console(width=150)


def show(outcome: BenchOutcome) -> None:
    """Print what `s2sharp evaluate` would, but for pictures."""
    tables = grids(outcome.rows)
    for grid in tables:
        table = Table(title=grid.title, title_justify="left")
        table.add_column(grid.corner)
        for column in grid.columns:
            table.add_column(column, justify="right")
        for name, row in grid.rows.items():
            table.add_row(name, *(cell.text + "†" * cell.seen for cell in row))
        console.print(table)
    if any(grid.seen for grid in tables):
        console.print(SEEN)
    for text in outcome.left_out:
        console.print(f"left out: {text}")


def tell(method: str, done: int, note: str) -> None:
    """Say on standard error which case a method is at."""
    if note:
        print(f"{method}: {done} done, {note}", file=sys.stderr)
