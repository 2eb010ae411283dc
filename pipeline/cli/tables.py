"""Tables that ``s2sharp run`` and ``mosaic`` print: a plan, and its prediction beside the outcome."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ..engine.cost import Cost
from ..ui.terminal import console, duration_text, size_text

if TYPE_CHECKING:
    from ..engine.phases import Outcome

Row = tuple[str, str, str]
"""Name, predicted and actual figure."""


def facts_table(title: str) -> Table:
    """Return a table of names and texts, a fact a line."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    return table


def show_plan(facts: Iterable[tuple[str, str]]) -> None:
    """Print the facts of a plan, a line each."""
    table = facts_table("Plan")
    for name, text in facts:
        table.add_row(name, escape(text))
    console.print(table)


def show_outcome(
    units: str, cost: Cost, outcome: "Outcome", work: Iterable[Row] = (), sizes: Iterable[Row] = ()
) -> None:
    """Print the predicted and the actual figures of ``units``; ``work``, ``sizes``: rows after the first and at the end."""
    table = Table(title="Predicted and actual", title_justify="left")
    table.add_column("")
    table.add_column("predicted", justify="right")
    table.add_column("actual", justify="right")
    table.add_row(units, str(cost.todo), ", ".join(f"{n} {s}" for s, n in outcome.counts.items()))
    for row in work:
        table.add_row(*row)
    table.add_row("time", duration_text(cost.seconds), duration_text(outcome.seconds))
    if outcome.peak:
        table.add_row("memory of a worker", size_text(cost.memory), size_text(outcome.peak))
    for row in sizes:
        table.add_row(*row)
    console.print(table)
