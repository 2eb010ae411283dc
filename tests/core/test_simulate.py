"""Landscapes: spectra, shapes and noise like the Earth's, and the same again from the same seed."""

import numpy as np
import pytest
from scipy import ndimage

from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.landscapes.covers import covers
from s2sharp_core.landscapes.land_types import COUNTRIES
from s2sharp_core.landscapes.shapes import edge, fractal, line, parcels
from s2sharp_core.sensor.simulate import landscape, noise_level, observe

NAMES = list(BANDS)
SEEDS = range(6)


@pytest.fixture(scope="module")
def lands():
    return [landscape((144, 144), seed) for seed in SEEDS]


def details(land, band):
    picture = land[NAMES.index(band)]
    return (picture - ndimage.gaussian_filter(picture, 3))[8:-8, 8:-8].ravel()


def together(lands, first, second):
    """Median correlation of the details of two bands."""
    return np.median([np.corrcoef(details(x, first), details(x, second))[0, 1] for x in lands])


def test_the_same_seed_and_shape_give_the_same_land_and_others_another(lands):
    assert (landscape((144, 144), 2) == lands[2]).all()
    assert not np.allclose(lands[2], lands[3])


@pytest.mark.parametrize("shape", [(6, 6), (12, 90), (60, 42)])
def test_land_of_any_size_has_twelve_bands_of_reflectance(shape):
    for seed in range(20):
        land = landscape(shape, seed)
        assert (land.dtype, land.shape) == (np.float32, (12, *shape))
        assert np.isfinite(land).all()
        assert land.min() > 0
        assert land.max() < 2


def test_every_kind_of_country_is_drawn_as_often_as_it_says():
    assert sum(country.often for country in COUNTRIES.values()) == pytest.approx(1)


def test_details_of_neighbouring_bands_go_together_as_on_real_scenes(lands):
    """Medians of four Level-1C scenes and six Level-2A chips: .94, .98, .98, .93; red and infrared do not."""
    assert together(lands, "B02", "B04") > 0.75
    assert together(lands, "B08", "B8A") > 0.95
    assert together(lands, "B07", "B8A") > 0.95
    assert together(lands, "B11", "B12") > 0.85
    assert abs(together(lands, "B04", "B08")) < 0.6


def test_no_coarse_band_is_a_function_of_the_fine_ones(lands):
    """Unexplained by the 10 m bands on the real scenes: .03 of B8A's details, .17 of B11's, .10 of B12's."""
    for band, least, most in (("B8A", 0.005, 0.1), ("B11", 0.05, 0.6), ("B12", 0.05, 0.6)):
        left = []
        for land in lands:
            known = np.stack([details(land, b) for b in BY_GSD[10]], axis=1)
            wanted = details(land, band)
            slopes = np.linalg.lstsq(known, wanted, rcond=None)[0]
            left.append(np.var(wanted - known @ slopes) / np.var(wanted))
        assert least < np.median(left) < most, band


def test_power_falls_with_frequency_as_it_does_on_real_scenes(lands):
    """Medians of the real scenes: f^-2.6 in red and f^-2.8 in infrared, between 0.05 and 0.25 cycles per pixel."""
    window = np.outer(np.hanning(144), np.hanning(144))
    f = np.hypot(np.fft.fftfreq(144)[:, None], np.fft.fftfreq(144))
    rings = [(f > a) & (f < 1.3 * a) for a in np.geomspace(0.05, 0.2, 6)]
    for band in ("B04", "B08"):
        slopes = []
        for land in lands:
            picture = land[NAMES.index(band)]
            power = np.abs(np.fft.fft2((picture - picture.mean()) * window)) ** 2
            levels = np.log([power[ring].mean() for ring in rings])
            slopes.append(-np.polyfit(np.log([f[ring].mean() for ring in rings]), levels, 1)[0])
        assert 2 < np.median(slopes) < 3.8, band


def test_covers_have_the_spectra_that_they_are_known_by():
    rng = np.random.default_rng(0)
    median = {
        k: dict(zip(NAMES, np.median(c.draw(500, rng), 0), strict=True))
        for k, c in covers().items()
    }
    leaves, soil, snow = median["canopy"], median["soil"], median["snow"]
    assert leaves["B8A"] > 8 * leaves["B04"]
    assert leaves["B03"] > leaves["B04"]
    assert soil["B02"] < soil["B03"] < soil["B04"] < soil["B8A"] < soil["B11"]
    assert snow["B03"] > 5 * snow["B11"]
    assert max(median["water"].values()) < 0.06
    assert median["tile"]["B04"] > 2 * median["tile"]["B03"]


def test_objects_that_are_alike_differ_less_than_those_of_the_world():
    def spread(alike):
        spectra = np.log(covers()["soil"].draw(400, np.random.default_rng(1), alike))
        return spectra.std(axis=0).mean()

    assert spread(1.0) < 1e-5
    assert spread(0.9) < 0.5 * spread(0.0)


def test_parcels_leave_no_place_out_and_painting_keeps_their_values():
    fields = parcels((60, 80), 10, np.random.default_rng(2))
    assert set(np.unique(fields.field)) == set(range(fields.count))
    values = np.arange(fields.count, dtype=np.float32)
    picture = fields.paint(values)
    inside = fields.borders(fields.field, 1.0) == 0
    own = fields.field[::2, ::2]
    assert inside.mean() > 0.3
    assert (picture[inside] == values[own[inside]]).all()
    assert 5 < np.sqrt(60 * 80 / fields.count) < 20
    assert fields.mean(picture) == pytest.approx(values, abs=1.5 + 0.2 * fields.count)


def test_lines_and_edges_lie_where_their_field_is_zero():
    ramp = np.tile(np.arange(40, dtype=np.float32) - 20.25, (30, 1))
    assert line(ramp, 0.5).sum(axis=1) == pytest.approx(0.5, abs=0.1)
    assert edge(ramp)[:, :19].max() == 0
    assert edge(ramp)[:, 23:].min() == 1


def test_a_surface_is_as_rough_as_asked_and_not_periodic():
    rng = np.random.default_rng(3)
    smooth, rough = (fractal((64, 64), slope, rng) for slope in (4.0, 1.0))
    assert np.abs(np.diff(smooth, axis=1)).mean() < 0.3 * np.abs(np.diff(rough, axis=1)).mean()
    across = np.abs(smooth[:, 0] - smooth[:, -1]).mean()
    assert across > 3 * np.abs(np.diff(smooth, axis=1)).mean()


@pytest.mark.parametrize("snr", [50.0, 200.0])
def test_noise_of_each_band_is_the_instruments(snr):
    truth = np.tile(np.linspace(0.05, 0.5, 12, dtype=np.float32)[:, None, None], (1, 240, 240))
    seen, clean = observe(truth, snr), observe(truth, np.inf)
    for gsd in GSDS:
        for i, band in enumerate(BY_GSD[gsd]):
            noise = (seen[gsd][i] - clean[gsd][i]).std()
            there = truth[NAMES.index(band), 0, 0]
            assert noise == pytest.approx(noise_level(band, there, snr), rel=0.1), band


def test_bright_land_is_noisier_and_less_so_than_in_proportion():
    dark, bright = noise_level("B8A", np.array([0.05, 0.5]))
    assert dark < bright < 3 * dark
    # About 46 dB under a typical signal.
    assert 0.3 / noise_level("B8A", np.array(0.3)) == pytest.approx(240, rel=0.15)
