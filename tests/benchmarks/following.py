"""What it saves to publish a date while others are sharpened: ``python -m tests.benchmarks.following [--method METHOD]``.

Drawn dates of one area through whole runs on local workers, in turns: phase after phase, as runs once were; and each date's
overviews and COGs as soon as its units are done. Seconds from the first unit's end, when workers have loaded what they use, until the first
date's files are there, and until the run's end. Where the machine does other work, too, its noise is larger than what is
to be seen: compare turns.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table
from s2sharp.demo.synthetic import COLLECTION, simulate
from s2sharp.engine.events import Event, UnitDone
from s2sharp.engine.lease import Lease
from s2sharp.execution.dependent_jobs import DependentJobs
from s2sharp.execution.execute import carry_out
from s2sharp.planning.config import read_config
from s2sharp.planning.make import make_plan


def measure(catalog: Path, out: Path, *, follow: bool, **more: object) -> tuple[float, float]:
    """Seconds until the first date is published, and until all is done."""
    flags = {"catalog": str(catalog), "collection": COLLECTION, "datetime": "2024", "out": out}
    flags |= {"bbox": (-180.0, -90.0, 180.0, 90.0), "sensor": "default", **more}
    plan = make_plan(read_config(None, flags))
    begin = first = 0.0

    def tell(event: Event) -> None:
        nonlocal begin, first
        if isinstance(event, UnitDone) and event.full and not begin:
            begin = time.perf_counter()
        if event.phase == "publish" and not first:
            first = time.perf_counter()

    apart = patch.object(DependentJobs, "dealt", lambda _, found: found)
    with nullcontext() if follow else apart, Lease.taken(plan.out) as lease:
        outcome = carry_out(plan, lease, tell, brief=True)
    if outcome.failed:
        raise RuntimeError(outcome.failed[0].message)
    took = first - begin, time.perf_counter() - begin
    print("as soon as it can:" if follow else "phase after phase:", *map("{:.1f}".format, took))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="bicubic")
    parser.add_argument("--cells", type=int, default=300, help="side of the area, 60 m each")
    parser.add_argument("--dates", type=int, default=4)
    parser.add_argument("--shard", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    more = {"method": given.method, "shard": given.shard, "workers": given.workers}
    spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        catalog, _ = simulate(Path(folder) / "archive", given.cells, 1, given.dates)
        for turn in range(given.turns):
            for follow in spent if turn % 2 == 0 else reversed(spent):
                out = Path(folder) / f"{turn}{follow}"
                spent[follow].append(measure(catalog, out, follow=follow, **more))
    table = Table(title=f"{given.dates} dates of {6 * given.cells} px a side, {given.method}")
    for column in ("", "first date's files, s", "all, s", "of each turn"):
        table.add_column(column, justify="right")
    for follow, name in ((False, "phase after phase"), (True, "as soon as it can")):
        first, every = zip(*spent[follow], strict=True)
        each = " ".join(f"{seconds:.1f}" for seconds in every)
        row = (f"{statistics.median(first):.1f}", f"{statistics.median(every):.1f}", each)
        table.add_row(name, *row)
    Console(width=120).print(table)
    pairs = [a[1] / b[1] for a, b in zip(spent[True], spent[False], strict=True)]
    print(f"Time of all, median of pairs: {statistics.median(pairs):.2f} of what it was")


if __name__ == "__main__":
    main()
