"""How much of the machine the net gets: ``python -m tests.benchmarks.scaling [--cells N]``.

A real scene, mirrored, through whole runs. With DSen2's nets at their published size (128 × 6, untrained: what they cost does
not depend on what they know), on workers of one thread each: one worker beside two, against windows of the same shape through the
nets alone in one process and in two; and the share of the workers' wall time in which the nets compute. With bicubic, on one worker:
throughput beside that of reading the same COGs whole and writing the finished cube, decoded before, again.
Counted from when the cluster is there until the last unit of the full resolution is: overviews are not.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import rasterio
import torch
from rich.console import Console
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import LAYERS
from s2sharp.cube.write import read_part, write_shard
from s2sharp.demo.synthetic import COLLECTION
from s2sharp.engine.events import ClusterReady, Event, UnitDone
from s2sharp.execution import execute as road
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.config import read_config
from s2sharp.planning.make import make_plan

from s2sharp_core import load_sharpener
from s2sharp_core.bands import GSDS
from s2sharp_core.networks import ResidualNet
from s2sharp_core.weights import save_net, weights_file

from .tile import at_once, write_tile

WINDOW = 64
WINDOWS = 6
"""That a process sharpens to find the net's own pace."""

TURNS = 5
"""Of a run and a copy."""


@dataclass(frozen=True)
class Sharpened:
    """Seconds of the phase; windows that it took; seconds of workers by step."""

    plan: ClientPlan
    seconds: float
    windows: int
    steps: dict[str, float]


def sharpened(catalog: Path, out: Path, workers: int, **more: Any) -> Sharpened:
    """One run."""
    flags = {
        "catalog": str(catalog),
        "collection": COLLECTION,
        "bbox": (-180.0, -90.0, 180.0, 90.0),
        "datetime": "2024",
        "out": out,
        "publish": False,
        "workers": workers,
        **more,
    }
    plan = make_plan(read_config(None, flags))
    begin = end = 0.0
    steps: dict[str, float] = {}

    def tell(event: Event) -> None:
        nonlocal begin, end
        if isinstance(event, ClusterReady):
            begin = time.perf_counter()
        if isinstance(event, UnitDone) and event.full:
            end = time.perf_counter()
            for step, spent in event.record.seconds.items():
                steps[step] = steps.get(step, 0.0) + spent

    outcome = road.execute(plan, tell)
    if outcome.failed:
        raise RuntimeError(outcome.failed[0].message)
    return Sharpened(plan, end - begin, outcome.windows, steps)


def published(folder: Path) -> Path:
    """A folder with DSen2's nets at their published size."""
    for gsd in (20, 60):
        save_net(ResidualNet(gsd, 128, 6), folder / weights_file("dsen2", gsd), {})
    return folder


def _windows(weights: Path, precision: str, ready: Any, found: Any) -> None:
    """In a process of its own: seconds of a window, halo included, once all are ready."""
    torch.set_num_threads(1)
    sharpener = load_sharpener("dsen2", weights=weights, precision=precision)
    side = WINDOW + 2 * sharpener.halo
    rng = np.random.default_rng(0)
    counts = {10: 4, 20: 6, 60: 2}
    inputs = [
        torch.from_numpy(
            rng.random((1, counts[g], side * 60 // g, side * 60 // g), dtype=np.float32)
        )
        for g in GSDS
    ]
    with torch.inference_mode():
        sharpener.sharpen(*inputs)
        ready.wait()
        begin = time.perf_counter()
        for _ in range(WINDOWS):
            sharpener.sharpen(*inputs)
    found.put((time.perf_counter() - begin) / WINDOWS)


def alone(weights: Path, plan: ClientPlan, processes: int) -> float:
    """Seconds of a window through the nets alone, in so many processes at once, the mean."""
    return at_once(_windows, (weights, plan.precision.split()[0]), processes)


@contextmanager
def narrow() -> Iterator[None]:
    """Workers of one thread, also when there is but one of them."""
    with patch("s2sharp.engine.cluster.threads_of", lambda _: 1):
        yield


def copied(done: Sharpened, store: Path) -> float:
    """Seconds to read a run's COGs whole and to write its cube, decoded before, again."""
    plan = done.plan
    (layout,) = plan.layouts
    names = (*layout.bands, *LAYERS)
    shards = [(unit.time, unit.row, unit.col) for unit in plan.units()]
    decoded = {
        shard: {
            name: read_part(plan.store, layout, name, shard[0], layout.place(*shard[1:]), 0)
            for name in names
        }
        for shard in shards
    }
    lay_out(store, plan.layouts, {layout.group: {}})
    begin = time.perf_counter()
    for acquisition in plan.acquisitions:
        for scene in acquisition.scenes:
            for source in scene.sources:
                with rasterio.open(source.href) as file:
                    file.read(1)
    for shard, arrays in decoded.items():
        write_shard(store, layout, *shard, arrays)
    return time.perf_counter() - begin


def nets(console: Console, folder: Path, cells: int) -> None:
    """Scaling, and the nets' share. What the nets take alone is measured after each run: a shared machine's pace changes
    from minute to minute.
    """
    # As many whole units for each of two workers.
    cells = max(1, cells // (2 * WINDOW)) * 2 * WINDOW
    catalog = write_tile(folder / "archive", "shark_bay", cells, WINDOW)
    weights = published(folder)
    how = {"method": "dsen2", "weights": weights, "shard": WINDOW, "window": WINDOW}
    runs: dict[int, Sharpened] = {}
    paces: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2):
        with narrow():
            runs[workers] = sharpened(catalog, folder / f"{workers}", workers, **how)
        for processes in (2, 1):
            paces[processes].append(alone(weights, runs[1].plan, processes))
    own = {processes: float(np.mean(pace)) for processes, pace in paces.items()}
    efficiency = runs[1].seconds / runs[2].seconds / 2
    alike = own[1] / own[2]
    console.print(
        f"DSen2 (128 × 6), {6 * cells} px a side: {runs[1].seconds:.0f} s on one worker, {runs[2].seconds:.0f} s on "
        f"two: efficiency {efficiency:.1%}; the nets alone {own[1]:.2f} s and {own[2]:.2f} s a window: {alike:.1%}; "
        f"[bold]{efficiency / alike:.1%} of the nets' own[/]"
    )
    for workers, run in runs.items():
        share = run.windows * own[workers] / (workers * run.seconds)
        inside = run.steps["net"] / (workers * run.seconds)
        console.print(
            f"{workers} workers: the step of the net takes [bold]{inside:.1%}[/] of the wall time (windows × their time alone: "
            f"{share:.1%}); seconds of workers by step: {_rounded(run.steps)}"
        )


def bicubic(console: Console, folder: Path, cells: int) -> None:
    """Throughput beside a copy's, in turns: a shared machine's pace changes from minute to minute."""
    catalog = write_tile(folder / "archive", "shark_bay", cells)
    ratios = []
    for turn in range(TURNS):
        run = sharpened(catalog, folder / f"{turn}", 1, method="bicubic")
        floor = copied(run, folder / f"{turn}.zarr")
        ratios.append(floor / run.seconds)
        console.print(
            f"bicubic, {6 * cells} px a side: {run.seconds:.1f} s; reading the COGs and writing the cube again "
            f"{floor:.1f} s: {ratios[-1]:.1%} of that throughput; {_rounded(run.steps)}"
        )
        for made in (f"{turn}", f"{turn}.zarr"):
            shutil.rmtree(folder / made)
    console.print(f"median of {TURNS} turns: [bold]{statistics.median(ratios):.1%}[/]")


def _rounded(steps: dict[str, float]) -> dict[str, float]:
    return {name: round(seconds, 1) for name, seconds in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("nets", "bicubic"))
    parser.add_argument("--cells", type=int, default=384, help="side for DSen2, 60 m each")
    parser.add_argument("--tile", type=int, default=1830, help="side for bicubic")
    given = parser.parse_args()
    console = Console(width=120)
    for what, cells in ((nets, given.cells), (bicubic, given.tile)):
        if given.only in (None, what.__name__):
            with tempfile.TemporaryDirectory() as folder:
                what(console, Path(folder), cells)


if __name__ == "__main__":
    main()
