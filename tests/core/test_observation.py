import math

import pytest
import torch

from s2sharp_core.bands import BANDS, BY_GSD, ratio
from s2sharp_core.observation import (
    Sensor,
    _normal,
    _phases,
    adjoint,
    degrade,
    pseudo_inverse,
    psf,
    reach,
    sigma,
    solve,
    upsample,
)

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


@pytest.mark.parametrize(("band", "r"), ALL)
def test_a_kernel_keeps_all_light_and_looks_straight_down(band, r):
    k = psf(band, r)
    assert k.sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(k, k.flip(0))
    assert (k.numel() - r) % 2 == 0
    lost = math.erfc(k.numel() / 2 / sigma(BANDS[band].mtf, r) / math.sqrt(2))
    assert lost < 1e-4  # of a Gaussian's light, beyond the kernel's ends


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
    y = degrade(x, [band], r)[0, 0, 20, 10:30]
    signs = torch.tensor([1.0, -1.0]).double().repeat(10)
    assert (y * signs).mean().item() == pytest.approx(BANDS[band].mtf, rel=0.01)
    assert (y * signs).std().item() < 1e-9


@pytest.mark.parametrize(("band", "r"), ALL)
def test_degrading_keeps_things_where_they_are(band, r):
    y = degrade(ramp(20 * r, 20 * r), [band], r)
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.allclose(y[inner], coarse_ramp(20, 20, r)[inner], atol=1e-9, rtol=0)


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


@pytest.mark.parametrize("gsd", [20, 60])
def test_the_adjoint_is_the_transpose(gsd):
    bands, r = BY_GSD[gsd], ratio(gsd)
    random = torch.Generator().manual_seed(gsd)
    x = torch.randn(2, len(bands), 12 * r, 10 * r, dtype=torch.float64, generator=random)
    # Zero outside: nothing at the edges, where degrade continues the picture and the adjoint does not.
    rim = (max(psf(b, r).numel() for b in bands) - r) // 2
    x[..., :rim, :] = x[..., -rim:, :] = 0
    x[..., :rim] = x[..., -rim:] = 0
    y = torch.randn(2, len(bands), 12, 10, dtype=torch.float64, generator=random)
    left = (degrade(x, bands, r) * y).sum().item()
    right = (x * adjoint(y, bands, r)).sum().item()
    assert adjoint(y, bands, r).shape == x.shape
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", RATIOS)
def test_interpolation_leaves_a_plane_a_plane_where_it_was(r, kind):
    up = upsample(coarse_ramp(12, 14, r), r, kind)
    inner = (..., slice(2 * r, -2 * r), slice(2 * r, -2 * r))
    assert torch.allclose(up[inner], ramp(12 * r, 14 * r)[inner], atol=1e-12, rtol=0)


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


@pytest.mark.parametrize("sensor", SENSORS[:2])
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
