"""A full tile (10 980 × 10 980 px, all twelve bands) through `s2sharp run`: `python -m tests.benchmarks.tile [METHOD …]`.

A real scene, mirrored until it is as large as a tile, written as COGs behind a static catalog; then the command that a
user would give, with its defaults: overviews, COGs, pictures and the page. Wall time of the whole command, and the peak of
the memory of all its processes. Before and after it, the method alone on windows like the run's, in a process a core: what
the run's windows would take with nothing around them.
"""

import argparse
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table
from s2sharp.demo.synthetic import COLLECTION

from s2sharp_core import METHODS, load_sharpener
from s2sharp_core.bands import BANDS, CELL
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.windows import ABREAST, JOINED, WINDOW
from tests.data import SCENES, by_gsd, real_scene
from tests.pipeline.cuts import write_cut

CELLS = 1830
# Windows that are timed.
COUNT = 12
FIRST = Box(76_000, 76_000 + CELLS, 10_000, 10_000 + CELLS)


def write_tile(folder: Path, scene: str, cells: int, snap: int = 1) -> Path:
    """The catalog of a tile of so many cells a side, whose corner is a multiple of ``snap``."""
    tree = real_scene(scene)
    bands = {}
    for name, band in BANDS.items():
        dn = np.rint(tree[f"r{band.gsd}m"][name].values * 1e4).astype(np.uint16)
        side = cells * CELL // band.gsd
        after = [(0, max(0, side - n)) for n in dn.shape]
        bands[name] = np.pad(dn, after, mode="symmetric")[:side, :side]
    row, col = FIRST.row0 // snap * snap, FIRST.col0 // snap * snap
    box = Box(row, row + cells, col, col + cells)
    return write_cut(folder, bands, Lattice.of(32633), box, [box])


def _side(method: str) -> int:
    """Return the side in cells of what a run's threads sharpen at once."""
    joins = METHODS[method].joins and (psutil.cpu_count() or 1) <= ABREAST
    return WINDOW * (JOINED if joins else 1)


def _windows(method: str, scene: str, ready: Any, found: Any) -> None:
    """Put the seconds of a window, halo included, the mean of ``COUNT``, into ``found`` once all are ready."""
    torch.set_num_threads(1)
    sharpener = load_sharpener(method)
    side = _side(method) + 2 * sharpener.halo
    inputs = []
    for gsd, dn in by_gsd(real_scene(scene)).items():
        n = side * CELL // gsd
        more = [(0, 0), *((0, max(0, n - length)) for length in dn.shape[1:])]
        inputs.append(torch.from_numpy(np.pad(dn, more, mode="symmetric")[None, :, :n, :n].copy()))
    with torch.inference_mode():
        sharpener.sharpen_inner(*inputs)
        ready.wait()
        begin = time.perf_counter()
        for _ in range(COUNT):
            sharpener.sharpen_inner(*inputs)
    found.put((time.perf_counter() - begin) / COUNT)


def at_once(timed: Callable[..., None], given: tuple[Any, ...], processes: int) -> float:
    """Return the mean of what ``timed(*given, ready, found)`` puts into ``found``, in so many processes that begin together."""
    spawn = multiprocessing.get_context("spawn")
    ready, found = spawn.Barrier(processes), spawn.Queue()
    every = [spawn.Process(target=timed, args=(*given, ready, found)) for _ in range(processes)]
    for process in every:
        process.start()
    seconds = [found.get() for _ in every]
    for process in every:
        process.join()
    return float(np.mean(seconds))


def alone(method: str, scene: str, cells: int) -> float:
    """Return the seconds that a tile's windows take in as many processes as there are cores, nothing else done."""
    processes = psutil.cpu_count() or 1
    count = (cells / _side(method)) ** 2
    return at_once(_windows, (method, scene), processes) * count / processes


class Memory(threading.Thread):
    """The largest sum of what a process and all its children hold, bytes."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.peak = process, 0

    def run(self) -> None:
        while self.process.is_running():
            held = 0
            try:
                for one in (self.process, *self.process.children(recursive=True)):
                    held += one.memory_info().rss
            except psutil.Error:
                pass
            self.peak = max(self.peak, held)
            time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=["s2net-s", "s2net-m"])
    parser.add_argument("--scene", choices=SCENES, default="shark_bay")
    parser.add_argument("--cells", type=int, default=CELLS, help="side of the tile, 60 m each")
    given = parser.parse_args()
    console = Console(width=120)
    table = Table(title=f"{6 * given.cells} × {6 * given.cells} px, {psutil.cpu_count()} cores")
    for column in ("method", "minutes", "the windows alone", "over them", "Mpx/s", "peak memory"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        catalog = write_tile(Path(folder) / "archive", given.scene, given.cells)
        for method in given.methods:
            command = [sys.executable, "-m", "s2sharp.cli.app", "run", "--method", method]
            command += ["--catalog", str(catalog), "--collection", COLLECTION]
            command += ["--bbox", "-180", "-90", "180", "90", "--datetime", "2024"]
            command += ["--out", str(Path(folder) / method)]
            windows = [alone(method, given.scene, given.cells)]
            begin = time.perf_counter()
            process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            memory = Memory(process)
            memory.start()
            out, _ = process.communicate()
            seconds = time.perf_counter() - begin
            windows.append(alone(method, given.scene, given.cells))
            bare = float(np.mean(windows))
            console.print(out.decode()[-1500:], highlight=False, markup=False)
            console.print(f"{method}: {seconds / 60:.1f} min, {memory.peak / 1e9:.2f} GB")
            console.file.flush()
            pace = (6 * given.cells) ** 2 / seconds / 1e6
            table.add_row(
                method,
                f"{seconds / 60:.1f}",
                " ".join(f"{s / 60:.1f}" for s in windows),
                f"{seconds / bare:.2f}",
                f"{pace:.2f}",
                f"{memory.peak / 1e9:.2f} GB",
            )
            shutil.rmtree(Path(folder) / method)
    console.print(table)


if __name__ == "__main__":
    main()
