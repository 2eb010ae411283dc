"""What a worker's memory is, beside what the plan said: ``python -m tests.benchmarks.memory [METHOD …]``.

Runs one unit and sixteen, each in a fresh worker, and a large unit; the peak minus the idle size of the
worker must be at most what the plan said, and at least 70 % of it; sixteen units at most 1.1 × one.
"""

import sys
import tempfile
from pathlib import Path

from pyproj import Transformer
from rich.console import Console
from rich.table import Table
from s2sharp.demo.synthetic import COLLECTION, simulate
from s2sharp.execution.execute import execute
from s2sharp.planning.config import read_config
from s2sharp.planning.cost import estimate
from s2sharp.planning.make import make_plan

from s2sharp_core.lattice import Box, Lattice


def measure(catalog: Path, out: Path, method: str, shard: int, area: Box) -> tuple[int, float, int]:
    """(units, projected bytes, measured bytes) of a run over `area` in a worker of its own."""
    lattice = Lattice.of(32633)
    to_degrees = Transformer.from_crs(lattice.epsg, 4326, always_xy=True)
    left, bottom, right, top = lattice.bounds(area)
    # A hair inside, so that the bounds in degrees, and back, meet these shards only.
    inside = to_degrees.transform_bounds(left + 500, bottom + 500, right - 500, top - 500)
    flags = {
        "catalog": str(catalog),
        "collection": COLLECTION,
        "bbox": inside,
        "datetime": "2024",
        "out": out,
        "method": method,
        "shard": shard,
        "publish": False,
        "workers": 1,
    }
    plan = make_plan(read_config(None, flags))
    cost = estimate(plan)
    outcome = execute(plan)
    if outcome.failed:
        raise RuntimeError(outcome.failed[0].message)
    return cost.units, cost.memory, outcome.peak


def main(methods: tuple[str, ...] = ("bicubic", "dsen2")) -> None:
    table = Table(title="A worker's memory beyond its idle size")
    for name in ("method", "shard", "units", "plan said", "peak", "peak / plan"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        catalog, _ = simulate(Path(folder) / "archive", cells=600, tiles=1)
        first = Box(76_666, 77_066, 10_000, 10_400).snap(64)
        row, col = first.row0 + 64, first.col0 + 64
        cases = [(64, 1), (64, 4), (256, 1)]
        for method in methods:
            for number, (shard, side) in enumerate(cases):
                start_row = -(-row // shard) * shard
                start_col = -(-col // shard) * shard
                area = Box(start_row, start_row + side * shard, start_col, start_col + side * shard)
                out = Path(folder) / f"{method}{number}"
                units, said, peak = measure(catalog, out, method, shard, area)
                row_of = [
                    method,
                    f"{shard}",
                    f"{units}",
                    f"{said / 1e6:.0f} MB",
                    f"{peak / 1e6:.0f} MB",
                ]
                table.add_row(*row_of, f"{peak / said:.2f}")
                Console().print(row_of)
    Console().print(table)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("bicubic", "dsen2"))
