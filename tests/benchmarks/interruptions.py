"""What lost workers cost, as machines that are taken away cost them: ``python -m tests.benchmarks.interruptions [--turns N]``.

A run on two workers, each on a thread, undisturbed and with one of them killed whenever another twentieth of its units is
done, in turns. Wall time of the whole command.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from s2sharp.demo.synthetic import COLLECTION

from .tile import write_tile

SHARD = 128
SHARE = 0.05
"""Of units, after which a worker is killed."""
LARGE = 200e6
"""Bytes of a process that is a worker, and no tracker of one."""


def workers(run: psutil.Popen) -> list[psutil.Process]:
    """The workers of a run that have loaded what they use; the process that they are forked from has children."""
    every = [child for child in run.children(recursive=True) if child.memory_info().rss > LARGE]
    return [child for child in every if not child.children()]


def taken(catalog: Path, out: Path, kill: int, seed: int) -> tuple[float, int]:
    """Seconds of a run, and how often a worker was killed: whenever ``kill`` units more are done; 0: never."""
    command = [sys.executable, "-m", "s2sharp.cli.app", "run", "--quiet", "--no-publish"]
    command += ["--catalog", str(catalog), "--collection", COLLECTION, "--datetime", "2024"]
    command += ["--bbox", "-180", "-90", "180", "90", "--shard", str(SHARD), "--workers", "2"]
    rng, killed, at = random.Random(seed), 0, kill
    begin = time.perf_counter()
    run = psutil.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
    while run.poll() is None:
        time.sleep(0.1)
        done = len(list((out / "ledger").glob("S2*/x1_*.ok")))
        there = workers(run) if kill and done >= at else []
        if there:
            rng.choice(there).kill()
            killed, at = killed + 1, done + kill
    if run.returncode:
        raise RuntimeError(f"the run ended with {run.returncode}")
    return time.perf_counter() - begin, killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--cells", type=int, default=1024, help="side of the area, 60 m each")
    given = parser.parse_args()
    every = max(1, round(SHARE * (given.cells / SHARD) ** 2))
    found: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        catalog = write_tile(Path(folder) / "archive", "shark_bay", given.cells, snap=SHARD)
        for turn in range(given.turns):
            for broken in (False, True):
                out = Path(folder) / "out"
                seconds, killed = taken(catalog, out, every if broken else 0, turn)
                shutil.rmtree(out)
                found[broken].append(seconds)
                print(f"{seconds:.0f} s, {killed} workers killed", flush=True)
    whole, broken = (statistics.median(found[kind]) for kind in (False, True))
    print(f"{whole:.0f} s undisturbed, {broken:.0f} s with losses: {broken / whole:.2f} times")


if __name__ == "__main__":
    main()
