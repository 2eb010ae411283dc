"""What a run over a continent costs its client: ``python -m tests.benchmarks.continent [--items 40000] [--units N]``.

A synthetic year of Europe as stac-geoparquet, planned and carried out on two workers, with units that do nothing but
record themselves: seconds until the first one is submitted, milliseconds a unit, and the client's memory on the way. Then the
same over less of it, so that the overhead of a unit can be compared.
"""

import argparse
import contextlib
import os
import tempfile
import time
from itertools import islice
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from s2sharp.engine.events import Event, UnitDone
from s2sharp.engine.ledger import Record
from s2sharp.engine.worker import write_record
from s2sharp.execution import execute as road
from s2sharp.execution import phases
from s2sharp.execution.run import Run
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.config import read_config
from s2sharp.planning.make import make_plan
from s2sharp.planning.units import Unit

from ..pipeline import europe


def nothing(run: Run, unit: Unit, _staged: list[object], attempt: int = 1) -> Record:
    """A unit without pixels: its plan is read, its key made, its record written."""
    plan = run.plan
    facts = {"attempt": attempt, "worker": str(os.getpid())}
    return write_record(plan.out, Record(plan.name(unit), plan.key(unit), "ok", **facts))


class EnoughError(Exception):
    """As many units as are wanted have come."""


def carried_out(plan: ClientPlan, most: int) -> tuple[float, float, list[float]]:
    """Seconds until the first unit came back; milliseconds for each of ``most`` after every worker has begun; the client's
    MB at every tenth.
    """
    process = psutil.Process()
    begin = time.perf_counter()
    first, all_there, last, seen, held = 0.0, 0.0, 0.0, 0, []
    workers: set[str] = set()

    def tell(event: Event) -> None:
        nonlocal first, all_there, last, seen
        if not (isinstance(event, UnitDone) and event.full):
            return
        last = time.perf_counter()
        first = first or last
        workers.add(event.record.worker)
        if len(workers) < (plan.config.workers or 1):
            return
        all_there = all_there or last
        seen += 1
        if seen % max(1, most // 10) == 0:
            held.append(process.memory_info().rss / 1e6)
        if seen > most:
            raise EnoughError

    with contextlib.suppress(EnoughError):
        road.execute(plan, tell)
    return first - begin, 1e3 * (last - all_there) / (seen - 1), held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument("--units", type=int, nargs="+", default=[100, 1_000, 10_000])
    given = parser.parse_args()
    phases.sharpen_unit = nothing  # type: ignore[assignment]
    table = Table(title=f"{given.items} items over Europe in a year")
    columns = (
        "units",
        "planned in, s",
        "first unit after, s",
        "ms a unit",
        "client, MB",
        "in the end",
    )
    for column in columns:
        table.add_column(column, justify="right")
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        europe.write(folder / "europe.parquet", given.items)
        flags = {
            "catalog": str(folder / "europe.parquet"),
            "collection": europe.COLLECTION,
            "bbox": europe.BOX,
            "datetime": "2024",
            "method": "bicubic",
            "stage": "never",
            "publish": False,
            "workers": 2,
            # Small ones, so that there are a million units.
            "shard": 256,
        }
        begin = time.perf_counter()
        plan = make_plan(read_config(None, {**flags, "out": folder / "count"}))
        planned = time.perf_counter() - begin
        count = sum(1 for _ in islice(plan.units(), 2_000_000))
        spent = time.perf_counter() - begin - planned
        console.print(f"{count} units, all of them found in {spent:.0f} s")
        for most in given.units:
            out = plan.config.model_copy(update={"out": folder / f"out-{most}"})
            first, each, held = carried_out(plan.model_copy(update={"config": out}), most)
            row = f"{most}", f"{planned:.0f}", f"{first:.0f}", f"{each:.1f}"
            table.add_row(*row, f"{held[0]:.0f}", f"{held[-1]:.0f}")
            console.print(row, held)
    console.print(table)


if __name__ == "__main__":
    main()
