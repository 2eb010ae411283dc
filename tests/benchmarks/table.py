"""Every method by the papers' blur: ``python -m tests.benchmarks.table``.

Protocol ``mtf``: the four real scenes at 40→20 m, APEX and a synthetic landscape at 20→10 and 60→10 m. No
oracle, and nothing is learned from a reference. The shipped weights of dsen2 have seen the four scenes: its
honest figures on them are those of ``tests.benchmarks.accuracy``.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from s2sharp.bench.compare import compare, find_tasks
from s2sharp.bench.tables import SEEN, grids

from s2sharp_core import METHODS
from s2sharp_core.learning.options import FitOptions

from ..data import SCENES, shared_data

# Without weights of one's own there is nothing to say of it.
METHOD = [name for name in METHODS if name != "vdsen2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", action="append", choices=METHOD, help="only this one; repeat")
    parser.add_argument("--steps", type=int, help="of a fit (default: the method's own)")
    parser.add_argument("--fits", type=Path, help="keep fits here, and go on with those there are")
    given = parser.parse_args()
    data = shared_data()
    if data is None:
        sys.exit("No real scenes: set S2SHARP_DATA, or put them at ../shared/data.")
    catalog = data / "scenes" / "catalog.json"
    tasks = find_tasks(["mtf"], catalog=catalog, synthetic=1, cells=30)
    cases = [case for case in tasks.cases if case.scene not in SCENES or case.gsds == (20,)]
    console = Console(width=140)

    def tell(method: str, done: int, note: str) -> None:
        if note:
            print(f"{method}: {done} of {len(cases)}, {note}", file=sys.stderr)

    outcome = compare(
        given.method or METHOD,
        cases,
        options=FitOptions(steps=given.steps),
        device="cpu",
        fits=given.fits,
        tell=tell,
    )
    for grid in grids(outcome.rows):
        table = Table(title=grid.title)
        table.add_column(grid.corner)
        for column in grid.columns:
            table.add_column(column, justify="right")
        for name, row in grid.rows.items():
            table.add_row(name, *(cell.text + "†" * cell.seen for cell in row))
        console.print(table)
    console.print(SEEN)
    for text in outcome.left_out:
        console.print(f"left out: {text}")


if __name__ == "__main__":
    main()
