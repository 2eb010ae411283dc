"""Whether a region shows how it was cut: ``python -m tests.benchmarks.region [--method NAME]``.

Two regions of two EPSG codes, north and south, each seen on several dates; a date shows one of the real scenes, mirrored
to 3 × 3 tiles of 600 px that overlap by 96 px, and the last one ends within the region. ``s2sharp run`` goes over
a catalog of the tiles, and over one in which every date of a code is one scene. What both cubes hold must be equal:
every band and layer, every date, the overviews too.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import zarr
from rich.console import Console
from rich.table import Table
from s2sharp.demo.synthetic import COLLECTION

from s2sharp_core import BANDS
from s2sharp_core.bands import CELL
from s2sharp_core.lattice import Box, Lattice

from ..data import SCENES, real_scene, shared_data
from ..pipeline.cuts import WHEN, Pass, beyond_swath, difference, write_region

SIDE, OVERLAP, TILES = 100, 16, 3
CELLS = TILES * (SIDE - OVERLAP) + OVERLAP
CORNERS = {32633: (76_003, 10_001), 32755: (62_666, 5_500)}


def mirrored(name: str) -> dict[str, np.ndarray]:
    """DN of a real scene, mirrored at its edges until it covers the region."""
    tree = real_scene(name)
    bands = {}
    for band, about in BANDS.items():
        dn = np.rint(tree[f"r{about.gsd}m"][band].values * 1e4).clip(1).astype(np.uint16)
        side = CELLS * CELL // about.gsd
        after = [(0, max(0, side - n)) for n in dn.shape]
        bands[band] = np.pad(dn, after, mode="symmetric")[:side, :side]
    return bands


def passes(dates: int) -> list[Pass]:
    """Each code sees the scenes in another order."""
    found = []
    for turn, (epsg, (row, col)) in enumerate(CORNERS.items()):
        box = Box(row, row + CELLS, col, col + CELLS)
        for date in range(dates):
            bands = mirrored(SCENES[(date + 2 * turn) % len(SCENES)])
            if date == dates - 1:
                bands = {band: beyond_swath(dn, band) for band, dn in bands.items()}
            when = WHEN + timedelta(days=5 * date, hours=turn)
            found.append(Pass(Lattice.of(epsg), box, when, bands))
    return found


def run(catalog: Path, out: Path, method: str, *more: str) -> float:
    """Minutes that it took."""
    command = [sys.executable, "-m", "s2sharp.cli.app", "run", "--method", method]
    command += ["--catalog", str(catalog), "--collection", COLLECTION]
    command += ["--bbox", "-180", "-90", "180", "90", "--datetime", "2024"]
    command += ["--no-publish", "--out", str(out), *more]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="s2net-m")
    parser.add_argument("--dates", type=int, default=3)
    given = parser.parse_args()
    if shared_data() is None:
        sys.exit(
            "No real scenes: set S2SHARP_DATA, or put them at ../shared/data beside the checkout."
        )
    console = Console(width=120)
    table = Table(title=f"{given.method}: a region of {TILES} × {TILES} tiles and the same uncut")
    for column in ("group", "dates", "values compared", "with data", "differ", "largest, DN"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen = passes(given.dates)
        whole = write_region(folder / "uncut", seen, CELLS, OVERLAP)
        tiles = write_region(folder / "cut", seen, SIDE, OVERLAP)
        minutes = (
            run(whole, folder / "one", given.method),
            run(tiles, folder / "nine", given.method, "--workers", "2", "--stage", "always"),
        )
        console.print("uncut: {:.1f} min; cut, two workers, staged: {:.1f} min".format(*minutes))
        root = zarr.open_group(folder / "one" / "cube.zarr", mode="r")
        for code in sorted(root.group_keys()):
            levels = sorted(root[code].group_keys())
            for group in (code, *(f"{code}/{level}" for level in levels)):
                found = difference(folder / "one", folder / "nine", group)
                figures = found.values, found.valid, found.differ, found.largest
                table.add_row(group, str(given.dates), *(f"{n:,}" for n in figures))
    console.print(table)


if __name__ == "__main__":
    main()
