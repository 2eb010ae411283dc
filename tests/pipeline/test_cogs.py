"""COGs of a real cube, read back with rasterio and rio-cogeo."""

import resource
import shutil
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
import rasterio
import rasterio.warp
import rioxarray  # noqa: F401  (registers .rio)
from rasterio._env import get_gdal_config
from rio_cogeo import cog_validate
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout, encode
from s2sharp.cube.open import open_cube
from s2sharp.cube.write import write_shard
from s2sharp.engine.worker import Clock
from s2sharp.publish.cog_profile import BLOCK, CACHE, CogProfile, Frame
from s2sharp.publish.cogs import Means, write_cogs

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .published import TIMES, make_cube


def test_every_cog_is_valid_for_rio_cogeo(published):
    _, _, cogs = published
    assert set(cogs) == {"B02", "B05", "cloud"}
    for path in cogs.values():
        assert cog_validate(path, strict=True, quiet=True) == (True, [], [])


def test_a_cog_of_an_area_smaller_than_a_tile_is_valid(tmp_path):
    layout = make_cube(tmp_path, 32633, Box(64, 70, 128, 131))
    for path in write_cogs(tmp_path, layout, 0, "small").values():
        assert cog_validate(path, strict=True, quiet=True)[0]
        with rasterio.open(path) as file:
            assert file.shape == (36, 18)


def test_a_cog_holds_the_pixels_of_the_area_at_its_place(published):
    out, layout, cogs = published
    cube = open_cube(out).sel(time=TIMES[0])
    for band in layout.bands:
        with rasterio.open(cogs[band]) as file:
            pixels = file.read(1)
            assert (pixels == encode(cube[band].values)).all()
            assert file.crs.to_epsg() == layout.epsg == cube.rio.crs.to_epsg()
            assert file.transform == cube.rio.transform(recalc=True)
            assert file.transform.f % 60 == (40 if layout.epsg > 32700 else 0)
        assert (pixels == FILL).any()
        assert (pixels[pixels != FILL] < 0).any()


def test_a_cog_says_what_its_numbers_mean(published):
    _, _, cogs = published
    with rasterio.open(cogs["B05"]) as file:
        assert file.dtypes == ("int16",)
        assert file.nodata == FILL
        assert file.scales == (1e-4,)
        assert file.offsets == (0.0,)
        assert file.descriptions == ("B05 reflectance, 704 nm",)
        assert file.block_shapes == [(512, 512)]
        assert file.compression.name == "deflate"
        assert file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert file.tags() == {"AREA_OR_POINT": "Area", "OVERVIEW_RESAMPLING": "AVERAGE"}
        assert file.overviews(1) == [2]
    with rasterio.open(cogs["B05"], overview_level=0) as file:
        assert file.block_shapes == [(512, 512)]


def test_overviews_average_what_is_there_and_ignore_nodata(tmp_path):
    """Where every second column lacks data, an overview shows the others, neither fill nor mixture."""
    area = Box(0, 128, 0, 128)
    layout = Layout(32633, area, 64, 192, TIMES, ("B02",))
    lay_out(tmp_path / "cube.zarr", [layout], {layout.group: {}})
    pixels = np.full((384, 384), 1000, "i2")
    pixels[::2] = 3000
    pixels[:, ::2] = FILL
    pixels[:100] = FILL
    data = {"B02": pixels} | {n: np.zeros((384, 384), kind) for n, (kind, _, _) in LAYERS.items()}
    for row in range(2):
        for col in range(2):
            write_shard(tmp_path / "cube.zarr", layout, 0, row, col, data)
    with rasterio.open(write_cogs(tmp_path, layout, 0, "x")["B02"], overview_level=0) as file:
        seen = file.read(1)
    assert (seen[:50] == FILL).all()
    assert (seen[50:192] == 2000).all()


def test_the_cloud_layer_is_written_only_where_the_product_had_one(published):
    out, layout, cogs = published
    with rasterio.open(cogs["cloud"]) as file:
        assert (file.read(1) == open_cube(out).sel(time=TIMES[0])["cloud"].values).all()
        assert (file.nodata, file.dtypes, file.scales) == (0, ("uint8",), (1.0,))
    (out / "cogs" / "clear").mkdir()
    shutil.copy(cogs["cloud"], out / "cogs" / "clear")
    assert set(write_cogs(out, layout, 1, "clear")) == {"B02", "B05"}
    assert not (out / "cogs" / "clear" / "cloud.tif").exists()


def test_writing_again_gives_the_same_files(published):
    out, layout, cogs = published
    before = {band: path.read_bytes() for band, path in cogs.items()}
    assert {b: p.read_bytes() for b, p in write_cogs(out, layout, 0, "first").items()} == before


def test_what_a_killed_run_left_is_swept_away(published):
    out, layout, cogs = published
    leftover = out / "cogs" / "first" / ".partial-killed"
    leftover.mkdir()
    (leftover / "raw.tif").write_bytes(b"half")
    write_cogs(out, layout, 0, "first")
    assert sorted(p.name for p in (out / "cogs" / "first").iterdir()) == sorted(
        p.name for p in cogs.values()
    )


def test_a_disk_that_gives_out_leaves_the_old_cogs_and_nothing_half(published):
    out, layout, cogs = published
    before = {path.name: path.read_bytes() for path in cogs.values()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (
        100_000,
        1_100_000,
    ):  # enough for no file, and for the first of two but not the second
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(S2SharpError, match=r"B02\.tif could not be written") as caught:
                write_cogs(out, layout, 0, "first")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.kind == "store-unwritable"
        assert {p.name: p.read_bytes() for p in (out / "cogs" / "first").iterdir()} == before


def test_a_failure_of_gdal_without_a_message_is_one_of_writing(published, monkeypatch):
    """As rasterio raises it on a full disk, if GDAL tells of it too late."""
    out, layout, cogs = published
    before = {path.name: path.read_bytes() for path in cogs.values()}

    def copy(*_, **__):
        raise SystemError("Unknown GDAL Error.")

    monkeypatch.setattr("rasterio.shutil.copy", copy)
    with pytest.raises(S2SharpError, match="Check whether the disk is full") as caught:
        write_cogs(out, layout, 0, "first")
    assert caught.value.kind == "store-unwritable"
    assert {p.name: p.read_bytes() for p in (out / "cogs" / "first").iterdir()} == before


def test_memory_does_not_grow_with_the_area(tmp_path):
    peaks = []
    for name, cells in (("small", 128), ("large", 320)):
        out = tmp_path / name
        layout = make_cube(out, 32633, Box(0, cells, 0, cells), bands=("B02",), cloudy=False)
        write_cogs(out, layout, 1, "warm")
        tracemalloc.start()
        write_cogs(out, layout, 0, "x")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw"])
def test_memory_and_threads_change_no_byte_and_compression_no_pixel(published, compression):
    out, layout, cogs = published
    steps = Clock()
    means = [Means(compression), Means(compression, 1e9, 1, steps), Means(compression, 1e9, 3)]
    made = [write_cogs(out, layout, 0, f"{compression}{n}", x) for n, x in enumerate(means)]
    for variable, path in made[0].items():
        assert all(there[variable].read_bytes() == path.read_bytes() for there in made)
        assert cog_validate(path, strict=True, quiet=True)[0]
        with rasterio.open(path) as file, rasterio.open(cogs[variable]) as other:
            assert file.compression.name == compression
            assert (file.read() == other.read()).all()
    assert set(steps.seconds) == {"cogs read", "cogs overviews", "cogs compress"}
    assert min(steps.seconds.values()) > 0


def test_gdal_keeps_blocks_while_a_file_is_made(published):
    """With room for none, blocks are written out by whatever thread comes along, of which GDAL has died."""
    out, layout, _ = published
    room = []

    @contextmanager
    def look(_):
        room.append(get_gdal_config("GDAL_CACHEMAX"))
        yield

    write_cogs(out, layout, 0, "room", Means(clock=look))
    assert min(room) == max(room) == CACHE > 4 * 2 * BLOCK**2


def test_no_more_is_held_than_may_be():
    """A full tile fits into what a unit of 512 cells takes if it is alone there; by files several do."""
    tile, quarter = (
        Frame.of(Layout(32633, Box(0, n, 0, n), 512, 512, TIMES, ("B02",))) for n in (1830, 915)
    )
    band = CogProfile.of("B02")
    assert 1.33 * 2 * 10_980**2 < tile.need(band, in_memory=True) < 0.49e9
    assert quarter.need(band, in_memory=True) < 0.4 * tile.need(band, in_memory=True)
    least = tile.need(band, in_memory=False)
    assert 2 * 2 * 3072**2 < least < 0.05e9
    for threads, most, memory, count in ((1, 12, 0.49e9, 1), (4, 12, 0.49e9, 4), (4, 3, 0.49e9, 3)):
        found, each = Means(memory=memory, threads=threads).split(most, least)
        assert found == count
        assert (each.memory, each.threads) == (memory / count, 1)
    assert Means(memory=0, threads=16).split(12, least) == (1, Means(memory=0, threads=16))
    assert Means(memory=0.49e9, threads=16).split(12, least)[0] * least <= 0.49e9
