import pickle

import numpy as np
import pytest
import torch

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.evaluation.metrics import sre
from s2sharp_core.learning.s2net import SIZES
from s2sharp_core.networks import ResidualNet, S2Net
from s2sharp_core.networks.s2net import Detail
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import LARGEST_SHIFT, Response, Sensor
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sensor.upsampling import upsample

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
    # Well above 0, below which nothing is brought that was not seen there.
    inputs = {g: 0.5 + y for g, y in scene(14)[0].items()}
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


def missing_after(residual, doubt):
    """Share of a residual of the 20 m bands (6, h, w) that is left once it was brought back, in the middle."""
    net, (h, w) = S2Net(4, 1).double(), residual.shape[-2:]
    y20 = 0.2 + residual[None]
    phases = torch.full((1, 8 * 4, h, w), 0.2, dtype=torch.float64)
    detail = Detail((), phases, phases[:, :8], torch.full((1, 12, h, w), doubt).double())
    x = net.finished(detail, torch.zeros_like(phases), y20)[:, :6]
    left = (y20 - degrade(x, BY_GSD[20], 2))[..., 9:-9, 9:-9]
    return float(left.square().mean() / residual[:, 9:-9, 9:-9].square().mean()) ** 0.5


def waves(level):
    """Detail of 100 m in every band."""
    at = torch.arange(60, dtype=torch.float64)
    one = torch.sin(2 * np.pi / 5 * at)[:, None] * torch.cos(2 * np.pi / 7 * at)[None]
    return level * one.expand(6, 60, 60)


def test_what_a_result_lacks_is_brought_back_as_far_as_it_is_no_doubt():
    """Wiener's weights: a residual ten times as strong as noise is, one as weak as noise is not."""
    noise = 1e-3
    assert missing_after(waves(10 * noise), 0.0) < 0.1
    assert missing_after(waves(10 * noise), noise**2) < 0.2
    assert missing_after(waves(0.5 * noise), noise**2) == pytest.approx(1, abs=1e-6)


def test_the_result_seen_again_is_what_was_seen_where_no_guide_shows_it():
    """A point in the short-wave infrared alone, far above noise, comes back; noise on flat land is left alone."""
    level = 5e-4
    random = torch.Generator().manual_seed(4)
    inputs = {
        g: 0.2
        + level
        * torch.randn(1, len(BY_GSD[g]), 24 * 60 // g, 24 * 60 // g, generator=random).double()
        for g in GSDS
    }
    net = S2Net(4, 1).double()
    net.see_with(Sensor(noise=tuple((band, level) for band in BANDS)))

    def left(given):
        with torch.no_grad():
            x = net(*given.values())[:, :6]
            plain = degrade(upsample(given[20], 2), BY_GSD[20], 2)
        return given[20] - degrade(x, BY_GSD[20], 2), given[20] - plain

    ours, plain = left(inputs)
    inner = (..., slice(9, -9), slice(9, -9))
    # What interpolation lacks of noise is not made up for.
    assert ours[inner].square().mean() > 0.5 * plain[inner].square().mean()
    bright = {**inputs, 20: inputs[20].clone()}
    bright[20][:, 4, 36, 36] += 0.3
    ours, plain = left(bright)
    assert plain[0, 4, 36, 36] > 0.05
    # A point is the hardest: near the Nyquist frequency the series of back-projections converges slowest, and its range
    # is held to what was seen around it.
    assert ours[0, 4, 36, 36].abs() < 0.6 * plain[0, 4, 36, 36].abs()


@pytest.mark.parametrize("gsd", [20, 60])
def test_what_no_kernel_explains_leaves_no_rings_beyond_its_surroundings(gsd):
    """One pixel of the coarse bands ten times brighter than all around: a defect, or a flare that is cut off."""
    inputs, _ = scene(24)
    inputs = {g: y.clone() for g, y in inputs.items()}
    middle = 24 * 60 // gsd // 2
    inputs[gsd][:, :, middle, middle] *= 10
    with torch.no_grad():
        x = load_sharpener("s2net-s").sharpen(*(y.float() for y in inputs.values()))
    for index, band in enumerate(BY_GSD[gsd]):
        around = inputs[gsd][0, index, middle - 2 : middle + 3, middle - 2 : middle + 3]
        span = around.max() - around.min()
        assert x[band].min() >= 0
        assert x[band].max() <= around.max() + 1.01 * span


def test_lines_of_10_m_may_leave_the_range_of_what_was_seen_around():
    """In a pixel of 60 m a sixth of their contrast is left, and the finer bands show where they are."""
    ground, contrast = landscape((180, 180), 5), 0.3
    truth = 0.1 + 0.1 * (ground - ground.mean((1, 2), keepdims=True))
    truth[:, :, 20::40] += contrast
    seen = observe(truth, seed=5)
    with torch.no_grad():
        x = S2Net(4, 1).double()(*(torch.from_numpy(seen[g])[None].double() for g in GSDS))
    lines = x[0, :, 60:120, 60:140:40].mean(dim=(1, 2))
    assert (lines - 0.1 > 0.55 * contrast).all()


def shifted(shift):
    """The satellite with every coarse band off by ``shift`` of its pixels, along both axes, by turns to either side."""
    return Sensor(
        responses=tuple(
            Response(b, BANDS[b].blur, BANDS[b].edge, shift * (-1) ** i, shift * (-1) ** (i // 2))
            for i, b in enumerate((*BY_GSD[20], *BY_GSD[60]))
        )
    )


def read_by(net, cells, middle):
    """By GSD, the rows that a cell's result depends on, as counted by ``support``: (before, after)."""
    inputs = {g: y.requires_grad_() for g, y in scene(cells)[0].items()}
    cell = slice(6 * middle, 6 * middle + 6)
    grads = torch.autograd.grad(net(*inputs.values())[..., cell, cell].sum(), list(inputs.values()))
    found = {}
    for g, grad in zip(inputs, grads, strict=True):
        n = 60 // g
        rows = (grad[0] != 0).any(dim=0).any(dim=1).nonzero().flatten()
        found[g] = n * middle - int(rows.min()), int(rows.max()) - (n * (middle + 1) - 1)
    return found


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("shift", [0.0, 0.97 * LARGEST_SHIFT])
def test_nothing_beyond_the_support_is_read(blocks, shift):
    net = net_of(blocks=blocks)
    net.see_with(shifted(shift))
    for g, (before, after) in read_by(net, 33, 16).items():
        told = net.support[g]
        assert before <= told[0], f"grid of {g} m"
        assert after <= told[1], f"grid of {g} m"


def test_all_of_the_support_but_its_rim_is_read_by_bands_that_lie_off():
    net = net_of(blocks=3)
    net.see_with(shifted(0.97 * LARGEST_SHIFT))
    for g, (before, after) in read_by(net, 33, 16).items():
        told = net.support[g]
        # Of the largest shifts that are provided for, a band has one side's.
        rim = {10: 12, 20: 6, 60: 2}[g]
        assert before >= told[0] - rim, f"grid of {g} m"
        assert after >= told[1] - rim, f"grid of {g} m"


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
