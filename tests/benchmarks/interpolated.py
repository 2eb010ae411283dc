"""Bicubic interpolation beside odc-stac's: ``python -m tests.benchmarks.interpolated [--cells N] [--turns N]``.

A real scene, mirrored until it is as large as a tile, in turns through ``s2sharp run --method bicubic``, with its layers and
overviews and without COGs, and through ``odc.stac.load`` with cubic resampling into a Zarr. Both write the same twelve bands at
10 m on all cores. Seconds are counted from when the workers are there.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import dask
import odc.stac
import pystac
from rich.console import Console
from s2sharp.demo.synthetic import COLLECTION
from s2sharp.engine.events import ClusterReady, Event
from s2sharp.execution.execute import execute
from s2sharp.planning.config import read_config
from s2sharp.planning.make import make_plan

from s2sharp_core import BANDS

from .tile import CELLS, write_tile

CHUNK = 2048


def ours(catalog: Path, out: Path) -> float:
    """Return the seconds of a run, from when its workers are there until its end."""
    flags = {
        "catalog": str(catalog),
        "collection": COLLECTION,
        "bbox": (-180.0, -90.0, 180.0, 90.0),
        "datetime": "2024",
        "out": out,
        "method": "bicubic",
        "publish": False,
    }
    begin = 0.0

    def tell(event: Event) -> None:
        nonlocal begin
        if isinstance(event, ClusterReady):
            begin = time.perf_counter()

    outcome = execute(make_plan(read_config(None, flags)), tell)
    if outcome.failed:
        raise RuntimeError(outcome.failed[0].message)
    return time.perf_counter() - begin


def odcs(catalog: Path, store: Path) -> float:
    """Return the seconds of odc-stac's cubic interpolation, on Dask's threads."""
    items = list(pystac.Catalog.from_file(str(catalog)).get_items(recursive=True))
    begin = time.perf_counter()
    loaded = odc.stac.load(
        items,
        bands=list(BANDS),
        resolution=10,
        resampling="cubic",
        chunks={"x": CHUNK, "y": CHUNK},
    )
    with dask.config.set(scheduler="threads"):
        loaded.to_zarr(store, consolidated=False)
    return time.perf_counter() - begin


def main() -> None:
    """Print the seconds of each turn, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=CELLS, help="side, 60 m each")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    console, ratios = Console(width=120), []
    with tempfile.TemporaryDirectory() as folder:
        catalog = write_tile(Path(folder, "archive"), "shark_bay", given.cells)
        for turn in range(given.turns):
            run, store = Path(folder, f"run{turn}"), Path(folder, f"odc{turn}.zarr")
            mine, theirs = ours(catalog, run), odcs(catalog, store)
            ratios.append(mine / theirs)
            console.print(
                f"{6 * given.cells} px a side: s2sharp {mine:.1f} s, odc-stac {theirs:.1f} s: {ratios[-1]:.2f} ×"
            )
            shutil.rmtree(run)
            shutil.rmtree(store)
    console.print(f"median of {given.turns} turns: [bold]{statistics.median(ratios):.2f} ×[/]")


if __name__ == "__main__":
    main()
