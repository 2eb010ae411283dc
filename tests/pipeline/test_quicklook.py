"""The before/after picture, read back as pixels; the choice of the place it shows."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from s2sharp.cube.create import lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout, encode
from s2sharp.cube.open import open_cube
from s2sharp.cube.write import write_shard
from s2sharp.publish.panels import choose_spot
from s2sharp.publish.quicklook import quicklook

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS, ratio
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sensor.simulate import landscape, observe

NODATA = np.array([0xE4, 0xE4, 0xE4])


@pytest.fixture(scope="module")
def scene() -> tuple[xr.Dataset, dict[str, np.ndarray]]:
    """A landscape in all bands at 10 m (what a perfect sharpener returns), and as the satellite sees it."""
    box = Box(80_000, 80_030, 10_000, 10_030)
    truth = landscape(box.pixels(10), seed=5)
    x, y = Lattice.of(32633).coords(box, 10)
    bands = {band: (("y", "x"), truth[i]) for i, band in enumerate(BANDS)}
    seen = observe(truth)
    native = {band: seen[gsd][i] for gsd in GSDS for i, band in enumerate(BY_GSD[gsd]) if gsd > 10}
    return xr.Dataset(bands, coords={"y": y, "x": x}), native


def draw(folder: Path, cube: xr.Dataset, native: dict, **options: str) -> np.ndarray:
    path = folder / "pictures" / "quicklook.png"
    quicklook(path, cube, native, "2024-06-03 · dsen2", **options)
    assert [p.name for p in path.parent.iterdir()] == ["quicklook.png"]
    return np.rint(matplotlib.image.imread(path)[..., :3] * 255).astype(int)


def first_row(picture: np.ndarray, panels: int) -> list[np.ndarray]:
    """The upper parts (without the scale bar) of the panels of the first row."""
    width = (1600 - 2 * 32 - 16 * (panels - 1)) / panels
    lefts = [round(32 + i * (width + 16)) for i in range(panels)]
    return [picture[122:450, left + 3 : left + int(width) - 3] for left in lefts]


def blocky(panel: np.ndarray) -> float:
    """How much of the change along rows happens at few of the columns: 1 where all of it does."""
    steps = np.sort(np.abs(np.diff(panel, axis=1)).sum(axis=(0, 2)))[::-1]
    return steps[: len(steps) // 6].sum() / steps.sum()


def test_the_picture_is_large_enough_to_show(scene, tmp_path):
    cube, native = scene
    height, width, _ = draw(tmp_path, cube, native).shape
    assert width == 1600
    assert 850 <= height <= 1000


def test_before_shows_the_satellites_pixels_and_after_finer_ones(scene, tmp_path):
    cube, native = scene
    before, after = first_row(draw(tmp_path, cube, native), 2)
    assert before.std() > 20
    assert after.std() > 20
    assert np.abs(before - after).mean() > 5
    # The panels show 180 pixels of 10 m on 760 of the screen: 90 pixels of 20 m change at 90 columns.
    assert blocky(before) > 0.95
    assert blocky(after) < 0.9


def test_before_and_after_are_stretched_alike(scene, tmp_path):
    """A sharpener that does nothing gives two equal panels, dark or bright."""
    cube, native = scene
    idle = cube.copy()
    for band in ("B12", "B8A", "B05"):
        n = ratio(BANDS[band].gsd)
        idle[band] = (("y", "x"), native[band].repeat(n, 0).repeat(n, 1))
    before, after = first_row(draw(tmp_path, idle, native), 2)
    assert (np.abs(before - after).max(axis=-1) > 0).mean() < 0.01


def test_a_bright_outlier_in_the_delivered_band_does_not_darken_the_picture(scene, tmp_path):
    cube, native = scene
    glint = {band: y.copy() for band, y in native.items()}
    for band in glint:
        glint[band][-1, -1] = 50.0
    assert (draw(tmp_path, cube, glint)[:450] == draw(tmp_path, cube, native)[:450]).all()


@pytest.mark.parametrize(
    ("bands", "panels"),
    [
        (["B05"], 2),
        (["B01"], 2),
        (["B05", "B11"], 2),
        (["B05", "B02", "B03", "B04"], 3),
        (["B08"], 1),
    ],
)
def test_few_bands_give_a_picture_too(scene, tmp_path, bands, panels):
    cube, native = scene
    picture = draw(tmp_path, cube[bands], {b: native[b] for b in bands if b in native})
    shown = first_row(picture, panels)
    assert all(panel.std() > 20 for panel in shown)
    if panels > 1:
        assert np.abs(shown[0] - shown[1]).mean() > 3
    if len(bands) < 3:  # grey
        assert (np.ptp(shown[0], axis=-1) == 0).all()


def test_missing_data_are_neither_black_nor_in_the_way(scene, tmp_path):
    cube, native = scene
    holed, holes = cube.copy(deep=True), {band: y.copy() for band, y in native.items()}
    for band in cube:
        holed[band][60:120, :90] = np.nan
    for band, y in holes.items():
        n = ratio(BANDS[band].gsd)
        y[60 // n : 120 // n, : 90 // n] = np.nan
    for panel in first_row(draw(tmp_path, holed, holes), 2):
        hole = (panel == NODATA).all(axis=-1)
        assert hole[200:260, 20:360].all()
        assert not hole[:, 400:].any()
        assert panel[:, 400:].std() > 20


def test_a_crop_without_any_data_is_drawn_as_such(scene, tmp_path):
    cube, native = scene
    nothing = {band: np.full_like(y, np.nan) for band, y in native.items()}
    for panel in first_row(draw(tmp_path, cube * np.nan, nothing), 2):
        assert (panel == NODATA).all()


def test_a_cube_without_bands_is_refused_by_name(scene, tmp_path):
    cube, native = scene
    with pytest.raises(S2SharpError) as caught:
        draw(tmp_path, cube[["B05"]].rename(B05="valid"), native)
    assert caught.value.kind == "nothing-to-show"


def test_the_credit_stands_there_only_if_told(scene, tmp_path):
    cube, native = scene
    without = draw(tmp_path, cube, native)[-30:]
    assert (without == 255).all()
    credit = "Contains modified Copernicus Sentinel data 2024"
    assert (draw(tmp_path, cube, native, credit=credit)[-30:] < 255).any()


AREA = Box(
    47_670, 47_810, 12_005, 12_145
)  # 840 px a side, not on the corners of shards or overviews
SPOT = (slice(480, 720), slice(120, 360))  # of the area: where the land is rich


@pytest.fixture(scope="module")
def land(tmp_path_factory) -> Path:
    """A cube of a southern area with one rich spot; a richer one below clouds, and one without data."""
    out = tmp_path_factory.mktemp("land")
    layout = Layout(32733, AREA, 64, 192, ("2024-01-01T10:00:00",), ("B04", "B05"))
    lay_out(out / "cube.zarr", [layout], {layout.group: {}})
    rng = np.random.default_rng(0)
    shape = layout.shape()
    pixels = {"B04": np.full(shape, 0.1, "f4"), "cloud": np.full(shape, 4, "u1")}
    pixels["valid"] = np.ones(shape, "u1")
    rows, cols = layout.box.slices(AREA, 10)

    def place(down: slice, right: slice) -> tuple[slice, slice]:
        return (
            slice(rows.start + down.start, rows.start + down.stop),
            slice(cols.start + right.start, cols.start + right.stop),
        )

    noise = texture(rng, (240, 240))
    pixels["B04"][place(*SPOT)] += 0.05 * noise
    clouded, lost = (slice(60, 300), slice(60, 300)), (slice(60, 300), slice(540, 780))
    pixels["B04"][place(*clouded)] += 0.3 * noise
    pixels["cloud"][place(*clouded)] = 9
    pixels["B04"][place(*lost)] += 0.3 * noise
    pixels["valid"][place(*lost)] = 0
    for level in range(layout.levels + 1):
        step = 2**level
        for row in range(layout.shards(level)[0]):
            for col in range(layout.shards(level)[1]):
                write_shard(
                    out / "cube.zarr",
                    layout,
                    0,
                    row,
                    col,
                    shard(layout, pixels, row, col, step),
                    level,
                )
    return out


def texture(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Texture of objects of 40 m, so that overviews of 20 m see it as well."""
    return rng.random((shape[0] // 4, shape[1] // 4)).repeat(4, 0).repeat(4, 1).astype("f4")


def shard(layout: Layout, pixels: dict, row: int, col: int, step: int) -> dict[str, np.ndarray]:
    rows, cols = layout.place(row, col, step.bit_length() - 1)
    fine = {name: x[::step, ::step][rows, cols] for name, x in pixels.items()}
    shape = fine["valid"].shape
    empty = {n: np.zeros(shape, kind) for n, (kind, _, _) in LAYERS.items() if n not in fine}
    return fine | empty | {"B04": encode(fine["B04"]), "B05": np.full(shape, FILL, "i2")}


def overlap(found: tuple[slice, slice]) -> float:
    """The part of what was chosen that lies in the rich spot."""
    inside = 1.0
    for have, want in zip(found, SPOT, strict=True):
        shared = min(have.stop, want.stop) - max(have.start, want.start)
        inside *= max(0, shared) / (have.stop - have.start)
    return inside


@pytest.mark.parametrize("level", [None, 1, 2])
def test_the_spot_is_rich_and_clear_and_lies_on_whole_cells(land, level):
    cube = open_cube(land).isel(time=0)
    overview = None if level is None else open_cube(land, level=level).isel(time=0)
    found = choose_spot(cube, 180, overview)
    assert overlap(found) > 0.9
    for place in found:
        assert place.stop - place.start == 180
        assert place.start % 6 == 0


def test_an_overview_spares_reading_the_cube(land):
    """With an overview, a cube that can't be read but has coordinates is enough."""
    whole = open_cube(land).isel(time=0)
    cube = whole[[]].assign_coords(x=whole.x, y=whole.y)
    assert overlap(choose_spot(cube, overview=open_cube(land, level=1).isel(time=0))) > 0.9


def test_a_cube_smaller_than_the_spot_is_shown_whole(land):
    cube = open_cube(land).isel(time=0, y=slice(0, 60), x=slice(0, 126))
    assert choose_spot(cube) == (slice(0, 60), slice(0, 126))


def test_the_clearest_place_is_taken_when_none_is_clear(land):
    cube = open_cube(land).isel(time=0).load()
    cube["cloud"][:] = 9
    cube["cloud"][600:660, 600:780] = 4
    rows, cols = choose_spot(cube)
    assert cols == slice(600, 780)
    assert rows.start <= 600
    assert rows.stop >= 660
