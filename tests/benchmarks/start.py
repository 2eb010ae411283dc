"""What it takes to begin: ``python -m tests.benchmarks.start``.

CPU seconds, on one thread, and memory of the largest process in MB: of commands that only look, of a plan before and after
its method is known to this user's cache, until the first unit is at work, of a run of 3 km from Enter to its end, and of
the same run with nothing left to do; and of what Python loads. Children count.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from s2sharp.demo.synthetic import COLLECTION, simulate
from s2sharp.engine.ledger import Ledger

CELLS = 50
"""Side of the area: 3 km."""


LOADED = ("import s2sharp", "from s2sharp import open_cube")


def command(*given: str) -> list[str]:
    """A command, in a process of its own."""
    if given[0] in LOADED:
        return [sys.executable, "-c", *given]
    return [sys.executable, "-m", "s2sharp.cli.app", *given]


def measured(home: Path, *given: str) -> tuple[float, float]:
    """CPU seconds of a command and its children, and MB of the largest of them."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command(*given)],
        check=True,
        capture_output=True,
        text=True,
        env=environment(home),
    )
    seconds, size = done.stdout.split()
    return float(seconds), float(size)


def environment(home: Path) -> dict[str, str]:
    """One thread, and a cache of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(home)}


def cpu(process: psutil.Process) -> float:
    """CPU seconds so far of a process and all that it began."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                own = child.cpu_times()
                total += own.user + own.system
    return total


def first_unit(home: Path, out: Path, *flags: str) -> float:
    """CPU seconds of a run until its first unit is at work: until it is recorded, less what it says it took."""
    with subprocess.Popen(
        command("run", *flags, "--sensor", "default", "--out", str(out)),
        stdout=subprocess.DEVNULL,
        env=environment(home),
    ) as run:
        process = psutil.Process(run.pid)
        while not (found := list((out / "ledger").rglob("*.ok"))) and run.poll() is None:
            time.sleep(0.02)
        used = cpu(process)
        run.terminate()
    unit = str(found[0].relative_to(out / "ledger")).split(".")[0]
    record = Ledger(out / "ledger").latest(unit)
    return used - sum(record.seconds.values() if record else ())


def main() -> None:
    """Print the table."""
    table = Table("", "CPU s", "MB")

    def row(name: str, seconds: float, size: float | None = None) -> None:
        table.add_row(name, f"{seconds:.2f}", "" if size is None else f"{size:.0f}")

    with tempfile.TemporaryDirectory() as folder:
        home, out = Path(folder, "cache"), Path(folder, "out")
        catalog, bbox = simulate(Path(folder, "scenes"), CELLS, 1, 1, 32633, 7)
        flags = ["--catalog", str(catalog), "--collection", COLLECTION, "--datetime", "2024"]
        flags += ["--bbox", *map(str, bbox)]
        row("--help", *measured(home, "--help"))
        row("methods", *measured(home, "methods"))
        row("plan, nothing known", *measured(home, "plan", *flags, "--out", str(out)))
        row("plan", *measured(home, "plan", *flags, "--out", str(out)))
        row("first unit at work", first_unit(home, Path(folder, "first"), *flags))
        row("3 km, Enter to end", *measured(home, "run", *flags, "--out", str(out)))
        row("run, nothing to do", *measured(home, "run", *flags, "--out", str(out)))
        for look in ("status", "verify", "clean"):
            row(look, *measured(home, look, str(out)))
        for line in LOADED:
            row(line, *measured(home, line))
    Console().print(table)


if __name__ == "__main__":
    main()
