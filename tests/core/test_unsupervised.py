from functools import partial

import numpy as np
import pytest
import torch

from s2sharp_core.bands import BANDS, BY_GSD, GSDS, ratio
from s2sharp_core.errors import S2SharpError
from s2sharp_core.evaluation.metrics import sre
from s2sharp_core.learning import fitting, unsupervised
from s2sharp_core.learning.options import FitCourse, FitOptions
from s2sharp_core.learning.unsupervised import (
    crop,
    degraded_difference,
    infer,
    noise,
    risk,
    settle_batch_norms,
)
from s2sharp_core.learning.unsupervised import observe as see
from s2sharp_core.networks import SkipNet, ThreeGridNet, UnrolledNet
from s2sharp_core.sensor.measurement import measured_noise
from s2sharp_core.sensor.observation import degrade, pseudo_inverse
from s2sharp_core.sensor.response import SENTINEL2, Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners import deep_sure, ssc_cnn, ucnn
from s2sharp_core.sharpeners.loading import load_sharpener
from s2sharp_core.sharpeners.methods import METHODS

CIRCULAR = Sensor(edge="circular")
SILENT = lambda *_: None  # noqa: E731
STEPS = 50


def sample(cells=16, snr=100.0, seed=0, count=1):
    windows = [
        observe(landscape((6 * cells, 6 * cells), seed + i), snr, seed + i) for i in range(count)
    ]
    return Sample(*(torch.from_numpy(np.stack([w[g] for w in windows])) for g in GSDS))


def tiny(**facts):
    return SkipNet(GSDS, 8, 1, 2, residual=False, **facts)


class Linear(torch.nn.Module):
    """A picture that copies a share of every observation: its divergence is known in closed form."""

    def __init__(self, share):
        super().__init__()
        self.share = share
        self.register_buffer("spread", torch.ones(12))

    def forward(self, y10, y20, y60):
        parts = [
            y if g == 10 else pseudo_inverse(y, BY_GSD[g], ratio(g), sensor=CIRCULAR)
            for g, y in zip(GSDS, (y10, y20, y60), strict=True)
        ]
        return self.share * torch.cat(parts, dim=1)


def test_noise_that_was_measured_on_the_product_is_believed_before_the_sample():
    given = sample(16)
    levels = {band: 0.001 * (i + 1) for i, band in enumerate(BANDS) if band != "B11"}
    found = noise(given, Sensor(noise=tuple(levels.items())))
    own = measured_noise(given)
    for g in GSDS:
        expected = [levels.get(band, own[band]) for band in BY_GSD[g]]
        assert found[g].tolist() == pytest.approx(expected)


def noisy(seed, clean, sigma):
    random = torch.Generator().manual_seed(seed)
    return {
        g: clean[g] + sigma[g][:, None, None] * torch.randn(clean[g].shape, generator=random)
        for g in GSDS
    }


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_steins_estimate_is_the_error_against_the_truth_that_nobody_saw(share):
    """The mean of risk − ‖B n‖² over noise is the error of what is seen, with no access to the truth."""
    truth = torch.rand(1, 12, 48, 48, generator=torch.Generator().manual_seed(3))
    clean = see(truth, CIRCULAR)
    sigma = {g: torch.full((len(BY_GSD[g]),), 0.05) for g in GSDS}
    net = Linear(share)
    estimates, naive, errors, floors = [], [], [], []
    for seed in range(40):
        y = noisy(seed, clean, sigma)
        random = torch.Generator().manual_seed(1000 + seed)
        estimates.append(float(risk(net, y, CIRCULAR, sigma, random)))
        naive.append(float(risk(net, y, CIRCULAR, None, random)))
        x = infer(net, *y.values())
        errors.append(float(weighed(see(x, CIRCULAR), clean)))
        floors.append(float(weighed(y, clean)))
    expected = np.mean(errors) + np.mean(floors)
    spread = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - expected) < max(4 * spread, 0.02 * expected)
    # Without the divergence, copying the noise looks like a good picture.
    assert np.mean(naive) < expected - 10 * spread


def weighed(a, b):
    """‖B (a − b)‖² as in the loss: the mean over pixels, then over bands."""
    each = []
    for g in GSDS:
        back = a[g] - b[g]
        if g > 10:
            back = pseudo_inverse(back, BY_GSD[g], ratio(g), 1e-3, CIRCULAR)
        each.append(back.square().mean(dim=(0, 2, 3)))
    return torch.cat(each).mean()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_derivative_is_that_of_exact_arithmetic_but_for_little(norm):
    """Against forward differentiation in float64, along noise of 40 DN; what is off has no direction."""
    torch.manual_seed(0)
    net = tiny(norm=norm)
    given = sample(8)
    net.standardise(given.y10, given.y20, given.y60)
    y = crop(given, 8, torch.Generator())
    v = {g: 0.004 * torch.randn(y[g].shape) for g in GSDS}
    double = tiny(norm=norm).double()
    double.load_state_dict({k: p.double() for k, p in net.state_dict().items()})
    with torch.no_grad():
        x = infer(net, *y.values(), narrow=False)
        found = unsupervised._along(net, y, x, v)
        exact = torch.func.jvp(
            lambda *a: infer(double, *a, narrow=False),
            tuple(y[g].double() for g in GSDS),
            tuple(v[g].double() for g in GSDS),
        )[1]
    assert float((found - exact).norm() / exact.norm()) < 0.08
    assert float((found * exact).sum() / exact.square().sum()) == pytest.approx(1, abs=0.004)


def test_losses_look_at_no_rim_of_a_cut_window():
    torch.manual_seed(0)
    net = tiny()
    given = sample(12)
    net.standardise(given.y10, given.y20, given.y60)
    y = crop(given, 12, torch.Generator())
    changed = {g: a.clone() for g, a in y.items()}
    rims = {g: 60 // g for g in GSDS}
    with torch.no_grad():
        before = degraded_difference(net, y, SENTINEL2)
        x = infer(net, *y.values())
        for g in GSDS:
            changed[g][..., : rims[g], :] += 1
        # The same picture against observations that differ in the outermost cell only.
        still = Fixed(x, net.spread)
        assert torch.equal(degraded_difference(still, y, SENTINEL2), before)
        assert torch.equal(degraded_difference(still, changed, SENTINEL2), before)
        assert not torch.equal(
            degraded_difference(still, changed, CIRCULAR), degraded_difference(still, y, CIRCULAR)
        )


class Fixed(torch.nn.Module):
    def __init__(self, x, spread):
        super().__init__()
        self.x, self.spread = x, spread

    def forward(self, *_):
        return self.x


def test_crops_lie_on_cells():
    given = Sample(
        *(
            torch.arange(20 * 60 // g)
            .repeat_interleave(1)
            .float()
            .expand(1, len(BY_GSD[g]), 20 * 60 // g, -1)
            for g in GSDS
        )
    )
    y = crop(given, 12, torch.Generator().manual_seed(5))
    first = int(y[60][0, 0, 0, 0])
    assert int(y[10][0, 0, 0, 0]) == 6 * first
    assert int(y[20][0, 0, 0, 0]) == 3 * first
    assert [y[g].shape[-1] for g in GSDS] == [72, 36, 12]


def test_settling_gives_a_batch_norm_the_statistics_of_the_sample():
    net = tiny(norm="batch")
    given = sample(8, count=2)
    net.standardise(given.y10, given.y20, given.y60)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    net.train()
    infer(net, given.y10, given.y20, given.y60)
    assert all(int(m.num_batches_tracked) == 0 for m in norms)
    with torch.no_grad():
        settle_batch_norms(net, given)
    assert all(int(m.num_batches_tracked) == 2 for m in norms)


def test_the_loss_of_ucnn_is_what_the_paper_writes():
    """The mean of |A x − y| in units of each band's spread, all twelve bands alike."""
    net = Fixed(torch.rand(1, 12, 72, 72), torch.linspace(0.05, 0.3, 12))
    y = {g: torch.rand(1, len(BY_GSD[g]), 12 * 60 // g, 12 * 60 // g) for g in GSDS}
    expected, spread = [], net.spread.tolist()
    for b, band in enumerate(band for g in GSDS for band in BY_GSD[g]):
        g = next(g for g in GSDS if band in BY_GSD[g])
        x = net.x[:, b : b + 1]
        seen = x if g == 10 else degrade(x, [band], ratio(g), CIRCULAR)
        left = seen[0, 0] - y[g][0, BY_GSD[g].index(band)]
        expected.append(left.abs().mean() / spread[b])
    assert float(degraded_difference(net, y, CIRCULAR)) == pytest.approx(float(sum(expected)) / 12)


def by_hand(name, net, given):
    """The loss of the next step, from what it is made of."""
    levels = noise(given, SENTINEL2)

    def loss(random):
        y = crop(given, 16, random)
        if name == "ucnn":
            return degraded_difference(net, y, SENTINEL2)
        return risk(net, y, SENTINEL2, levels, random)

    return loss


@pytest.mark.parametrize(
    ("name", "build", "fit"),
    [
        ("ucnn", partial(ThreeGridNet, 8, 1), ucnn.fit_scene),
        ("deep_sure", partial(tiny, norm="batch"), deep_sure.fit_scene),
        ("unrolled", partial(UnrolledNet, 8, 1, 2), deep_sure.fit_scene),
    ],
)
def test_fitting_lowers_the_loss_and_freezes_it(name, build, fit, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_SETTLE", 0.8)  # where a mean of 20 steps is told
    torch.manual_seed(0)
    net, given = build(), sample(16)
    curve = fit(net, given, SENTINEL2, FitCourse(STEPS, checkpoint=tmp_path / "c"))
    assert curve.losses[-1] < 0.9 * curve.losses[0]
    assert not net.training
    # With statistics, the 20 steps before freezing are those that the frozen net is held against.
    last = STEPS if name == "ucnn" else int(STEPS * fitting._SETTLE)
    loss, random = by_hand(name, net, given), torch.Generator().manual_seed(0)
    with torch.no_grad():
        values = [float(loss(random)) for _ in range(last)]
    before = curve.losses[curve.steps.index(last)]  # an estimate of a risk can fall below nothing
    expected = 1 + (np.mean(values[-20:]) - before) / abs(before)
    assert curve.frozen == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("build", "fit", "side", "steps", "gains"),
    [
        (partial(SkipNet, (20,), 12, 1, 4), ssc_cnn.learn, 120, 150, {20: 1}),
        (partial(ThreeGridNet, 24, 2), ucnn.fit_scene, 72, 200, {20: 0.5, 60: 1}),
        (partial(SkipNet, GSDS, 12, 1, 4, "batch"), deep_sure.fit_scene, 120, 60, {20: 2, 60: 2}),
        (
            partial(UnrolledNet, 12, 1, 4, residual=True),
            deep_sure.fit_scene,
            120,
            60,
            {20: 2, 60: 3},
        ),
    ],
    ids=["ssc_cnn", "ucnn", "deep_sure", "unrolled"],
)
def test_a_short_fit_leaves_interpolation_behind(build, fit, side, steps, gains):
    """By so many dB at each GSD, fitted without the truth that is known here; most networks begin as
    interpolation."""
    truth = landscape((side, side), 5)
    seen = observe(truth, 100.0, 1)
    given = Sample.of(seen)
    torch.manual_seed(0)
    net = build()
    fit(net, given, SENTINEL2, FitCourse(steps))
    with torch.no_grad():
        x = dict(zip(net.bands, net(given.y10, given.y20, given.y60)[0].numpy(), strict=True))
    inner = (..., slice(12, -12), slice(12, -12))
    for g, gain in gains.items():
        expected = truth[[list(BANDS).index(band) for band in BY_GSD[g]]][inner]
        floor = upsample(torch.from_numpy(seen[g])[None], ratio(g))[0].numpy()[inner]
        guess = np.stack([x[band] for band in BY_GSD[g]])[inner]
        assert (sre(guess, expected) - sre(floor, expected)).mean() > gain, g


@pytest.mark.parametrize(
    ("name", "corrects"), [("deep_sure", True), ("deep_sure_bp", False), ("unrolled", True)]
)
def test_the_noise_is_estimated_for_the_correction_and_left_out_without_it(
    name, corrects, tmp_path, monkeypatch
):
    given, told = sample(12), []

    def noted(net, y, sensor, sigma, random):  # noqa: ARG001
        told.append(sigma)
        return next(net.parameters()).square().sum()

    monkeypatch.setattr(deep_sure, "risk", noted)
    method = METHODS[name]
    method.fit(given, SENTINEL2, method.bands, FitOptions(2), tmp_path, "cpu", SILENT)
    assert told
    expected = noise(given, SENTINEL2)
    for sigma in told:
        if corrects:
            assert all(torch.equal(sigma[g], expected[g]) for g in GSDS)
        else:
            assert sigma is None


@pytest.mark.parametrize("name", ["ucnn", "deep_sure", "deep_sure_bp", "unrolled"])
def test_a_method_is_known_and_refuses_what_is_too_small(name, tmp_path):
    method = METHODS[name]
    with pytest.raises(S2SharpError, match="12 × 12"):
        method.fit(sample(8), SENTINEL2, method.bands, FitOptions(), tmp_path, "cpu", SILENT)
    with pytest.raises(S2SharpError, match="learns on the scene"):
        load_sharpener(name)
