import pickle

import numpy as np
import pytest
import torch

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.metrics import sre
from s2sharp_core.networks import ResidualNet, S2Net
from s2sharp_core.observation import degrade, upsample
from s2sharp_core.regression import local_slopes, smooth
from s2sharp_core.simulate import landscape, observe
from s2sharp_core.supervised import SIZES

COARSE = [list(BANDS).index(band) for gsd in (20, 60) for band in BY_GSD[gsd]]


def net_of(features=8, blocks=1, seed=3):
    """All weights random, the last layer's too: nothing cancels."""
    torch.manual_seed(seed)
    net = S2Net(features, blocks).double().eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.15)
    return net


def scene(cells, seed=5):
    """A landscape: inputs by GSD, float64 with a first axis, and the coarse bands' truth."""
    truth = landscape((6 * cells, 6 * cells), seed)
    seen = observe(truth, seed=seed)
    inputs = {g: torch.from_numpy(seen[g])[None].double() for g in GSDS}
    return inputs, truth[COARSE]


def mean_sre(x, truth, rim=6):
    inner = (slice(None), slice(rim, -rim), slice(rim, -rim))
    return sre(x[0].numpy()[inner], truth[inner])


def test_slopes_are_those_of_weighted_least_squares():
    random = np.random.default_rng(1)
    p, y = random.standard_normal((1, 3, 9, 9)), random.standard_normal((1, 2, 9, 9))
    window = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1], dtype=torch.float64)
    found = local_slopes(torch.from_numpy(p), torch.from_numpy(y), window, 1e-9)
    weights = np.outer(window, window).ravel()
    around = (slice(2, 7), slice(3, 8))
    a = p[0][(slice(None), *around)].reshape(3, -1).T
    b = y[0][(slice(None), *around)].reshape(2, -1).T
    root = np.sqrt(weights)[:, None]
    expected, *_ = np.linalg.lstsq(a * root, b * root, rcond=None)
    assert np.allclose(found[0, :, :, 4, 5], expected, atol=1e-6)


def test_what_depends_linearly_on_the_fine_bands_is_found_whatever_it_is():
    """Half of the area by one rule, half by another: no global regression could."""
    inputs, _ = scene(16)
    p = inputs[10] - smooth(inputs[10], torch.tensor([0.25, 0.5, 0.25]))
    rule = torch.tensor([[0.5, 0.1, -0.3, 0.8], [-1.0, 0.2, 0.4, 0.3]], dtype=torch.float64)
    side = p.shape[-1]
    left = torch.arange(side) < side // 2
    y = torch.where(
        left, torch.einsum("k,nkyx->nyx", rule[0], p), torch.einsum("k,nkyx->nyx", rule[1], p)
    )
    window = torch.full((5,), 0.2, dtype=torch.float64)
    slopes = local_slopes(p, y[:, None], window, 1e-4)
    told = (slopes[:, :, 0] * p).sum(1)
    clear = [*range(4, side // 2 - 4), *range(side // 2 + 4, side - 4)]
    assert (told - y)[..., clear].abs().mean() < 0.03 * y[..., clear].abs().mean()


def test_untrained_it_is_far_above_interpolation():
    inputs, truth = scene(30)
    with torch.no_grad():
        x = S2Net(4, 1).double()(*inputs.values())
        floor = torch.cat([upsample(inputs[20], 2), upsample(inputs[60], 6)], dim=1)
    gain = mean_sre(x, truth) - mean_sre(floor, truth)
    assert gain[:6].mean() > 10
    assert gain[6:].mean() > 12


@pytest.mark.parametrize("seed", [1, 2])
def test_a_gain_and_an_offset_of_any_band_pass_through(seed):
    """Product levels, platforms and atmospheres differ by about that; where detail is well above noise."""
    random = np.random.default_rng(seed)
    inputs, _ = scene(14)
    gain = {g: torch.from_numpy(random.uniform(0.5, 2, (len(BY_GSD[g]), 1, 1))) for g in GSDS}
    offset = {g: torch.from_numpy(random.uniform(-0.1, 0.3, (len(BY_GSD[g]), 1, 1))) for g in GSDS}
    # Far above the floors that stand for noise.
    scale = 100.0
    changed = {g: scale * (gain[g] * y + offset[g]) for g, y in inputs.items()}
    net = net_of()
    with torch.no_grad():
        plain = net(*(scale * y for y in inputs.values()))
        other = net(*changed.values())
    of = torch.cat([gain[20], gain[60]])
    expected = of * plain + scale * torch.cat([offset[20], offset[60]])
    assert torch.allclose(other, expected, rtol=1e-4, atol=1e-4 * scale)


def test_the_result_seen_again_is_what_was_seen():
    inputs, _ = scene(24)
    net = net_of()
    with torch.no_grad():
        x = net(*inputs.values())[:, :6]
    inner = (..., slice(6, -6), slice(6, -6))
    seen = degrade(x, BY_GSD[20], 2)[inner]
    interpolated = degrade(upsample(inputs[20], 2), BY_GSD[20], 2)[inner]
    missed = (seen - inputs[20][inner]).abs().mean()
    assert missed < 0.1 * (interpolated - inputs[20][inner]).abs().mean()


@pytest.mark.parametrize("blocks", [1, 3])
def test_nothing_beyond_the_support_is_read_and_all_but_its_rim_is(blocks):
    cells, middle = 21, 10
    inputs = {g: y.requires_grad_() for g, y in scene(cells)[0].items()}
    net = net_of(blocks=blocks)
    cell = slice(6 * middle, 6 * middle + 6)
    grads = torch.autograd.grad(net(*inputs.values())[..., cell, cell].sum(), list(inputs.values()))
    for g, grad in zip(inputs, grads, strict=True):
        n, (before, after) = 60 // g, net.support[g]
        rows = (grad[0] != 0).any(dim=0).any(dim=1).nonzero().flatten()
        first, last = n * middle - before, n * (middle + 1) - 1 + after
        assert first <= rows.min() <= first + 2, f"grid of {g} m"
        assert last - 2 <= rows.max() <= last, f"grid of {g} m"


def test_windows_of_two_sizes_agree_beyond_the_halo():
    inputs, _ = scene(28)
    net = net_of().float()
    halo = max(-(-max(reach) // (60 // g)) for g, reach in net.support.items())

    def cut(first, last):
        return [
            y[..., first * n : last * n, first * n : last * n].float()
            for y, n in zip(inputs.values(), (6, 3, 1), strict=True)
        ]

    with torch.no_grad():
        whole = net(*cut(0, 28))[..., 6 * halo : -6 * halo, 6 * halo : -6 * halo]
        part = net(*cut(2, 27))
    inner = part[..., 6 * halo : -6 * halo, 6 * halo : -6 * halo]
    same = whole[..., 12 : 12 + inner.shape[-2], 12 : 12 + inner.shape[-1]]
    assert torch.equal((inner * 1e4).round(), (same * 1e4).round())


def test_without_the_60_m_bands_they_are_not_read_and_the_others_are_the_same():
    inputs, _ = scene(14)
    net = net_of()
    with torch.no_grad():
        whole = net(*inputs.values())
        far = net.support
        net.restrict(("B05", "B11"))
        part = net(inputs[10], inputs[20], inputs[60][:, :0])
    assert net.bands == BY_GSD[20]
    assert set(net.reads) == set(BY_GSD[10] + BY_GSD[20])
    assert torch.equal(whole[:, :6], part)
    assert set(net.support) == {10, 20}
    assert all(net.support[g] <= far[g] for g in (10, 20))


@pytest.mark.parametrize("method", ["s2net-s", "dsen2"])
def test_bfloat16_changes_a_value_by_less_than_one_dn_in_the_mean(method):
    inputs, _ = scene(24)
    narrow, wide = (load_sharpener(method, precision=p) for p in ("bfloat16", "float32"))
    assert (narrow.precision, wide.precision) == ("bfloat16", "float32")
    with torch.inference_mode():
        a, b = (s.sharpen(*(y.float() for y in inputs.values())) for s in (narrow, wide))
    change = torch.stack([1e4 * (a[band] - b[band]).abs() for band in a])
    assert 0 < change.mean() < 1
    assert pickle.loads(pickle.dumps(narrow)).precision == "bfloat16"


def test_shipped_sizes_are_far_above_interpolation_and_lighter_than_dsen2():
    inputs, truth = scene(30, seed=77)
    floor = mean_sre(torch.cat([upsample(inputs[20], 2), upsample(inputs[60], 6)], dim=1), truth)
    published = ResidualNet(20, 128, 6).multiply_adds + ResidualNet(60, 128, 6).multiply_adds
    for method in SIZES:
        sharpener = load_sharpener(method, precision="float32")
        with torch.inference_mode():
            found = sharpener.sharpen(*(y.float() for y in inputs.values()))
        x = torch.stack([found[b] for b in S2Net.bands], dim=1)
        gain = mean_sre(x, truth) - floor
        assert gain[:6].mean() > 10
        assert gain[6:].mean() > 12
    assert S2Net(*SIZES["s2net-m"]).multiply_adds <= published / 10
