"""What it takes to open a large cube: ``python -m tests.benchmarks.opening``.

Lays out cubes without pixels, of 110 × 110 km × 100 dates and of 600 × 4 000 km × 1 000 dates, and opens each in a process of
its own: CPU seconds and memory to open it, to read 500 × 500 pixels of one date, and all dates of one pixel.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table
from s2sharp.cube.create import finish, lay_out
from s2sharp.cube.layout import Layout
from s2sharp.cube.open import open_cube

from s2sharp_core import BANDS
from s2sharp_core.lattice import Box

# Name → dates, and cells down and across.
CUBES = {
    "110 × 110 km, 100 dates": (100, 1830, 1830),
    "600 × 4 000 km, 1 000 dates": (1000, 66_666, 10_000),
}


def lay(store: Path, dates: int, height: int, width: int) -> None:
    """Lay out an empty cube."""
    begin = datetime(2020, 1, 1, 10)
    times = tuple((begin + timedelta(days=2 * day)).isoformat() for day in range(dates))
    box = Box(80_000, 80_000 + height, 2_000, 2_000 + width)
    ids = tuple(f"date{day}" for day in range(dates))
    lay_out(store, [Layout(32633, box, 512, 512, times, tuple(BANDS), ids)], {"32633": {}})
    finish(store, "complete")


def measure(store: str) -> dict[str, float]:
    """CPU seconds of each step in this process, and its memory in MB when the cube is open."""
    found, start = {}, time.process_time()

    def lap(name: str) -> None:
        nonlocal start
        found[name] = time.process_time() - start
        start = time.process_time()

    band = open_cube(store).B05
    lap("open")
    found["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    start = time.process_time()
    band.isel(time=5, x=slice(1000, 1500), y=slice(1000, 1500)).load()
    lap("500² px")
    band.isel(x=1000, y=1000).load()
    lap("a series")
    return found


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    table = Table("cube", "open, CPU s", "MB", "500² px, CPU s", "a series, CPU s")
    for name, size in CUBES.items():
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "cube.zarr"
            lay(store, *size)
            here = [sys.executable, "-m", "tests.benchmarks.opening", str(store)]
            done = subprocess.run(here, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
        figures = (
            f"{found[key]:.{digits}f}"
            for key, digits in (("open", 2), ("MB", 0), ("500² px", 2), ("a series", 2))
        )
        table.add_row(name, *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
