import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from s2sharp_core.bands import BANDS, BY_GSD, ratio
from s2sharp_core.sensor.observation import (
    _normal,
    adjoint,
    degrade,
    degrade_alike,
    pseudo_inverse,
    psf,
    solve,
)
from s2sharp_core.sensor.response import (
    LARGEST_SHIFT,
    MTF_TABLE,
    SENTINEL2,
    Response,
    Sensor,
    sigma,
)
from s2sharp_core.sensor.upsampling import _phases, reach, upsample

COARSE = [(band, ratio(gsd)) for gsd in (20, 60) for band in BY_GSD[gsd]]
ALL = [*COARSE, ("B02", 2), ("B02", 6), ("B12", 3)]
RATIOS = [2, 3, 6]
KINDS = ["linear", "cubic"]


def ramp(h, w, down=0.3, right=-0.7):
    """A tilted plane whose value at a point is down·y + right·x + 5, in fine pixels from the corner."""
    y, x = torch.arange(h).double() + 0.5, torch.arange(w).double() + 0.5
    return (down * y[:, None] + right * x[None, :] + 5)[None, None]


def coarse_ramp(h, w, r, down=0.3, right=-0.7):
    y, x = r * (torch.arange(h).double() + 0.5), r * (torch.arange(w).double() + 0.5)
    return (down * y[:, None] + right * x[None, :] + 5)[None, None]


def off_by(shift):
    """The satellite with every coarse band off by up to ``shift``, each by another way."""
    ways = [(1, 0.3), (-0.4, 1), (-1, -1), (0.1, -0.6), (0, 1), (1, 1), (-1, 0.2), (0.5, -1)]
    coarse = [band for band, _ in COARSE]
    return Sensor(
        responses=tuple(
            Response(band, BANDS[band].blur, BANDS[band].edge, shift * dy, shift * dx)
            for band, (dy, dx) in zip(coarse, ways, strict=True)
        )
    )


def passed(kernel, f):
    """What a kernel leaves of waves of ``f`` cycles per fine pixel."""
    at = torch.arange(kernel.numel()).double() - (kernel.numel() - 1) / 2
    return float((kernel * torch.cos(2 * math.pi * f * at)).sum())


@pytest.mark.parametrize(("band", "r"), ALL)
def test_many_images_of_one_band_are_degraded_as_each_of_them(band, r):
    response = replace(SENTINEL2.response(band), dy=0.3, dx=-0.7)
    sensor = replace(SENTINEL2, responses=(response,))
    x = torch.rand(2, 3, 8 * r, 5 * r, dtype=torch.float64)
    each = torch.cat([degrade(x[:, i : i + 1], [band], r, sensor) for i in range(3)], dim=1)
    torch.testing.assert_close(degrade_alike(x, band, r, sensor), each, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sensor", [SENTINEL2, MTF_TABLE], ids=["measured", "table"])
@pytest.mark.parametrize(("band", "r"), ALL)
def test_a_kernel_keeps_all_light_and_looks_straight_down(band, r, sensor):
    k = psf(band, r, sensor)
    assert k.sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(k, k.flip(0))
    assert (k.numel() - r) % 2 == 0


@pytest.mark.parametrize(("band", "r"), ALL)
def test_the_papers_gaussian_is_wide_enough_to_lose_nothing(band, r):
    k = psf(band, r, MTF_TABLE)
    lost = math.erfc(k.numel() / 2 / sigma(BANDS[band].mtf, r) / math.sqrt(2))
    assert lost < 1e-4  # of a Gaussian's light, beyond the kernel's ends


@pytest.mark.parametrize(("band", "r"), ALL)
def test_a_measured_kernel_passes_what_its_response_says(band, r):
    one, k = Response.default(band), psf(band, r)
    for f in (0.1, 0.2, 0.3, 0.4, 0.5):  # cycles per coarse pixel
        told = math.exp(-2 * (math.pi * one.blur * f) ** 2 - (f / one.edge) ** 6)
        assert passed(k, f / r) == pytest.approx(told, abs=0.025)


@pytest.mark.parametrize(
    ("bands", "measured"),
    [
        (("B05", "B06", "B07", "B8A"), (0.97, 0.90, 0.79, 0.59, 0.31)),
        (("B11",), (0.94, 0.79, 0.57, 0.33, 0.14)),
        (("B12",), (0.95, 0.81, 0.60, 0.36, 0.16)),
    ],
)
def test_the_default_kernels_are_those_that_a_free_kernel_showed_on_products(bands, measured):
    """Regressions behind ten free taps, made apart from this code; cycles per 10 m pixel."""
    for f, expected in zip((0.05, 0.10, 0.15, 0.20, 0.25), measured, strict=True):
        mean = sum(passed(psf(band, 2), f) for band in bands) / len(bands)
        assert mean == pytest.approx(expected, abs=0.04)


def test_the_papers_gaussian_blurs_the_red_edges_middle_frequencies_a_tenth_more():
    for band in ("B05", "B06", "B07", "B8A"):
        assert passed(psf(band, 2), 0.15) - passed(psf(band, 2, MTF_TABLE), 0.15) > 0.05


def test_60_m_kernels_are_wide():
    assert all(psf(band, 6).numel() >= 21 for band in BY_GSD[60])


@pytest.mark.parametrize(("band", "r"), ALL)
def test_sigma_is_the_one_of_the_published_formula(band, r):
    mtf = BANDS[band].mtf
    assert math.exp(-2 * (math.pi * sigma(mtf, r) / (2 * r)) ** 2) == pytest.approx(mtf, abs=1e-12)


@pytest.mark.parametrize(("band", "r"), ALL)
def test_a_wave_at_the_coarse_nyquist_frequency_is_weakened_to_the_mtf(band, r):
    at = torch.arange(40 * r).double() - (r - 1) / 2  # from the centre of the first coarse pixel
    wave = torch.cos(math.pi * at / r)
    x = wave.expand(40 * r, -1)[None, None]
    y = degrade(x, [band], r, MTF_TABLE)[0, 0, 20, 10:30]
    signs = torch.tensor([1.0, -1.0]).double().repeat(10)
    assert (y * signs).mean().item() == pytest.approx(BANDS[band].mtf, rel=0.01)
    assert (y * signs).std().item() < 1e-9


@pytest.mark.parametrize(("band", "r"), ALL)
def test_degrading_keeps_things_where_they_are(band, r):
    y = degrade(ramp(20 * r, 20 * r), [band], r)
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.allclose(y[inner], coarse_ramp(20, 20, r)[inner], atol=1e-9, rtol=0)


@pytest.mark.parametrize(("band", "r"), COARSE)
def test_a_band_that_is_off_shows_things_below_and_right_by_its_shift(band, r):
    sensor = off_by(0.9)
    one = sensor.response(band)
    y = degrade(ramp(24 * r, 24 * r), [band], r, sensor)
    moved = 0.3 * r * one.dy - 0.7 * r * one.dx
    inner = (..., slice(6, -6), slice(6, -6))
    expected = (coarse_ramp(24, 24, r) - moved)[inner]
    assert torch.allclose(y[inner], expected, atol=2e-3 * r, rtol=0)


@pytest.mark.parametrize("r", RATIOS)
def test_a_kernel_of_a_band_that_is_off_is_the_one_in_place_moved(r):
    sensor = Sensor(responses=(Response("B05", 0.37, 0.545, 0.8, -0.6),))
    assert torch.equal(psf("B05", r, sensor), psf("B05", r))
    for axis, shift in ((0, 0.8), (1, -0.6)):
        k = psf("B05", r, sensor, axis)
        at = torch.arange(k.numel()).double() - (k.numel() - 1) / 2
        # Showing a thing below means to look above.
        assert float((k * at).sum()) == pytest.approx(-r * shift, abs=0.01 * r)
        for f in (0.1, 0.25, 0.4):
            real, imaginary = (
                float((k * wave(2 * math.pi * f / r * at)).sum()) for wave in (torch.cos, torch.sin)
            )
            assert math.hypot(real, imaginary) == pytest.approx(
                passed(psf("B05", r), f / r), abs=0.01
            )


@pytest.mark.parametrize("r", RATIOS)
def test_light_from_the_middle_of_a_coarse_pixel_spreads_evenly(r):
    x = torch.zeros(1, 1, 9 * r, 9 * r).double()
    middle = slice(4 * r + (r - 1) // 2, 4 * r + r // 2 + 1)
    x[..., middle, middle] = 1
    y = degrade(x, ["B05"], r)
    assert torch.allclose(y, y.flip(-1), atol=1e-12)
    assert torch.allclose(y, y.flip(-2), atol=1e-12)
    assert y.argmax() == 4 * 9 + 4


def test_each_band_is_seen_with_its_own_blur():
    x = torch.rand(2, 6, 24, 24, generator=torch.Generator().manual_seed(0)).double()
    together = degrade(x, BY_GSD[20], 2)
    for i, band in enumerate(BY_GSD[20]):
        alone = degrade(x[:, i : i + 1], [band], 2)
        assert torch.allclose(together[:, i : i + 1], alone, atol=1e-12)


@pytest.mark.parametrize("sensor", [SENTINEL2, off_by(LARGEST_SHIFT)], ids=["in place", "off"])
@pytest.mark.parametrize("gsd", [20, 60])
def test_the_adjoint_is_the_transpose(gsd, sensor):
    bands, r = BY_GSD[gsd], ratio(gsd)
    random = torch.Generator().manual_seed(gsd)
    x = torch.randn(2, len(bands), 12 * r, 12 * r, dtype=torch.float64, generator=random)
    # Zero outside: nothing at the edges, where degrade continues the picture and the adjoint does not.
    rim = (max(psf(b, r, sensor, axis).numel() for b in bands for axis in (0, 1)) - r) // 2
    x[..., :rim, :] = x[..., -rim:, :] = 0
    x[..., :rim] = x[..., -rim:] = 0
    y = torch.randn(2, len(bands), 12, 12, dtype=torch.float64, generator=random)
    left = (degrade(x, bands, r, sensor) * y).sum().item()
    right = (x * adjoint(y, bands, r, sensor)).sum().item()
    assert adjoint(y, bands, r, sensor).shape == x.shape
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", RATIOS)
def test_interpolation_leaves_a_plane_a_plane_where_it_was(r, kind):
    up = upsample(coarse_ramp(12, 14, r), r, kind)
    inner = (..., slice(2 * r, -2 * r), slice(2 * r, -2 * r))
    assert torch.allclose(up[inner], ramp(12 * r, 14 * r)[inner], atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", [1, *RATIOS])
@pytest.mark.parametrize("shift", [0.4, LARGEST_SHIFT])
def test_interpolation_takes_each_channels_shift_out(r, kind, shift):
    """Planes that are shown too far below and right by so many of their own pixels."""
    shifts = ((shift, -0.7 * shift), (0.0, 0.0), (-shift, shift))
    shown = [coarse_ramp(14, 16, r) - r * (0.3 * dy - 0.7 * dx) for dy, dx in shifts]
    up = upsample(torch.cat(shown, dim=1), r, kind, shifts)
    inner = (..., slice(4 * r, -4 * r), slice(4 * r, -4 * r))
    expected = ramp(14 * r, 16 * r).expand(1, 3, -1, -1)[inner]
    assert torch.allclose(up[inner], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", RATIOS)
def test_interpolation_keeps_a_constant_up_to_the_edge(r, kind):
    up = upsample(torch.full((1, 2, 5, 7), 0.3).double(), r, kind)
    assert up.shape == (1, 2, 5 * r, 7 * r)
    assert torch.allclose(up, torch.full_like(up, 0.3), atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", RATIOS)
def test_interpolation_does_not_know_where_in_the_array_it_is(r, kind):
    y = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    whole = upsample(y, r, kind)
    part = upsample(y[..., 3:13, 5:15], r, kind)
    inner = slice(2 * r, -2 * r)
    cut = whole[..., 3 * r : 13 * r, 5 * r : 15 * r]
    # But for the order of a sum, which may follow the array's width.
    assert torch.allclose(part[..., inner, inner], cut[..., inner, inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radius", [0, 1, 4, 14])
@pytest.mark.parametrize("r", [2, 6])
def test_reach_names_exactly_the_coarse_pixels_that_matter(r, kind, radius):
    n, cells = 6 // r, 11
    y = torch.rand(1, 1, cells * n, n, generator=torch.Generator().manual_seed(2)).double()
    y.requires_grad_()
    up = upsample(y, r, kind)[0, 0, :, 0]
    up[6 * 5 - radius : 6 * 6 + radius].abs().sum().backward()
    rows = y.grad.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
    before, after = reach(radius, r, kind)
    assert (5 * n - rows.min().item(), rows.max().item() - (6 * n - 1)) == (before, after)


SENSORS = [
    Sensor(edge="circular"),
    Sensor(centre="corner", taps=15, edge="circular"),
    Sensor(centre="corner", taps=7, edge="circular"),
    Sensor(blur="dsen2", edge="circular"),
    replace(MTF_TABLE, edge="circular"),
    replace(off_by(LARGEST_SHIFT), edge="circular"),
]


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("gsd", [20, 60])
def test_on_a_circle_the_adjoint_is_the_transpose(sensor, gsd):
    bands, d = BY_GSD[gsd], ratio(gsd)
    x = torch.randn(1, len(bands), 48, 60, dtype=torch.float64)
    y = torch.randn(1, len(bands), 48 // d, 60 // d, dtype=torch.float64)
    seen = (degrade(x, bands, d, sensor) * y).sum()
    back = (x * adjoint(y, bands, d, sensor)).sum()
    torch.testing.assert_close(seen, back)


@pytest.mark.parametrize("sensor", [*SENSORS[:2], *SENSORS[-2:]])
@pytest.mark.parametrize("gsd", [20, 60])
@pytest.mark.parametrize("rho", [0.0, 1e-2])
def test_the_closed_form_inverts_blur_and_decimation(sensor, gsd, rho):
    bands, d = BY_GSD[gsd], ratio(gsd)
    y = torch.randn(1, len(bands), 48 // d, 60 // d, dtype=torch.float64)
    x = solve(y, bands, d, rho, sensor)
    again = degrade(adjoint(x, bands, d, sensor), bands, d, sensor) + rho * x
    torch.testing.assert_close(again, y)


def test_back_projection_explains_the_observation():
    sensor = SENSORS[0]
    y = torch.rand(1, 6, 20, 20, dtype=torch.float64)
    x = pseudo_inverse(y, BY_GSD[20], 2, 0.0, sensor)
    torch.testing.assert_close(degrade(x, BY_GSD[20], 2, sensor), y)
    torch.testing.assert_close(pseudo_inverse(y, BY_GSD[20], 1, 0.25), y / 1.25)


def test_a_corner_is_half_a_coarse_pixel_off():
    """The habit of `x[::d]` after an odd kernel: what is seen lies (d - 1)/2 fine pixels up and left."""
    for gsd in (20, 60):
        d = ratio(gsd)
        ramp = torch.arange(120.0, dtype=torch.float64).expand(1, 1, 120, 120)
        cell, corner = (
            degrade(ramp, BY_GSD[gsd][:1], d, Sensor(centre=c))[..., 60 // d, 60 // d]
            for c in ("cell", "corner")
        )
        assert float(cell - corner) == pytest.approx((d - 1) / 2)


def test_the_blur_of_dsen2_is_a_block_mean_after_a_narrow_gaussian():
    k = psf("B11", 2, Sensor(blur="dsen2"))
    at = torch.arange(-20, 21, dtype=torch.float64)
    gauss = torch.exp(-0.5 * (at / 0.5) ** 2)
    both = torch.nn.functional.conv1d(gauss[None, None], torch.ones(1, 1, 2).double(), padding=1)
    both = both[0, 0] / both.sum()
    middle = both.numel() // 2
    torch.testing.assert_close(
        k, both[middle - k.numel() // 2 : middle + k.numel() // 2], atol=1e-3, rtol=0
    )


def test_a_sensor_comes_back_from_json():
    sensor = replace(off_by(0.123456789), noise=(("B02", 3e-4), ("B11", 1.5e-3)))
    for one in (SENTINEL2, MTF_TABLE, sensor, *SENSORS):
        back = Sensor.of(json.loads(json.dumps(asdict(one))))
        assert back == one
        assert hash(back) == hash(one)


def test_a_band_that_nobody_measured_has_the_response_and_the_noise_that_are_known():
    measured = Response("B05", 0.3, 0.5, 0.2, 0.1)
    sensor = Sensor(responses=(measured,), noise=(("B05", 2e-3),))
    assert sensor.response("B05") == measured
    assert sensor.response("B06") == Response.default("B06")
    assert sensor.shifts(("B06", "B05")) == ((0.0, 0.0), (0.2, 0.1))
    known, usual = sensor.noise_of(("B05", "B06"))
    assert known == 2e-3
    assert 1e-4 < usual < 2e-3


def test_tables_first_made_in_inference_serve_a_fit_afterwards():
    bands = BY_GSD[20]
    for table in (psf, _phases, _normal):
        table.cache_clear()
    x = torch.rand(1, 6, 12, 12, dtype=torch.float64, requires_grad=True)

    def seen(x):
        return upsample(pseudo_inverse(degrade(x, bands, 2), bands, 2), 2)

    with torch.inference_mode():
        seen(x)
    seen(x).sum().backward()
    assert x.grad.abs().sum() > 0
