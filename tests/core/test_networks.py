import itertools

import pytest
import torch

from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.networks import ResidualNet, SkipNet, ThreeGridNet, UnrolledNet

# 11 cells, of which the middle one is looked at.
CELLS, MIDDLE = 11, 5


def positive(net):
    """All weights and biases positive, so that no two paths from an input to an output cancel."""
    net = net.double().eval()
    random = torch.Generator().manual_seed(7)
    for p in net.parameters():
        p.data = torch.rand(p.shape, generator=random, dtype=torch.float64) * 0.2 + 0.05
    return net


def positive_net(gsd, blocks):
    return positive(ResidualNet(gsd, features=2, blocks=blocks))


def positive_inputs(cells=CELLS):
    random = torch.Generator().manual_seed(8)
    return {
        gsd: torch.rand(
            1, len(bands), *[cells * 60 // gsd] * 2, generator=random, dtype=torch.float64
        ).requires_grad_()
        for gsd, bands in BY_GSD.items()
    }


def touched(net, inputs, rows, cols):
    """By GSD, which positions (h, w) the output pixels depend on: for each input band alike."""
    outputs = net(*inputs.values())[..., rows, cols].sum()
    grads = torch.autograd.grad(outputs, list(inputs.values()), allow_unused=True)
    out = {}
    for gsd, grad in zip(inputs, grads, strict=True):
        if grad is not None:
            maps = grad[0] != 0
            assert (maps == maps[0]).all(), f"bands of {gsd} m differ"
            out[gsd] = maps[0]
    return out


def square(side, first, last):
    """True in rows and columns first … last of a square picture."""
    picture = torch.zeros(side, side, dtype=torch.bool)
    picture[first : last + 1, first : last + 1] = True
    return picture


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("gsd", [20, 60])
def test_a_cell_depends_on_exactly_the_computed_support(gsd, blocks):
    net, inputs = positive_net(gsd, blocks), positive_inputs()
    cell = slice(6 * MIDDLE, 6 * MIDDLE + 6)
    found = touched(net, inputs, cell, cell)
    assert set(found) == set(net.support) == {g for g in BY_GSD if g <= gsd}
    for g, picture in found.items():
        n, (before, after) = 60 // g, net.support[g]
        expected = square(CELLS * n, MIDDLE * n - before, (MIDDLE + 1) * n - 1 + after)
        assert torch.equal(picture, expected), f"grid of {g} m"


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("gsd", [20, 60])
def test_each_of_a_cells_36_pixels_depends_on_exactly_its_part_of_the_support(gsd, blocks):
    net, inputs = positive_net(gsd, blocks), positive_inputs()
    union = {}
    for i in range(6 * MIDDLE, 6 * MIDDLE + 6):
        for j in range(6 * MIDDLE, 6 * MIDDLE + 6):
            found = touched(net, inputs, slice(i, i + 1), slice(j, j + 1))
            rows, cols = (slice(k - net.radius, k + net.radius + 1) for k in (i, j))
            expected = torch.zeros_like(found[10])
            expected[rows, cols] = True
            assert torch.equal(found[10], expected)
            for g, picture in found.items():
                union[g] = union.get(g, False) | picture
    for g, picture in union.items():
        n, (before, after) = 60 // g, net.support[g]
        whole = square(CELLS * n, MIDDLE * n - before, (MIDDLE + 1) * n - 1 + after)
        assert torch.equal(picture, whole), f"grid of {g} m"


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("norm", "depth"), [("none", 1), ("none", 3), ("batch", 2)])
@pytest.mark.parametrize("gsds", [(20,), (60,), GSDS])
def test_a_skip_net_depends_on_exactly_the_computed_support(gsds, norm, depth, residual):
    """Frozen as it is used: with batch norms, the statistics belong to the weights."""
    net = positive(SkipNet(gsds, 4, depth, 2, norm, residual=residual))
    inputs = positive_inputs()
    cell = slice(6 * MIDDLE, 6 * MIDDLE + 6)
    found = touched(net, inputs, cell, cell)
    assert set(found) == set(net.support) == {g for g in BY_GSD if g <= max(gsds)}
    for g, picture in found.items():
        n, (before, after) = 60 // g, net.support[g]
        expected = square(CELLS * n, MIDDLE * n - before, (MIDDLE + 1) * n - 1 + after)
        assert torch.equal(picture, expected), f"grid of {g} m"


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_net_of_three_grids_depends_on_exactly_the_computed_support(depth):
    net, inputs = positive(ThreeGridNet(4, depth)), positive_inputs()
    cell = slice(6 * MIDDLE, 6 * MIDDLE + 6)
    found = touched(net, inputs, cell, cell)
    assert set(found) == set(net.support) == set(BY_GSD)
    for g, picture in found.items():
        n, (before, after) = 60 // g, net.support[g]
        expected = square(CELLS * n, MIDDLE * n - before, (MIDDLE + 1) * n - 1 + after)
        assert torch.equal(picture, expected), f"grid of {g} m"


def test_an_unrolled_net_depends_on_its_support_and_on_the_rest_within_its_tolerance():
    """Its Fourier step has no end. What its denoiser reads, it reads everywhere; of what lies beyond the
    computed support, changes by a whole unit of reflectance move a value by no more than the tolerance,
    and as much again as they move the denoiser's picture."""
    net = positive(UnrolledNet(4, 1, 2, "none", rho=0.1))
    net.denoiser.tail.weight.data *= 0.001
    halo = max(-(-max(reach) // (60 // g)) for g, reach in net.support.items())
    cells, middle = 2 * halo + 5, halo + 2
    inputs = positive_inputs(cells)
    cell = slice(6 * middle, 6 * middle + 6)
    found = touched(net.denoiser, inputs, cell, cell)
    everywhere = touched(net, inputs, cell, cell)
    assert all((everywhere[g] | ~found[g]).all() for g in GSDS)
    pictures = net(*inputs.values()), net.denoiser(*inputs.values())

    def beyond(grads, share):
        """DN, what lies farther than so much of the support can do to a value."""
        total = 0.0
        for g, grad in zip(GSDS, grads, strict=True):
            n, (before, after) = 60 // g, (round(share * r) for r in net.support[g])
            far = grad.abs().clone()
            near = slice(middle * n - before, (middle + 1) * n + after)
            far[..., near, near] = 0
            total += 1e4 * float(far.sum())
        return total

    closer = []
    for band, (i, j) in itertools.product((4, 8, 10, 11), ((0, 0), (2, 5))):
        grads, own = (
            torch.autograd.grad(
                x[0, band, 6 * middle + i, 6 * middle + j], list(inputs.values()), retain_graph=True
            )
            for x in pictures
        )
        gain = sum(float(grad.abs().sum()) for grad in own)
        assert gain < 1
        assert 0 < beyond(grads, 1) <= net.tolerance * (1 + gain)
        closer.append(beyond(grads, 1 / 3))
    assert max(closer) > net.tolerance


def test_the_papers_depth_reads_14_pixels_on_each_side():
    assert ResidualNet(20, blocks=6).radius == 14


@pytest.mark.parametrize("gsd", [20, 60])
def test_an_untrained_net_interpolates(gsd):
    inputs = {g: y.detach() for g, y in positive_inputs().items()}
    net = ResidualNet(gsd, features=4, blocks=2).double()
    with torch.no_grad():
        x = net(*inputs.values())
    r = gsd // 10
    ramp = torch.nn.functional.interpolate(inputs[gsd], scale_factor=r, mode="bilinear")
    assert torch.allclose(x, ramp, atol=1e-12)


def test_what_a_net_reads_is_all_that_is_at_least_as_fine():
    assert ResidualNet(20, 2, 1).reads == BY_GSD[10] + BY_GSD[20]
    assert ResidualNet(60, 2, 1).reads == BY_GSD[10] + BY_GSD[20] + BY_GSD[60]
