"""What the published methods that learn on the scene are made of, and what holds for each of them."""

import pickle
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from s2sharp_core import METHODS, load_sharpener
from s2sharp_core.bands import BANDS, BY_GSD, COARSE, GSDS, ratio
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.lattice import Box
from s2sharp_core.learning.dsen2 import Pair
from s2sharp_core.learning.options import FitCourse
from s2sharp_core.networks import (
    GuardedNet,
    KrigingNet,
    SkipNet,
    SubspaceNet,
    ThreeGridNet,
    UnrolledNet,
)
from s2sharp_core.sensor.observation import pseudo_inverse
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import ssc_cnn
from s2sharp_core.weights import save_net

from ..benchmarks import published
from .scenes import native

# Those with a network that is trained, not solved for.
TRAINED = ("ssc_cnn", "ucnn", "deep_sure", "deep_sure_bp", "unrolled")


def networks(name):
    """As they are before a fit, without their guard."""
    return [net.net for net in METHODS[name].blank(COARSE, "cpu").nets]


def denoiser(net):
    return getattr(net, "denoiser", net)


def is_norm(module):
    return "norm" in type(module).__name__.lower() and not list(module.children())


# --- architecture


def test_ssc_cnn_is_what_the_paper_describes():
    """K = 3 blocks of 128 filters with skip convolutions, no normalisation, added to the upsampled bands."""
    for net, gsd in zip(networks("ssc_cnn"), (20, 60), strict=True):
        assert net.bands == BY_GSD[gsd]
        assert len(net.down) == len(net.across) == len(net.up) == 3
        wide = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        assert [m.out_channels for m in wide] == [128] * 7
        assert not [m for m in net.modules() if is_norm(m)]
        y = [torch.rand(1, len(BY_GSD[g]), 4 * 60 // g, 4 * 60 // g) for g in GSDS]
        with torch.no_grad():
            up = net.stack(*y)[:, -len(net.bands) :]
            assert torch.equal(net(*y), up)  # before it has learned anything


def test_ucnn_has_the_size_and_the_grids_of_the_paper():
    """2.4 million parameters; features are normalised pixel by pixel; each band is read where it was delivered."""
    (net,) = networks("ucnn")
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(2.4e6, rel=0.02)
    norms = [m for m in net.modules() if is_norm(m)]
    assert {type(m) for m in norms} == {nn.LayerNorm}
    assert {m.normalized_shape for m in norms} == {(128,)}
    shapes = {}
    for name in ("head60", "branch20.encoder.0", "branch10.encoder.0"):
        net.get_submodule(name).register_forward_hook(
            lambda _, given, out, name=name: shapes.update({name: (given[0].shape, out.shape)})
        )
    with torch.no_grad():
        net(torch.rand(1, 4, 24, 24), torch.rand(1, 6, 12, 12), torch.rand(1, 2, 4, 4))
    assert shapes == {
        "head60": ((1, 2, 4, 4), (1, 128, 4, 4)),
        "branch20.encoder.0": ((1, 6, 12, 12), (1, 128, 12, 12)),
        "branch10.encoder.0": ((1, 4, 24, 24), (1, 128, 24, 24)),
    }


def test_the_papers_own_networks_serve_their_protocols():
    """Five strides and ρ = 10 of the unrolled ADMM; both read what was back-projected, by statistics of the picture."""
    sensor = PROTOCOLS["papers/apex-30"].sensor
    y = {g: torch.rand(1, len(BY_GSD[g]), 16 * 60 // g, 16 * 60 // g) for g in GSDS}
    projected = torch.cat(
        [pseudo_inverse(y[g], BY_GSD[g], ratio(g), 1e-3, sensor) for g in GSDS], dim=1
    )
    admm, deep = published.unrolled(sensor), published.deep_sure(sensor)
    assert admm.rho == 10
    strides = [m.stride[0] for m in admm.modules() if isinstance(m, nn.Conv2d)]
    assert strides.count(2) == 5
    assert {m.out_channels for m in admm.denoiser.down.modules() if isinstance(m, nn.Conv2d)} == {
        128
    }
    for net in (admm, deep):
        seen = []
        first = next(m for m in denoiser(net).modules() if isinstance(m, nn.Conv2d))
        first.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        net.standardise(*y.values())
        inner = denoiser(net)
        with torch.no_grad():
            net.eval()(*y.values())
        unit = (projected - inner.mean[:, None, None]) / inner.spread[:, None, None]
        assert torch.allclose(seen[0], unit, atol=1e-4)
        assert all(m.running_mean is None for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_ssc_cnn_learns_from_64_patches_of_16_pixels_that_overlap_by_half(monkeypatch):
    """Every patch of the paper's picture of 204 pixels: 24 × 24, so that 200 epochs are 1 800 steps."""
    at = torch.arange(204.0).expand(204, 204)
    patches = ssc_cnn._patches(torch.stack([at.T, at])[None])
    assert patches.shape == (576, 2, 16, 16)
    corners = {(int(row), int(col)) for row, col in patches[:, :, 0, 0]}
    assert corners == {(8 * i, 8 * j) for i in range(24) for j in range(24)}
    assert torch.equal(patches[0, 1], at[:16, :16])
    assert METHODS["ssc_cnn"].steps == 200 * len(patches) / 64

    seen = observe(landscape((96, 96), 3))
    pair = Pair({g: torch.from_numpy(y) for g, y in seen.items()}, torch.zeros(6, 96, 96))
    net = SkipNet((20,), 4, 1, 2)
    shapes, refine = [], SkipNet.refine

    def noted(self, x):
        shapes.append(x.shape)
        return refine(self, x)

    monkeypatch.setattr(SkipNet, "refine", noted)
    ssc_cnn.fit_pairs(net, [pair], FitCourse(2))
    assert set(shapes) == {(64, 10, 16, 16)}


@pytest.mark.parametrize("name", [*TRAINED, "dsen2"])
def test_heads_are_linear(name):
    """A reflectance below 0 or above 1 is a possible answer."""
    nets = networks(name) if name in TRAINED else deepcopy(load_sharpener(name, device="cpu").nets)
    y = [torch.full((1, len(BY_GSD[g]), 4 * 60 // g, 4 * 60 // g), 0.5) for g in GSDS]
    for net in nets:
        for bias, beyond in ((-50.0, lambda x: x < 0), (50.0, lambda x: x > 1)):
            with torch.no_grad():
                denoiser(net).tail.bias.fill_(bias)
                assert beyond(net.eval()(*y)).all()


@pytest.mark.parametrize(
    ("name", "depth"), [("deep_sure", 5), ("deep_sure_bp", 5), ("unrolled", 5)]
)
def test_each_depth_has_a_normalisation_of_its_own(name, depth):
    """Two layers that shared one would share its statistics, of which neither's were."""
    (net,) = map(denoiser, networks(name))
    layers = [*net.down, *net.across, net.bottom, *net.up]
    assert len(net.down) == len(net.up) == depth
    norms = [[m for m in layer.modules() if is_norm(m)] for layer in layers]
    assert [len(of_layer) for of_layer in norms] == [1] * (3 * depth + 1)
    assert len({id(norm) for (norm,) in norms}) == 3 * depth + 1


def test_what_a_method_needs_is_what_it_reads():
    """The list of methods names every GSD that a network with weights reads."""
    for name in ("dsen2", "vdsen2", "ssc_cnn"):
        assert "10, 20, 60 m bands" in METHODS[name].needs
    reads = load_sharpener("dsen2", device="cpu").reads
    assert {BANDS[band].gsd for band in reads} == {10, 20, 60}
    for name in ("ucnn", "deep_sure", "deep_sure_bp", "unrolled", "supreme"):
        assert "all bands" in METHODS[name].needs
        assert set(METHODS[name].blank(COARSE, "cpu").reads) == set(BANDS)


# --- no seams


def wild(net):
    """Random weights: what they answer is nonsense, and no seam can hide in it."""
    random = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=random) / fan**0.5
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
    return net


def kriging(gsd):
    net = KrigingNet(gsd)
    random = torch.Generator().manual_seed(gsd)
    net.adopt(
        torch.randn(net.slopes.shape, generator=random),
        (torch.rand(len(net.bands), generator=random) * 3 * gsd / 10 + 1).tolist(),
    )
    return net


def subspace():
    net = SubspaceNet()
    seen = observe(landscape((120, 120), 8))
    net.adopt(*(torch.from_numpy(seen[g])[None] for g in GSDS))
    return net


def skip(*given, **more):
    return wild(SkipNet(*given, **more))


BUILD = {
    "ssc_cnn": {f"ssc_cnn-{g}m": partial(skip, (g,), 6, 3, 4) for g in (20, 60)},
    "ucnn": {"ucnn": lambda: wild(ThreeGridNet(6))},
    "deep_sure": {"deep_sure": partial(skip, GSDS, 6, 5, 4, "batch", residual=False)},
    "deep_sure_bp": {"deep_sure_bp": partial(skip, GSDS, 6, 5, 4, "batch", residual=False)},
    "unrolled": {"unrolled": lambda: wild(UnrolledNet(6, 5, 4))},
    "atprk": {f"atprk-{g}m": partial(kriging, g) for g in (20, 60)},
    "supreme": {"supreme": subspace},
}


@pytest.mark.parametrize("name", BUILD)
def test_windows_of_another_size_leave_no_seam(name, tmp_path):
    for file, build in BUILD[name].items():
        net = GuardedNet(build()) if name in TRAINED else build()
        save_net(net, tmp_path / f"{file}.safetensors", {})
    sharpener = load_sharpener(name, weights=tmp_path, device="cpu")
    assert sharpener.halo == METHODS[name].blank(COARSE, "cpu").halo
    want = Box(90_003, 90_016, 8_341, 8_352)
    have = want.grow(context(sharpener))
    data = native(landscape(have.pixels(10), 9))

    def differ():
        """DN, at most, between windows of 6 and of 8 cells."""
        small, large = (sharpen_block(data, have, want, sharpener, side) for side in (6, 8))
        return 1e4 * max(float(np.abs(small[band] - large[band]).max()) for band in COARSE)

    # Sums in another order: a small part of a DN.
    assert differ() <= sharpener.tolerance + 0.05
    sharpener.halo = 1
    assert differ() > sharpener.tolerance + 0.05


# --- what holds for every method that is ready at once, a new one too

READY = [name for name, method in METHODS.items() if method.fit is None and name != "vdsen2"]


def test_every_method_is_looked_at_here():
    """A method that is added is ready at once, or has a network in BUILD; an adapted one is the net that it begins from."""
    adapted = {name for name in METHODS if name.endswith("-adapted")}
    assert {*READY, *BUILD, "vdsen2"} == METHODS.keys() - adapted


@pytest.mark.parametrize("name", READY)
def test_what_is_ready_leaves_no_seam_and_keeps_to_its_gap(name):
    sharpener = load_sharpener(name, device="cpu", precision="float32")
    want = Box(90_003, 90_016, 8_341, 8_352)
    have = want.grow(context(sharpener))
    data = native(landscape(have.pixels(10), 9))
    hole = Box(90_007, 90_009, 8_345, 8_347)
    for band, values in data.items():
        values[have.slices(hole, BANDS[band].gsd)] = np.nan
    small, large = (sharpen_block(data, have, want, sharpener, side) for side in (6, 8))
    gone = np.zeros(want.pixels(10), dtype=bool)
    gone[want.slices(hole, 10)] = True
    for band in sharpener.bands:
        assert np.isnan(small[band][gone]).all()
        assert np.isfinite(small[band][~gone]).all()
        apart = 1e4 * np.abs(small[band] - large[band])[~gone].max()
        assert apart <= sharpener.tolerance + 0.05


@pytest.mark.parametrize("name", READY)
def test_what_is_ready_travels_to_workers_and_is_the_same_there(name):
    sharpener = load_sharpener(name, device="cpu")
    assert pickle.loads(pickle.dumps(sharpener)).digest == sharpener.digest
