"""What nobody needs is not computed, and what is needed stays as it was."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from s2sharp_core.bands import GSDS
from s2sharp_core.networks import S2Net, fused_convolutions
from s2sharp_core.sensor.response import LARGEST_SHIFT, Response, Sensor
from s2sharp_core.sensor.simulate import landscape, observe

SHIFT = 0.97 * LARGEST_SHIFT


def shifted():
    """A band of each grid lies off by nearly a pixel, one each way."""
    return Sensor(
        responses=(
            Response("B09", 0.3, 0.6, SHIFT, -SHIFT),
            Response("B11", 0.3, 0.6, -SHIFT, SHIFT),
        )
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_a_halo_that_nobody_needs_changes_nothing_inside(dtype, blocks):
    """float32 takes the fused operators, float64 does not."""
    torch.manual_seed(blocks)
    net = S2Net(8, blocks).to(dtype).eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.15)
    net.see_with(shifted())
    halo = max(-(-max(reach) // (60 // g)) for g, reach in net.support.items())
    seen = observe(landscape((6 * (2 * halo + 4),) * 2, 5), seed=5)
    inputs = [torch.from_numpy(seen[g])[None].to(dtype) for g in GSDS]
    two = [torch.cat([y, y.flip(-1)]) for y in inputs]
    with torch.inference_mode():
        whole = net(*inputs)
        inner = net(*inputs, halo=halo)
        both = net(*two, halo=halo)
    core = slice(6 * halo, -6 * halo)
    exact = {"rtol": 0, "atol": 1e-6 if dtype == torch.float32 else 1e-13}
    torch.testing.assert_close(inner[..., core, core], whole[..., core, core], **exact)
    torch.testing.assert_close(both[:1], inner, **exact)
    assert not inner[..., : 6 * halo, :].any()


@pytest.mark.parametrize("width", [32, 30])
@pytest.mark.parametrize("less", [0, 1])
def test_several_pixels_at_once_are_what_each_is_alone(width, less):
    torch.manual_seed(3)
    layer = nn.Conv2d(16, 4, 3, padding=1, bias=False)
    x = torch.randn(1, 16, 20, width).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        if not fused_convolutions.supported(x):
            pytest.skip("this build of torch has no fused operators")
        found = fused_convolutions.Fused(layer).few(x, less)
        expected = F.conv2d(x, layer.weight, padding=(1 - less, 1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
