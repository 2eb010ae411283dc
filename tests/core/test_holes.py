"""Nodata stays nodata and never leaks; dark negatives survive."""

import numpy as np
import pytest

from s2sharp_core import load_sharpener, sharpen
from s2sharp_core.bands import BANDS, COARSE
from s2sharp_core.blocks import context, valid_mask
from s2sharp_core.scene import make_scene
from s2sharp_core.sensor.simulate import landscape

from .scenes import NORTH, box_at, native, wild_dsen2

ROWS, COLS = 30, 28
BOX = box_at(ROWS, COLS)
WINDOW = 16


@pytest.fixture(scope="module", params=["bicubic", "wild"])
def sharpener(request, tmp_path_factory):
    """Random weights carry what leaks farther than trained ones would."""
    if request.param == "wild":
        return wild_dsen2(tmp_path_factory.mktemp("wild"))
    return load_sharpener(request.param)


@pytest.fixture(scope="module")
def seen():
    return native(landscape(BOX.pixels(10), seed=4242))


def run(data, sharpener):
    """(coarse bands, 6h, 6w)"""
    result = sharpen(make_scene(data, NORTH, BOX), sharpener, window=WINDOW)
    return np.stack([result[band].values for band in COARSE])


@pytest.fixture(scope="module")
def unharmed(seen, sharpener):
    return run(seen, sharpener)


def near(mask, cells):
    """Where a cell with a pixel of `mask` (6h, 6w) is at most so many cells away: bool (6h, 6w)."""
    holes = mask.reshape(ROWS, 6, COLS, 6).any(axis=(1, 3))
    grown = np.zeros_like(holes)
    for row, col in np.argwhere(holes):
        grown[max(0, row - cells) : row + cells + 1, max(0, col - cells) : col + cells + 1] = True
    return grown.repeat(6, axis=0).repeat(6, axis=1)


def pierced(seen, band, seed):
    """A few holes in one band: a pixel, a block wider than any halo, and a swath's edge."""
    rng = np.random.default_rng(seed)
    y = seen[band].copy()
    height, width = y.shape
    n = 60 // BANDS[band].gsd
    row, col = rng.integers(height), rng.integers(width)
    y[row, col] = np.nan
    row, col = rng.integers(height - 9 * n), rng.integers(width - 9 * n)
    y[row : row + 9 * n, col : col + 9 * n] = np.nan
    slanted = np.arange(width)[None] + 2 * np.arange(height)[:, None] < rng.integers(2 * n, 8 * n)
    y[slanted] = np.nan
    return {**seen, band: y}


@pytest.mark.parametrize("band", ["B04", "B8A", "B12", "B01", "B09"])
def test_a_hole_in_any_band_is_a_hole_in_all_it_is_read_for_and_nowhere_else(
    seen, sharpener, unharmed, band
):
    data = pierced(seen, band, seed=list(BANDS).index(band))
    result = run(data, sharpener)
    valid = valid_mask({b: data[b] for b in sharpener.reads}, BOX, BOX)
    if band in sharpener.reads:
        n = BANDS[band].gsd // 10
        assert np.array_equal(~valid, np.isnan(data[band]).repeat(n, axis=0).repeat(n, axis=1))
    assert (np.isfinite(result) == valid).all()
    far = ~near(~valid, context(sharpener))
    assert far.mean() > 0.1
    assert np.array_equal(result[:, far], unharmed[:, far])


@pytest.mark.parametrize("seed", range(2))
def test_holes_in_many_bands_add_up(seen, sharpener, seed):
    data = seen
    for band in ("B02", "B06", "B11", "B01"):
        data = pierced(data, band, seed)
        seed += 1
    result = run(data, sharpener)
    holes = np.zeros(BOX.pixels(10), dtype=bool)
    for band in sharpener.reads:
        n = BANDS[band].gsd // 10
        holes |= np.isnan(data[band]).repeat(n, axis=0).repeat(n, axis=1)
    assert (np.isnan(result) == holes).all()


def test_next_to_a_hole_the_picture_goes_on_as_before(seen):
    """A hole is filled from its neighbours, not with zeros: beside it, hardly anything changes."""
    data = {**seen, "B05": seen["B05"].copy()}
    data["B05"][42:45, 42:45] = np.nan
    net = load_sharpener("dsen2", ["B05"])
    before, after = (
        sharpen(make_scene(y, NORTH, BOX), net, window=WINDOW)["B05"].values for y in (seen, data)
    )
    valid = np.isfinite(after)
    assert (~valid).sum() == 36
    assert np.abs(after - before)[valid].max() < 0.25 * before.mean()


def test_a_scene_without_data_gives_nothing(seen, sharpener):
    nothing = {band: np.full_like(y, np.nan) for band, y in seen.items()}
    assert np.isnan(run(nothing, sharpener)).all()


def test_one_band_without_data_empties_what_it_is_read_for(seen, sharpener):
    data = {**seen, "B09": np.full_like(seen["B09"], np.nan)}
    assert np.isnan(run(data, sharpener)).all()


def test_20_m_bands_do_not_ask_for_60_m_bands(seen):
    data = {**seen, "B01": np.full_like(seen["B01"], np.nan)}
    alone = sharpen(make_scene(data, NORTH, BOX), "dsen2", bands=["B05"], window=WINDOW)
    assert np.isfinite(alone["B05"]).all()


def test_dark_negatives_survive(seen, sharpener):
    """Reflectance below zero is what an offset leaves of dark water; clipping it would brighten it."""
    below = {band: y - np.float32(0.06) for band, y in seen.items()}
    result = run(below, sharpener)
    negative = (below["B12"] < -0.02).repeat(2, axis=0).repeat(2, axis=1)
    assert negative.any()
    assert (result[COARSE.index("B12")][negative] < 0).mean() > 0.9
    ten = sharpen(make_scene(below, NORTH, BOX), "bicubic", bands=["B04", "B05"])["B04"]
    assert np.array_equal(ten.values, below["B04"])
