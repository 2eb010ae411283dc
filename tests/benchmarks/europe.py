"""What a catalog of a continent takes to read: ``python -m tests.benchmarks.europe [ITEMS]``.

Writes a synthetic year of Europe as stac-geoparquet, then, each in a process of its own: searches it and groups
what is found; freezes it; does the first again with what was frozen.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from s2sharp.catalog.search import search
from s2sharp.scenes.acquisition import group
from s2sharp.scenes.item_files import write_items

from s2sharp_core import BANDS
from tests.pipeline import europe

FROZEN = "frozen.parquet"


def step(task: str, catalog: Path) -> None:
    """One task; prints what came of it, seconds, and MB at most beyond what the imports take."""
    idle, start = highest(), time.perf_counter()
    items = search(str(catalog), europe.COLLECTION, europe.BOX, "2024")
    if task == "freeze":
        write_items(catalog.with_name(FROZEN), items, tuple(BANDS), str(catalog))
        said = f"{catalog.with_name(FROZEN).stat().st_size / 1e6:.0f} MB"
    else:
        acquisitions = group(items, tuple(BANDS), str(catalog))[0]
        said = (
            f"{len(acquisitions)} acquisitions, {sum(len(a.scenes) for a in acquisitions)} scenes"
        )
    seconds = time.perf_counter() - start
    print(f"{said}|{seconds:.1f}|{time.process_time():.1f}|{highest() - idle:.0f}")


def highest() -> float:
    """The most memory in MB that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def main(count: int = 40_000) -> None:
    table = Table(title=f"{count} items over Europe in a year")
    for name in ("", "", "seconds", "of one processor", "MB beyond imports"):
        table.add_column(name)
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder, "europe.parquet")
        europe.write(catalog, count)
        tasks = [("search and group", catalog), ("freeze", catalog)]
        for task, file in [*tasks, ("search and group, frozen", catalog.with_name(FROZEN))]:
            command = [sys.executable, "-m", "tests.benchmarks.europe", task, str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            table.add_row(task, *done.stdout.strip().split("|"))
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        step(sys.argv[1], Path(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
