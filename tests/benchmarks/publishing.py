"""What COGs of a tile cost: ``python -m tests.benchmarks.publishing [--cells N] [--turns N]``.

A real scene, sharpened and mirrored to a cube of N cells a side, all twelve bands; its COGs on one thread, in turns: as they
were written once (a raw copy, then rio-cogeo's translation, DEFLATE level 6), and as they are, by every compression; then
the true colours. CPU seconds for all pixels of a tile of 10 980 × 10 980, the files' size for it, and the memory that was
held beyond what was there before, beside what a worker of a plan of units of 512 cells has.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import rasterio
from rasterio.windows import Window
from rich.console import Console
from rich.table import Table
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import LAYERS, Layout, encode
from s2sharp.cube.write import write_shard
from s2sharp.engine.worker import Clock, Peak
from s2sharp.publish.cog_profile import CogProfile, Frame
from s2sharp.publish.cogs import Means, write_cogs
from s2sharp.publish.visual import write_visual
from s2sharp.storage.arrays import arrays_of

from s2sharp_core import BANDS, sharpen
from s2sharp_core.lattice import Box
from tests.data import SCENES, real_scene

TILE = 10_980
# What `cost.room` in planning gives for the twelve bands of s2net-m in units of 512 cells.
ROOM = 0.49e9


def write_cube(out: Path, scene: str, cells: int) -> Layout:
    """A cube of one date, of a scene that is mirrored until it fills it."""
    area = Box(76_000, 76_000 + cells, 10_000, 10_000 + cells)
    layout = Layout(32633, area, 512, 512, ("2024-06-01T10:00:00",), tuple(BANDS))
    lay_out(out / "cube.zarr", [layout], {layout.group: {}})
    sharp = sharpen(real_scene(scene), "s2net-s")
    height, width = layout.size
    bands = {}
    for band in BANDS:
        dn = encode(sharp[band].values)
        after = [(0, max(0, n - m)) for n, m in zip((height, width), dn.shape, strict=True)]
        bands[band] = np.pad(dn, after, mode="symmetric")[:height, :width]
    for row, col in np.ndindex(layout.shards()):
        place = layout.place(row, col)
        data = {band: dn[place] for band, dn in bands.items()}
        data |= {name: np.zeros((3072, 3072), kind) for name, (kind, _, _) in LAYERS.items()}
        data["valid"][...] = 1
        write_shard(out / "cube.zarr", layout, 0, row, col, data)
    return layout


def as_before(out: Path, layout: Layout) -> None:
    """The COGs as they were written once."""
    from rio_cogeo.cogeo import cog_translate
    from rio_cogeo.profiles import cog_profiles

    folder, arrays, frame = (
        out / "cogs" / "before",
        arrays_of(out / "cube.zarr", layout.group),
        Frame.of(layout),
    )
    folder.mkdir(parents=True)
    height, width = frame.shape
    for band in (*layout.bands, "valid"):
        raster = CogProfile.of(band)
        about = {"width": width, "height": height, "count": 1, "dtype": raster.dtype}
        about |= {"nodata": raster.nodata, "crs": frame.crs, "transform": frame.transform}
        about |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
        raw = out / "raw.tif"
        with rasterio.open(raw, "w", driver="GTiff", **about) as file:
            for (rows, cols), window in frame.parts:
                assert isinstance(window, Window)
                file.write(np.asarray(arrays[band][0, rows, cols]), 1, window=window)
        cog_translate(
            raw,
            folder / f"{band}.tif",
            {**cog_profiles["deflate"], "predictor": 2},
            overview_resampling=raster.overviews,
            in_memory=False,
            config={"GDAL_TIFF_OVR_BLOCKSIZE": "512", "GDAL_CACHEMAX": 128},
            quiet=True,
        )
        raw.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", choices=SCENES, default="shark_bay")
    parser.add_argument("--cells", type=int, default=915, help="side, 60 m each")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--ways", default="", help="only these, with commas between them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        layout = write_cube(out, given.scene, given.cells)
        clocks = {name: Clock() for name in ("deflate", "zstd", "lzw")}

        def cogs(name: str, room: float = ROOM) -> Callable[[], object]:
            means = Means(name, room, 1, clocks[name])
            return lambda: write_cogs(out, layout, 0, name, means)

        def visual() -> None:
            folder = out / "cogs" / "visual"
            folder.mkdir(parents=True)
            means = Means(memory=ROOM)
            at = folder / "visual.tif", folder / "small.jpg"
            write_visual(
                arrays_of(out / "cube.zarr", layout.group), 0, Frame.of(layout), *at, means
            )

        ways = {
            "before": lambda: as_before(out, layout),
            **{name: cogs(name) for name in clocks},
            "deflate, by files": cogs("deflate", 0.0),
            "visual": visual,
        }
        ways = {n: w for n, w in ways.items() if not given.ways or n in given.ways.split(",")}
        spent: dict[str, list[float]] = {name: [] for name in ways}
        sizes, peaks = {}, {}
        for _ in range(given.turns):
            for name, way in ways.items():
                idle, begin = psutil.Process().memory_info().rss, time.process_time()
                with Peak() as peak:
                    way()
                spent[name].append(time.process_time() - begin)
                peaks[name] = peak.bytes - idle
                sizes[name] = sum(f.stat().st_size for f in (out / "cogs").rglob("*.tif"))
                shutil.rmtree(out / "cogs")
    scale = (TILE / (6 * given.cells)) ** 2
    table = Table(title=f"{given.scene}, {6 * given.cells} px a side; a worker has {ROOM / 1e9} GB")
    for column in ("", "CPU s a tile", "ns a pixel and band", "GB a tile", "held, GB"):
        table.add_column(column, justify="right")
    for name, times in spent.items():
        best = min(times)
        each = 1e9 * best / (len(BANDS) * (6 * given.cells) ** 2)
        size = f"{scale * sizes[name] / 1e9:.2f}"
        row = (f"{scale * best:.0f}", f"{each:.0f}", size, f"{peaks[name] / 1e9:.2f}")
        table.add_row(name, *row)
    Console(width=120).print(table)
    for name, clock in clocks.items():
        steps = {step: round(s / given.turns, 1) for step, s in clock.seconds.items()}
        print(name, "seconds by step", steps)


if __name__ == "__main__":
    main()
