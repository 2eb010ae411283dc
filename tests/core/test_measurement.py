"""Blur, shift and noise come back where they are known; where they do not, the uncertainty says so."""

import numpy as np
import pytest
import torch

from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.sensor.measurement import (
    Measured,
    believed,
    measure,
    measure_band,
    measured_noise,
)
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import SENTINEL2, Response, Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, noise_level, observe

from ..data import by_gsd, needs_data, real_scene, shared_data

# Kernels unlike the default, shifted: blur, edge, dy, dx.
KNOWN = ((0.30, 0.545, 0.0, 0.0), (0.36, 0.545, 0.15, -0.3), (0.50, 0.545, -0.4, 0.2))
# Of 10 m; a pixel of the band has two of them.
BLUR, SHIFT = 0.03, 0.02
# Unexplained share up to which bands agree.
AGREE = 0.02


@pytest.fixture(scope="module")
def fine():
    """10 m bands (4, y, x) of land, where there is some beside the checkout."""
    if shared_data() is None:
        return landscape((420, 420), 31)[[1, 2, 3, 7]]
    return by_gsd(real_scene("iceland"))[10][:, :480, :480]


def played(fine, hidden, response):
    """A 10 m band blurred and shifted by a known kernel, measured against the other three."""
    x = torch.from_numpy(fine)[None].double()
    others = [i for i in range(4) if i != hidden]
    sensor = Sensor(responses=(response,))
    coarse = degrade(x[:, hidden : hidden + 1], [response.band], 2, sensor)
    names = [BY_GSD[10][i] for i in others]
    return measure_band(x[:, others], names, coarse, response.band)


@pytest.mark.parametrize("hidden", range(4))
def test_a_known_kernel_comes_back_or_the_error_says_so(fine, hidden):
    """A 10 m band plays a coarse one, explained well or badly by the other three.

    Bands of a product lie some hundredths of a pixel apart to begin with: shifts count from where the band is.
    """
    start = played(fine, hidden, Response("B05", *KNOWN[0]))
    for known in KNOWN[1:]:
        found = played(fine, hidden, Response("B05", *known))
        off = 2 * abs(found.response.blur - known[0])
        moved = 2 * max(
            abs(getattr(found.response, axis) - getattr(start.response, axis) - shift)
            for axis, shift in (("dy", known[2]), ("dx", known[3]))
        )
        assert off < 3 * 2 * found.blur_error
        assert moved < 3 * 2 * found.shift_error
        if found.unexplained < AGREE:
            assert off < BLUR
            assert moved < SHIFT


@pytest.mark.parametrize("known", KNOWN)
def test_a_kernel_of_a_band_that_follows_the_others_comes_back(fine, known):
    """A mixture of the four, which leaves nothing unexplained, moved and blurred with noise of 3 DN."""
    x = torch.from_numpy(fine)[None].double()
    mixture = (torch.tensor([0.2, 0.1, 0.3, 0.4]).double()[:, None, None] * x[0]).sum(0)
    response = Response("B05", *known)
    coarse = degrade(mixture[None, None], ["B05"], 2, Sensor(responses=(response,)))
    coarse += 3e-4 * torch.randn(
        coarse.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found = measure_band(x, BY_GSD[10], coarse, "B05")
    assert found.unexplained < AGREE
    assert 2 * abs(found.response.blur - response.blur) < BLUR
    assert 2 * abs(found.response.dy - response.dy) < SHIFT
    assert 2 * abs(found.response.dx - response.dx) < SHIFT


@pytest.fixture(scope="module")
def land():
    return landscape((480, 480), 12)


def seen(land, sensor, noise=3e-4):
    names, random = list(BANDS), np.random.default_rng(3)
    out = {}
    for gsd in GSDS:
        y = torch.from_numpy(land[[names.index(b) for b in BY_GSD[gsd]]])[None]
        y = degrade(y, BY_GSD[gsd], gsd // 10, sensor) if gsd > 10 else y
        out[gsd] = (y[0].numpy() + noise * random.standard_normal(y.shape[1:])).astype(np.float32)
    return Sample.of(out)


def test_each_band_of_a_product_is_measured_apart(land):
    sensor = Sensor(
        responses=(
            Response("B05", 0.45, 0.545, 0.2, 0.0),
            Response("B07", 0.35, 0.545, 0.0, -0.3),
            Response("B11", 0.53, 0.545, 0.1, 0.1),
        )
    )
    found = measure(seen(land, sensor))
    for band in BY_GSD[20]:
        one, known = found[band], sensor.response(band)
        assert abs(one.response.blur - known.blur) < 3 * one.blur_error
        assert abs(one.response.dy - known.dy) < 3 * one.shift_error
        assert abs(one.response.dx - known.dx) < 3 * one.shift_error
        assert one.shift_error < 0.1
    assert found["B05"].response.blur > found["B06"].response.blur + 0.03


def test_what_the_fine_bands_do_not_explain_is_told_less_surely(land):
    random = np.random.default_rng(5)
    sample = seen(land, SENTINEL2)
    own = torch.from_numpy(0.02 * random.standard_normal(sample.y20.shape)).float()
    clear, hidden = (
        measure_band(sample.y10, BY_GSD[10], y20[:, :1], "B05")
        for y20 in (sample.y20, sample.y20 + own)
    )
    assert hidden.unexplained > 2 * clear.unexplained
    assert hidden.blur_error > 1.5 * clear.blur_error
    assert hidden.shift_error > 1.5 * clear.shift_error


def test_of_flat_land_and_of_too_little_nothing_is_told():
    flat = {g: np.full((len(BY_GSD[g]), 24 * 60 // g, 24 * 60 // g), 0.2, np.float32) for g in GSDS}
    assert measure(Sample.of(flat)) == {}
    # Coarse pixels beside the rim make fewer than four tiles of the smaller size.
    small = observe(landscape((48, 48), 3))
    assert measure(Sample.of(small)) == {}


# --- noise


def flat_and_smooth(side=240):
    at = np.linspace(0, np.pi, side)
    swell = 0.2 + 0.1 * np.sin(at)[:, None] * np.cos(2 * at)[None]
    return {"flat": np.full((side, side), 0.2), "smooth": swell}


@pytest.mark.parametrize("level", [2e-4, 1e-3, 5e-3])
@pytest.mark.parametrize("kind", ["flat", "smooth"])
def test_white_noise_on_quiet_land_comes_back(kind, level):
    random, picture = np.random.default_rng(8), flat_and_smooth()[kind]
    inputs = {}
    for g in GSDS:
        base = picture[:: g // 10, :: g // 10][: 240 * 10 // g, : 240 * 10 // g]
        shape = (len(BY_GSD[g]), *base.shape)
        inputs[g] = (base + level * random.standard_normal(shape)).astype(np.float32)
    found = measured_noise(Sample.of(inputs))
    for band in (*BY_GSD[10], *BY_GSD[20]):
        assert found[band] == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize("seed", [31, 12])
def test_on_land_noise_is_never_taken_for_less_than_it_is(seed):
    truth = landscape((480, 480), seed)
    inputs = observe(truth, seed=seed)
    found = measured_noise(Sample.of(inputs))
    for g in (10, 20):
        for band, y in zip(BY_GSD[g], inputs[g], strict=True):
            # Noise grows with brightness: that of the darkest tenth is the least there is.
            least = float(noise_level(band, np.quantile(y, 0.1)))
            assert found[band] > 0.9 * max(least, 1e-4), band


# --- belief


def one(blur=0.4, dy=0.3, error=1.0):
    return Measured(Response("B05", blur, 0.5, dy, -dy), error, error, error, 0.1, 20)


def test_a_measurement_that_says_nothing_changes_nothing():
    sensor = believed({"B05": one(error=100.0)}, {})
    known, found = SENTINEL2.response("B05"), sensor.response("B05")
    assert found.blur == pytest.approx(known.blur, abs=1e-3)
    assert found.edge == pytest.approx(known.edge, abs=1e-3)
    assert (found.dy, found.dx) == pytest.approx((0, 0), abs=1e-3)
    assert believed({}, {}) == SENTINEL2


def test_a_sharp_measurement_is_taken():
    sensor = believed({"B05": one(error=1e-4)}, {"B05": 1e-3})
    found = sensor.response("B05")
    assert (found.blur, found.edge) == pytest.approx((0.4, 0.5), abs=1e-3)
    assert (found.dy, found.dx) == pytest.approx((0.3, -0.3), abs=1e-3)
    assert sensor.noise == (("B05", 1e-3),)
    assert sensor.response("B06") == Response.default("B06")


def test_between_them_it_moves_with_its_certainty():
    known = SENTINEL2.response("B05").blur
    moved = [believed({"B05": one(error=e)}, {}).response("B05").blur for e in (0.01, 0.05, 0.2)]
    assert moved == sorted(moved, reverse=True)
    assert all(known < blur < 0.4 for blur in moved)


@needs_data
@pytest.mark.parametrize("name", ["iceland", "australia"])
def test_products_show_the_default_kernel_in_the_red_edge(name):
    given = Sample.of(by_gsd(real_scene(name)))
    for band in ("B05", "B06", "B07", "B8A"):
        i = BY_GSD[20].index(band)
        one = measure_band(given.y10, BY_GSD[10], given.y20[:, i : i + 1], band)
        known = Response.default(band)
        assert one.response.blur == pytest.approx(known.blur, abs=0.035)
        assert max(abs(one.response.dy), abs(one.response.dx)) < 0.03
        # The table's Gaussian is blurred far more.
        assert one.response.blur < 0.42
