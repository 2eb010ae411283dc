"""Whether the border of two codes shows in a mosaic: ``python -m tests.benchmarks.mosaic [METHOD …]``.

Each real scene is laid over the border of zones 32 and 33 (12° E, 48° N): its bands are taken as the ground,
on a map, and each code is given its part of them, 600 m of the other's among it, resampled to its own grid at
the bands' native resolution, as the archive's tiles are. Both are sharpened by one run and put into a
mosaic. Mean |Δ| from a pixel to its neighbour across the border must be at most 1.2 × the median of 100
parallel lines. What a single line of half a thousand pixels crosses decides on that more than the border does:
so each scene is laid there seven times, 300 m apart, a line being the seven together, and in the end that of
all scenes; and the same pixels are compared in the picture of one code alone, which has no border.
"""

import itertools
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
from pyproj import Transformer
from rich.console import Console
from rich.table import Table
from s2sharp import open_cube, open_mosaic
from s2sharp.demo.synthetic import write_catalog, write_scenes
from s2sharp.engine.lease import Lease
from s2sharp.mosaic.config import MosaicConfig
from s2sharp.mosaic.execute import carry_out
from s2sharp.mosaic.make import make_plan
from scipy.ndimage import map_coordinates

from s2sharp_core import BANDS
from s2sharp_core.lattice import Box, Lattice

from ..data import SCENES, real_scene, shared_data
from ..pipeline.cuts import settings
from ..pipeline.runs import run
from ..pipeline.test_mosaic_lines import lines

WHEN = datetime(2024, 6, 15, 10, 10, 31, tzinfo=UTC)
CODES = (32632, 32633)
MAP = "+proj=tmerc +lon_0=12 +lat_0=48 +ellps=WGS84"
BEYOND = 600.0


SHIFTS = tuple(300.0 * k for k in range(-3, 4))


def ground(scene: xr.DataTree, band: str, epsg: int, box: Box, shift: float) -> np.ndarray:
    """DN of a band as a code's grid shows it, the picture's middle `shift` metres west of the border; 0 beyond
    the picture.
    """
    gsd = BANDS[band].gsd
    picture = scene[f"r{gsd}m"][band].values.astype(float)
    x, y = Lattice.of(epsg).coords(box, gsd)
    to_map = Transformer.from_crs(epsg, MAP, always_xy=True)
    east, north = to_map.transform(*np.meshgrid(x, y))
    height, width = picture.shape
    rows, cols = height / 2 - north / gsd - 0.5, width / 2 + (east + shift) / gsd - 0.5
    seen = map_coordinates(picture, [rows, cols], order=3, mode="nearest")
    inside = (rows >= 0) & (rows <= height - 1) & (cols >= 0) & (cols <= width - 1)
    return np.where(inside, np.rint(seen * 10_000).clip(1, 65_534), 0).astype(np.uint16)


def part(epsg: int, half: float) -> Box:
    """The cells of a code: its own side of the border, and a little of the other's."""
    west, east = (half, BEYOND) if epsg == CODES[0] else (BEYOND, half)
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(12.0, 48.0)
    return Lattice.of(epsg).around((x - west, y - half, x + east, y + half))


def measure(name: str, method: str, shift: float, folder: Path) -> np.ndarray:
    """(bands, 102): mean |Δ| in DN across the border, of the same pixels in one code's own picture, and of 100
    parallel lines.
    """
    scene = real_scene(name)
    half = scene["r10m"]["B02"].shape[0] * 5 - 300.0
    items = []
    for epsg in CODES:
        box = part(epsg, half)
        bands = {band: ground(scene, band, epsg, box, shift) for band in BANDS}
        one = write_scenes(
            folder, bands, Lattice.of(epsg), box, [box], WHEN, baseline="02.05", offset=0.0
        )
        items += one
    catalog = write_catalog(folder, items)
    _, outcome = run(settings(catalog, folder / "cube", None, method=method, shard=64))
    plan = make_plan(MosaicConfig(out=folder / "cube", to=folder / "mosaic", publish=False))
    with Lease.taken(plan.folder) as lease:
        made = carry_out(plan, lease)
    for failed in (*outcome.failed, *made.failed):
        raise RuntimeError(failed.message)
    mosaic = open_mosaic(folder / "mosaic").isel(time=0).load()
    code = int(plan.grid.crs.removeprefix("EPSG:"))
    alone = open_cube(folder / "cube", epsg=code).isel(time=0).reindex_like(mosaic).load()
    source = mosaic.source.values
    rows, cols = np.nonzero(
        (source[:, 1:] != source[:, :-1]) & (source[:, 1:] * source[:, :-1] > 0)
    )
    found = []
    for band in BANDS:
        across, parallel = lines(mosaic[band].values * 10_000, source)
        change = np.abs(np.diff(alone[band].values * 10_000, axis=1))[rows, cols]
        found.append((across, np.nanmean(change), *parallel))
    return np.array(found)


def main(methods: tuple[str, ...]) -> None:
    if shared_data() is None:
        sys.exit(
            "No real scenes: set S2SHARP_DATA, or put them at ../shared/data beside the checkout."
        )
    table = Table(title="Mean |Δ| across the border of two codes, over that of …")
    for column in ("scene", "method", "", *BANDS, "worst"):
        table.add_column(column, justify="right")
    for method in methods:
        found: dict[str, list[np.ndarray]] = {}
        for name in SCENES:
            for shift in SHIFTS:
                with tempfile.TemporaryDirectory() as folder:
                    found.setdefault(name, []).append(measure(name, method, shift, Path(folder)))
            add_rows(table, name, method, found[name])
        add_rows(table, "all", method, list(itertools.chain(*found.values())))
        Console(width=150).print(table)


def add_rows(table: Table, name: str, method: str, found: list[np.ndarray]) -> None:
    across, alone, *parallel = np.mean(found, axis=0).T
    beside = np.median(parallel, axis=0)
    for what, ratio in (("100 lines", across / beside), ("one code", across / alone)):
        table.add_row(name, method, what, *(f"{r:.2f}" for r in ratio), f"{ratio.max():.2f}")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("bicubic", "s2net-m"))
