import numpy as np
import pytest
import torch

from s2sharp_core.bands import BY_GSD, GSDS, ratio
from s2sharp_core.networks import UnrolledNet
from s2sharp_core.networks.receptive_field import farthest, pixels_before
from s2sharp_core.sensor.observation import adjoint, degrade, psf
from s2sharp_core.sensor.response import SENTINEL2, Sensor
from s2sharp_core.weights import load_net, save_net

CIRCULAR = Sensor(edge="circular")


def inputs(cells, seed=0, count=1):
    random = torch.Generator().manual_seed(seed)
    return [
        torch.rand(
            count, len(BY_GSD[g]), *[cells * 60 // g] * 2, generator=random, dtype=torch.float64
        )
        for g in GSDS
    ]


def small(**facts):
    torch.manual_seed(0)
    return UnrolledNet(4, 1, 2, "none", **facts).double().eval().requires_grad_(False)


def test_the_data_step_solves_its_normal_equations():
    """(AᵀA + ρ) x = Aᵀy + ρ z, band by band."""
    net = small(rho=0.05, sensor=CIRCULAR)
    y = inputs(8)
    x, z = net(*y), net.denoiser(*y)
    for g, first, last in ((20, 4, 10), (60, 10, 12)):
        bands, d = BY_GSD[g], ratio(g)
        own, before = x[:, first:last], z[:, first:last]
        seen = y[GSDS.index(g)]
        left = adjoint(degrade(own, bands, d, CIRCULAR), bands, d, CIRCULAR) + 0.05 * own
        right = adjoint(seen, bands, d, CIRCULAR) + 0.05 * before
        assert torch.allclose(left, right, atol=1e-12)
    assert torch.allclose((1 + 0.05) * x[:, :4], y[0] + 0.05 * z[:, :4], atol=1e-12)


def test_a_small_rho_makes_the_picture_agree_with_what_was_seen():
    y = inputs(8)
    for g, part in ((20, slice(4, 10)), (60, slice(10, 12))):
        misfit = []
        for rho in (1e-5, 1e-1):
            x = small(rho=rho, sensor=CIRCULAR)(*y)[:, part]
            seen = degrade(x, BY_GSD[g], ratio(g), CIRCULAR)
            misfit.append(float((seen - y[GSDS.index(g)]).abs().mean()))
        assert misfit[0] < 0.1 * misfit[1]


def influence(net, cells, halo):
    """How far data more than ``halo`` cells from a cell can move it, DN: the worst case for changes up to
    ±1 of reflectance, from the derivative, since an interpolating net with a data step is linear."""
    y = [a.requires_grad_() for a in inputs(cells)]
    middle = cells // 2
    x = net(*y)
    worst = 0.0
    for band in (4, 8, 9, 10, 11):  # B05, B11, B12 and the bands of 60 m: the slowest decays
        for i, j in ((0, 0), (2, 3), (5, 5)):
            value = x[0, band, 6 * middle + i, 6 * middle + j]
            grads = torch.autograd.grad(value, y, retain_graph=True, allow_unused=True)
            total = 0.0
            for g, grad in zip(GSDS, grads, strict=True):
                if grad is None:
                    continue
                k = 60 // g
                far = grad[0].abs().clone()
                near = slice(k * (middle - halo), k * (middle + halo + 1))
                far[:, near, near] = 0
                total += float(far.sum())
            worst = max(worst, total)
    return 1e4 * worst


def cells_of(net):
    return max(-(-max(reach) // (60 // g)) for g, reach in net.support.items())


@pytest.mark.parametrize("rho", [0.02, 0.1])
def test_what_lies_beyond_the_computed_halo_moves_nothing_by_more_than_the_tolerance(rho):
    """The halo is that of the sensor that reaches farthest, whichever is measured."""
    net = small(rho=rho, residual=True, sensor=farthest(SENTINEL2))
    halo = cells_of(net)
    assert halo == cells_of(small(rho=rho, residual=True))
    cells = 2 * halo + 9
    assert influence(net, cells, halo) <= net.tolerance
    assert influence(net, cells, halo // 3) > net.tolerance


def test_the_edge_of_a_window_counts_as_far_away():
    """A window with its halo, against the same place in a larger picture that goes on."""
    net = small(rho=0.02)
    torch.nn.init.normal_(net.denoiser.tail.weight, std=0.1)
    halo = cells_of(net)
    large = [a.float() for a in inputs(2 * halo + 24, seed=4)]
    net = net.float()

    def at(margin):
        side = 4 + 2 * margin
        first = halo + 10 - margin
        cut = [
            a[..., k * first : k * (first + side), k * first : k * (first + side)]
            for a, k in zip(large, (6, 3, 1), strict=True)
        ]
        return net(*cut)[..., 6 * margin : 6 * (margin + 4), 6 * margin : 6 * (margin + 4)]

    whole = net(*large)[..., 6 * (halo + 10) : 6 * (halo + 14), 6 * (halo + 10) : 6 * (halo + 14)]
    assert float((at(halo) - whole).abs().max()) * 1e4 <= net.tolerance + 0.1
    assert float((at(halo // 3) - whole).abs().max()) * 1e4 > net.tolerance


@pytest.mark.parametrize("g", [20, 60])
def test_the_reach_of_a_blur_is_counted_from_its_kernel(g):
    for band in BY_GSD[g]:
        d = ratio(g)
        x = torch.zeros(1, 1, 11 * d, 11 * d, dtype=torch.float64, requires_grad=True)
        degrade(x, [band], d)[0, 0, 5, 5].backward()
        rows = x.grad[0, 0].abs().sum(dim=1).nonzero()[:, 0]
        before = 5 * d - int(rows.min())
        assert before == pixels_before(band, d, SENTINEL2, 0) == (psf(band, d).numel() - d) // 2


def test_a_smaller_tolerance_asks_for_a_wider_halo():
    radii = [UnrolledNet(4, 1, 2, "none", tolerance=t).radius for t in (5.0, 0.5, 0.005)]
    assert radii == sorted(radii)
    assert radii[0] < radii[-1]


def test_it_comes_back_from_its_file(tmp_path):
    net = UnrolledNet(4, 1, 2, "batch", rho=0.03, tolerance=0.2).eval()
    y = [a.float() for a in inputs(12)]
    save_net(net, tmp_path / "unrolled.safetensors", {})
    again, _ = load_net(tmp_path / "unrolled.safetensors")
    assert again.config == net.config
    with torch.no_grad():
        assert np.array_equal(again(*y).numpy(), net(*y).numpy())
