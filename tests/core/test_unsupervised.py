import numpy as np
import pytest
import torch

from s2sharp_core.bands import BY_GSD, GSDS, ratio
from s2sharp_core.errors import S2SharpError
from s2sharp_core.fitting import FitOptions, Sample
from s2sharp_core.networks import SkipNet, UnrolledNet
from s2sharp_core.observation import SENTINEL2, Sensor, pseudo_inverse
from s2sharp_core.sharpeners import METHODS, load_sharpener
from s2sharp_core.simulate import landscape, observe
from s2sharp_core.unsupervised import crop, infer, noise, risk, settle, unlike
from s2sharp_core.unsupervised import observe as see

CIRCULAR = Sensor(edge="circular")
SILENT = lambda *_: None  # noqa: E731


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


@pytest.mark.parametrize(("snr", "most"), [(30.0, 1.8), (100.0, 4.0)])
def test_the_noise_of_a_simulated_scene_is_found(snr, most):
    """Never less; more where the ground itself varies from pixel to pixel, 1 % in these landscapes."""
    given = sample(60, snr)
    levels = noise(given)
    for g, y in zip(GSDS, (given.y10, given.y20, given.y60), strict=True):
        true = y.mean(dim=(0, 2, 3)) / snr
        found = levels[g] / true
        assert (found > 0.9).all(), (g, found)
        assert (found < most).all(), (g, found)


def test_of_pure_noise_the_level_is_exact():
    random = torch.Generator().manual_seed(0)
    level = {g: torch.linspace(0.01, 0.03, len(BY_GSD[g])) for g in GSDS}
    y = {
        g: level[g][:, None, None]
        * torch.randn(1, len(BY_GSD[g]), 100 * 60 // g, 100 * 60 // g, generator=random)
        for g in GSDS
    }
    found = noise(Sample(*y.values()))
    for g in GSDS:
        assert torch.allclose(found[g], level[g], rtol=0.06), g


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
            back = pseudo_inverse(back, BY_GSD[g], ratio(g), 1e-2, CIRCULAR)
        each.append(back.square().mean(dim=(0, 2, 3)))
    return torch.cat(each).mean()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_slope_is_exact_although_the_arithmetic_is_coarse(norm):
    """The directional derivative of the loss against central differences in float64."""
    torch.manual_seed(0)
    net = tiny(norm=norm)
    given = sample(8)
    net.standardise(given.y10, given.y20, given.y60)
    y = [given.y10, given.y20, given.y60]
    v = [0.01 * torch.randn_like(a) for a in y]
    _, slope = torch.func.jvp(lambda *a: infer(net, *a), tuple(y), tuple(v))
    double = tiny(norm=norm).double()
    double.load_state_dict({k: p.double() for k, p in net.state_dict().items()})
    with torch.no_grad():
        ahead, behind = (
            double(*(a.double() + s * 1e-6 * b.double() for a, b in zip(y, v, strict=True)))
            for s in (1, -1)
        )
    exact = (ahead - behind) / 2e-6
    slope = slope.detach()
    assert float((slope - exact).std() / exact.std()) < 0.15
    assert float((slope * exact).sum() / exact.square().sum()) == pytest.approx(1, abs=0.01)


def test_losses_look_at_no_rim_of_a_cut_window():
    torch.manual_seed(0)
    net = tiny()
    given = sample(12)
    net.standardise(given.y10, given.y20, given.y60)
    y = crop(given, 12, torch.Generator())
    changed = {g: a.clone() for g, a in y.items()}
    rims = {g: 60 // g for g in GSDS}
    with torch.no_grad():
        before = unlike(net, y, SENTINEL2)
        x = infer(net, *y.values())
        for g in GSDS:
            changed[g][..., : rims[g], :] += 1
        # The same picture against observations that differ in the outermost cell only.
        still = Fixed(x, net.spread)
        assert torch.equal(unlike(still, y, SENTINEL2), before)
        assert torch.equal(unlike(still, changed, SENTINEL2), before)
        assert not torch.equal(unlike(still, changed, CIRCULAR), unlike(still, y, CIRCULAR))


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
        settle(net, given)
    assert all(int(m.num_batches_tracked) == 2 for m in norms)


@pytest.fixture
def small():
    """The methods with networks small enough for a test."""
    from s2sharp_core.sharpeners import deep_sure, ucnn, unrolled

    return {
        "ucnn": (tiny(norm="pixel"), ucnn.fit_scene),
        "deep_sure": (tiny(norm="batch"), deep_sure.fit_scene),
        "unrolled": (UnrolledNet(8, 1, 2), unrolled.learn),
    }


@pytest.mark.parametrize("name", ["ucnn", "deep_sure", "unrolled"])
def test_fitting_lowers_the_loss_and_freezes_it(small, name, tmp_path):
    net, fit = small[name]
    curve = fit(net, sample(16), SENTINEL2, FitOptions(steps=60), tmp_path / "c", SILENT)
    assert curve.losses[-1] < 0.9 * curve.losses[0]
    assert curve.frozen <= 1.05
    assert not net.training


@pytest.mark.parametrize("name", ["ucnn", "deep_sure", "deep_sure_bp", "unrolled"])
def test_a_method_is_known_and_refuses_what_is_too_small(name, tmp_path):
    method = METHODS[name]
    with pytest.raises(S2SharpError, match="12 × 12"):
        method.fit(sample(8), SENTINEL2, method.bands, FitOptions(), tmp_path, "cpu", SILENT)
    with pytest.raises(S2SharpError, match="learns on the scene"):
        load_sharpener(name)
