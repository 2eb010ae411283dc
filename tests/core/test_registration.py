"""Bands that do not lie on each other are noticed, and nothing else is."""

import warnings

import numpy as np
import pytest

from s2sharp_core import BANDS, sharpen
from s2sharp_core.bands import BY_GSD
from s2sharp_core.lattice import Box
from s2sharp_core.scene import make_scene
from s2sharp_core.scene import native as bands_of
from s2sharp_core.sensor.registration import shifts, warn_of_shifts
from s2sharp_core.sensor.simulate import landscape
from tests.data import SCENES, needs_data, paper, real_scene

from .scenes import NORTH, native


def measured(arrays):
    return {s.band: s for s in shifts(arrays)}


def silent(arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shifts(arrays)


@pytest.fixture(scope="module")
def seen():
    return native(landscape((300, 330), seed=4242))


@pytest.mark.parametrize("seed", range(4))
def test_a_landscape_whose_bands_lie_on_each_other_is_left_in_peace(seed):
    arrays = native(landscape((240, 240), seed), snr=50)
    silent(arrays)
    for shift in shifts(arrays):
        assert np.hypot(shift.dy, shift.dx) < 0.15
        assert shift.confidence == 0
    assert set(measured(arrays)) == set(BANDS)


@pytest.mark.parametrize(
    ("band", "down", "right"),
    [("B05", 1, 0), ("B12", -1, 2), ("B01", 0, -1), ("B09", 2, 1), ("B03", 2, -1), ("B08", 0, 1)],
)
def test_one_band_moved_by_whole_pixels_is_named_with_its_shift(seen, band, down, right):
    arrays = {**seen, band: np.roll(seen[band], (down, right), (0, 1))}
    found = measured(arrays)
    assert (found[band].dy, found[band].dx) == pytest.approx((down, right), abs=0.15)
    assert found[band].off
    assert not any(found[b].off for b in found if b != band)
    with pytest.warns(UserWarning, match=f"{band} by .* px of {BANDS[band].gsd} m .* m, .*% sure"):
        warn_of_shifts(arrays)


def cut(truth, rows, cols):
    return truth[:, rows : rows + 240, cols : cols + 240]


@pytest.mark.parametrize(("down", "right"), [(1, 0), (-1, 1), (5, 5), (-9, 4), (3, -14)])
def test_10_m_grids_cut_elsewhere_than_the_others_are_found_to_the_pixel(down, right):
    """Fractions of coarse pixels, and shifts of many fine ones."""
    truth = landscape((300, 300), seed=11)
    arrays = native(cut(truth, 30, 30))
    elsewhere = native(cut(truth, 30 + down, 30 + right))
    arrays |= {band: elsewhere[band] for band in BY_GSD[10]}
    found = measured(arrays)
    for gsd in (20, 60):
        for band in BY_GSD[gsd]:
            if max(abs(down), abs(right)) * 10 >= 4 * gsd:
                continue
            at = found[band].dy * gsd / 10, found[band].dx * gsd / 10
            assert at == pytest.approx((down, right), abs=0.08 * gsd / 10)
            if np.hypot(down, right) * 10 / gsd > 0.4:
                assert found[band].confidence > 0.5
    with pytest.warns(UserWarning, match="seem to be shifted against the finest ones"):
        warn_of_shifts(arrays)


def test_a_scene_of_60_and_20_m_bands_is_judged_by_the_20_m_ones(seen):
    coarse = {b: y for b, y in seen.items() if BANDS[b].gsd > 10}
    silent(coarse)
    coarse["B09"] = np.roll(coarse["B09"], 1, axis=0)
    found = measured(coarse)
    assert (found["B09"].dy, found["B09"].dx) == pytest.approx((1, 0), abs=0.15)


@pytest.mark.parametrize("side", [6, 18, 60, 240])
def test_water_under_noise_says_nothing(side):
    water = np.full((12, side, side), 0.03, dtype=np.float32)
    silent(native(water, snr=30))
    silent(native(water, snr=np.inf))


@pytest.mark.parametrize("side", [6, 12, 24, 48, 96])
def test_a_tiny_scene_is_not_suspected(side):
    for seed in range(3):
        silent(native(landscape((side, side), seed)))


def test_half_a_scene_of_water_hides_no_shift(seen):
    arrays = {**seen, "B05": np.roll(seen["B05"], 1, axis=1)}
    flat = native(np.full((12, 300, 330), 0.03, dtype=np.float32))
    for band, y in arrays.items():
        y = arrays[band] = y.copy()
        y[: y.shape[0] // 2] = flat[band][: y.shape[0] // 2]
    found = measured(arrays)
    assert (found["B05"].dy, found["B05"].dx) == pytest.approx((0, 1), abs=0.15)
    assert found["B05"].confidence > 0.5


def test_holes_are_no_edges(seen):
    """A hole has the same outline in no two bands: what is seen must be the ground."""
    rng = np.random.default_rng(0)
    holed = {}
    for band, y in seen.items():
        y = holed[band] = y.copy()
        n = 60 // BANDS[band].gsd
        for _ in range(4):
            row, col = rng.integers(40 * n), rng.integers(45 * n)
            y[row : row + 8 * n, col : col + 8 * n] = np.nan
    silent(holed)
    mostly = {
        band: np.where(np.arange(y.shape[1]) * 10 < y.shape[1] * 9, np.nan, y)
        for band, y in seen.items()
    }
    silent(mostly)
    silent({band: np.full_like(y, np.nan) for band, y in seen.items()})


def test_one_band_or_none_has_nothing_to_lie_on(seen):
    assert shifts({}) == []
    assert shifts({"B05": seen["B05"]}) == []


def test_sharpen_warns_of_a_scene_put_together_wrongly(seen):
    arrays = {**seen, "B11": np.roll(seen["B11"], 1, axis=0)}
    scene = make_scene(arrays, NORTH, Box(90_000, 90_050, 8_000, 8_055))
    with pytest.warns(UserWarning, match="B11 by") as caught:
        sharpen(scene, "bicubic", bands=["B05", "B11"])
    assert caught[0].filename == __file__


@needs_data
@pytest.mark.parametrize("name", SCENES)
def test_the_real_scenes_lie_on_one_lattice(name):
    arrays = {band: array.values for band, array in bands_of(real_scene(name)).items()}
    silent(arrays)
    assert all(np.hypot(s.dy, s.dx) < 0.2 for s in shifts(arrays))


@needs_data
def test_the_published_iceland_arrays_are_50_and_10_m_off():
    """They begin at the last 10 m and 20 m pixel of a 60 m cell: 50 and 40 m into it."""
    published = paper("iceland_raw")
    arrays = {
        band: published[f"y{gsd}"][..., i].astype(np.float32) / 10_000
        for gsd, bands in BY_GSD.items()
        for i, band in enumerate(bands)
    }
    found = measured(arrays)
    for band in BY_GSD[60]:
        assert (found[band].dy, found[band].dx) == pytest.approx((50 / 60, 50 / 60), abs=0.08)
        assert found[band].confidence > 0.8
    for band in BY_GSD[20]:
        assert (found[band].dy, found[band].dx) == pytest.approx((0.5, 0.5), abs=0.15)
    with pytest.warns(UserWarning, match="B01, B09 by .* B05, B06, B07, B8A, B11, B12 by"):
        warn_of_shifts(arrays)
