"""Whether a cut shows: ``python -m tests.benchmarks.seams [ROUNDS] [--method NAME]``.

Each real scene is sharpened whole; then in every round it is cut into random overlapping tiles, and a
random area of it is run with random shards, with or without the stage, on one or two workers. All twelve
bands of the same place must have the same int16 values. Then the same with other window shapes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from s2sharp.catalog.search import search
from s2sharp.scenes.acquisition import Acquisition, group
from s2sharp.scenes.read import Files

from s2sharp_core import BANDS
from s2sharp_core.lattice import Box, Lattice

from ..data import SCENES, shared_data
from ..pipeline.cuts import random_area, random_tiles, settings, stored, write_cut
from ..pipeline.runs import run

WINDOW = 32
# Tiles that are cut anew are another set of windows to measure a sensor on: what is compared here is the cut alone.
SENSOR = "default"


def acquisition_of(name: str) -> Acquisition:
    folder = shared_data()
    if folder is None:
        sys.exit(
            "No real scenes: set S2SHARP_DATA, or put them at ../shared/data beside the checkout."
        )
    catalog = str(folder / "scenes" / "catalog.json")
    items = search(catalog, "sentinel-2-l1c", (-180, -90, 180, 90), "2010/..")
    found, *_ = group([item for item in items if item.id == name], tuple(BANDS), catalog)
    return found[0]


def compare(
    expected: tuple[dict[str, np.ndarray], float, float],
    got: tuple[dict[str, np.ndarray], float, float],
) -> tuple[int, int, int]:
    """(pixels compared, pixels that differ, largest difference in DN) over all bands."""
    count = differ = largest = 0
    whole, left, top = expected
    pictures, x, y = got
    row, col = round((top - y) / 10), round((x - left) / 10)
    for band, picture in pictures.items():
        height, width = picture.shape
        change = np.abs(picture.astype(int) - whole[band][row : row + height, col : col + width])
        count, differ = count + change.size, differ + int((change > 0).sum())
        largest = max(largest, int(change.max()))
    return count, differ, largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--method", default="s2net-m")
    given = parser.parse_args()
    rounds, method = given.rounds, given.method
    table = Table(title=f"{method}: the same place in runs that were cut differently")
    for name in ("scene", "what varies", "runs", "pixels compared", "differ", "largest, DN"):
        table.add_column(name, justify="right")
    rng = np.random.default_rng(0)
    bands = tuple(BANDS)
    for name in SCENES:
        acquisition = acquisition_of(name)
        lattice, box = Lattice.of(acquisition.epsg), acquisition.box
        files = Files(acquisition)
        dn = {band: files.mosaic(band, box)[0] for band in bands}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            whole = write_cut(folder / "whole", dn, lattice, box, [box])
            run(settings(whole, folder / "out", None, method=method, window=WINDOW, sensor=SENSOR))
            expected = stored(folder / "out", bands)
            cuts = [
                compare(expected, _round(folder / f"r{i}", method, dn, lattice, box, rng))
                for i in range(rounds)
            ]
            shapes = []
            for window in (24, 64):
                out = folder / f"w{window}"
                run(settings(whole, out, None, method=method, window=window, sensor=SENSOR))
                shapes.append(compare(expected, stored(out, bands)))
        for what, results in (
            ("tiles, area, shards, stage, workers", cuts),
            ("window shape", shapes),
        ):
            count, differ, largest = (np.array(results)[:, i] for i in range(3))
            share = f"{differ.sum()} ({differ.sum() / count.sum():.4%})"
            table.add_row(
                name, what, str(len(results)), str(count.sum()), share, str(largest.max())
            )
    Console(width=120).print(table)


def _round(
    folder: Path,
    method: str,
    dn: dict[str, np.ndarray],
    lattice: Lattice,
    box: Box,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], float, float]:
    catalog = write_cut(folder / "archive", dn, lattice, box, random_tiles(box, rng))
    choice = {
        "method": method,
        "sensor": SENSOR,
        "window": WINDOW,
        "shard": int(rng.choice([32, 48, 64])),
        "stage": str(rng.choice(["always", "never"])),
        "workers": int(rng.choice([1, 2])),
        "bbox": random_area(lattice, box, rng),
    }
    run(settings(catalog, folder / "out", None, **choice))
    return stored(folder / "out", tuple(BANDS))


if __name__ == "__main__":
    main()
