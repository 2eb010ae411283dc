"""Slopes are those of least squares, and believed as far as chance would not have explained as much."""

import numpy as np
import pytest
import torch

from s2sharp_core.networks.planes import smooth
from s2sharp_core.networks.regression import (
    Moments,
    believed_slopes,
    moments,
    refined_slopes,
    solve_slopes,
    split,
)

BOX = torch.full((7,), 1 / 7, dtype=torch.float64)
SAMPLES = 49.0


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def around(p, y, window=BOX, fine=None):
    """Local moments of details p (n, K, h, w) and y (n, B, h, w), of predictors without much beyond the grid."""
    fine = 1e-3 * p.square() if fine is None else fine
    return split(smooth(moments(p, y, fine), window), p.shape[1], y.shape[1])


def carried(slopes, p):
    """What slopes make of the predictors: (n, B, h, w)."""
    return (slopes * p[:, :, None]).sum(dim=1)


def refined(of, *rest):
    """Slopes alone; what is said of the energy that they explain is true."""
    slopes, explained = refined_slopes(of, *rest)
    assert torch.allclose(explained, of.explained(slopes), atol=1e-6 * float(of.energy.max() + 1))
    return slopes


def inner(x):
    return x[..., 6:-6, 6:-6]


def test_slopes_are_those_of_weighted_least_squares():
    p, y = noise(1, 3, 9, 9, seed=1), noise(1, 2, 9, 9, seed=2)
    window = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1], dtype=torch.float64)
    found = solve_slopes(around(p, y, window), torch.zeros(1, 3, 1, 9, 9, dtype=torch.float64))
    root = np.sqrt(np.outer(window, window).ravel())[:, None]
    here = (slice(2, 7), slice(3, 8))
    a, b = (x[0][(slice(None), *here)].reshape(x.shape[1], -1).T.numpy() for x in (p, y))
    expected, *_ = np.linalg.lstsq(a * root, b * root, rcond=None)
    assert np.allclose(found[0, :, :, 4, 5], expected, atol=1e-6)


def test_a_penalty_is_that_of_ridge_regression_and_may_differ_between_bands():
    p, y = noise(1, 3, 11, 11, seed=1), noise(1, 2, 11, 11, seed=2)
    of = around(p, y)
    penalty = torch.tensor([[0.1, 2.0], [0.3, 1.0], [0.2, 4.0]], dtype=torch.float64)
    found = solve_slopes(of, penalty[None, :, :, None, None].expand(1, 3, 2, 11, 11))
    gram = of.square[0, :, :, 5, 5]
    for band in range(2):
        expected = torch.linalg.solve(
            gram + torch.diag(penalty[:, band]), of.cross[0, :, band, 5, 5]
        )
        assert torch.allclose(found[0, :, band, 5, 5], expected, atol=1e-8)


def test_moments_tell_what_slopes_explain_and_what_they_leave():
    p, y = noise(1, 4, 20, 20, seed=3), noise(1, 2, 20, 20, seed=4)
    slopes = noise(1, 4, 2, 1, 1, seed=5).expand(1, 4, 2, 20, 20)
    of, left = around(p, y), y - carried(slopes, p)
    rest = around(p, left)
    assert torch.allclose(of.energy - of.explained(slopes), rest.energy, atol=1e-12)
    told = of.without(slopes)
    assert torch.allclose(told.cross, rest.cross, atol=1e-12)
    assert torch.allclose(told.energy, rest.energy, atol=1e-12)
    assert torch.equal(of.variance, smooth(p.square(), BOX))


@pytest.mark.parametrize(("k", "least"), [(4, 0.02), (10, 0.02)])
def test_noise_alone_gives_slopes_of_next_to_nothing(k, least):
    """As many samples as a window of s2net has; least squares would explain a share of k / samples."""
    p, y = noise(1, k, 80, 80, seed=6), noise(1, 3, 80, 80, seed=7)
    of = around(p, y)
    plain = solve_slopes(of, torch.zeros(1, k, 1, 80, 80, dtype=torch.float64))
    wide = believed_slopes(of, SAMPLES, 3.0, 0.1)
    by_chance = inner(of.explained(plain)).mean() / inner(of.energy).mean()
    assert by_chance == pytest.approx(k / SAMPLES, rel=0.25)
    for slopes in (wide, refined(of, 0 * wide, SAMPLES, 2.0, 0.05, 0.01)):
        energy = inner(carried(slopes, p)).square().mean() / inner(y).square().mean()
        assert energy < least
        assert energy < 0.1 * by_chance


@pytest.mark.parametrize("level", [5e-3, 1.0, 100.0])
def test_a_real_relation_is_kept_to_a_hundredth(level):
    """Whatever the unit, as long as detail is well above rounding."""
    p = level * noise(1, 4, 60, 60, seed=8)
    rule = torch.tensor([0.5, 0.1, -0.3, 0.8], dtype=torch.float64)
    y = torch.einsum("k,nkyx->nyx", rule, p)[:, None]
    of = around(p, y, fine=p.square() * 0)
    wide = believed_slopes(of, SAMPLES, 3.0, 0.1)
    for slopes in (wide, refined(of, wide, SAMPLES, 2.0, 0.05, 0.01)):
        off = inner(carried(slopes, p) - y).square().mean().sqrt()
        assert off < 0.01 * inner(y).square().mean().sqrt()


def test_a_relation_is_believed_the_more_the_less_noise_hides_it():
    p, rest = noise(1, 4, 60, 60, seed=9), noise(1, 1, 60, 60, seed=10)
    rule = torch.tensor([0.5, 0.1, -0.3, 0.8], dtype=torch.float64)
    signal = torch.einsum("k,nkyx->nyx", rule, p)[:, None]
    kept = []
    for hidden in (0.1, 0.5, 1.0, 3.0):
        slopes = believed_slopes(around(p, signal + hidden * rest), SAMPLES, 3.0, 0.1)
        kept.append(
            float((inner(carried(slopes, p)) * inner(signal)).sum() / inner(signal).square().sum())
        )
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > 0.97
    assert kept[-1] < 0.5


def test_half_the_area_by_one_rule_and_half_by_another_is_found():
    """No global regression could."""
    p = noise(1, 4, 90, 90, seed=11)
    rule = torch.tensor([[0.5, 0.1, -0.3, 0.8], [-1.0, 0.2, 0.4, 0.3]], dtype=torch.float64)
    left = torch.arange(90) < 45
    first, second = (torch.einsum("k,nkyx->nyx", r, p) for r in rule)
    y = torch.where(left, first, second)[:, None]
    of = around(p, y)
    slopes = refined(of, torch.zeros_like(of.cross[:, :, :1]), SAMPLES, 2.0, 1e-3, 0.01)
    off = (carried(slopes, p) - y).abs()
    clear = [*range(8, 45 - 8), *range(45 + 8, 90 - 8)]
    assert off[..., 8:-8, :][..., clear].mean() < 0.03 * y.abs().mean()


def test_a_narrow_neighbourhood_changes_wide_slopes_only_where_it_shows_more():
    p = noise(1, 4, 60, 60, seed=12)
    rule = torch.tensor([0.5, 0.1, -0.3, 0.8], dtype=torch.float64)[None, :, None, None, None]
    wide = rule.expand(1, 4, 1, 60, 60)
    noisy = carried(wide, p) + 0.3 * noise(1, 1, 60, 60, seed=13)
    same = refined(around(p, noisy), wide, SAMPLES, 2.0, 0.05, 0.01)
    assert inner(same - wide).abs().mean() < 0.01
    other = refined(around(p, carried(-wide, p)), wide, SAMPLES, 2.0, 0.05, 0.01)
    assert inner(other + wide).abs().mean() < 0.2


def test_much_detail_beyond_the_grid_needs_more_evidence():
    """As stripes in the 10 m bands have it, of which a coarse band shows nothing."""
    p = noise(1, 2, 40, 40, seed=14)
    y = p[:, :1] + 2 * noise(1, 1, 40, 40, seed=15)
    little, much = (
        believed_slopes(around(p, y, fine=f * torch.ones_like(p)), SAMPLES, 3.0, 0.1)
        for f in (0.01, 100.0)
    )
    assert inner(little[:, 0]).mean() > 0.5
    assert inner(much[:, 0]).abs().mean() < 0.5 * inner(little[:, 0]).mean()


def test_flat_land_gives_finite_slopes_of_nothing():
    flat = torch.zeros(1, 4, 20, 20)
    of = around(flat, flat[:, :2], BOX.float())
    assert isinstance(of, Moments)
    slopes = believed_slopes(of, SAMPLES, 3.0, 0.1)
    assert torch.equal(slopes, torch.zeros_like(slopes))
    changed = refined(of, slopes, 16.0, 2.0, 0.05, 0.01)
    assert torch.equal(changed, torch.zeros_like(changed))
