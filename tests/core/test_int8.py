"""Networks in eight bits: what whole numbers must give, and when they are used."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from s2sharp_core import S2SharpError, load_sharpener
from s2sharp_core.networks import S2Net
from s2sharp_core.networks.corrector import READS, Corrector
from s2sharp_core.networks.int8 import ZERO, packed, rounded, supported
from s2sharp_core.sensor.simulate import landscape
from s2sharp_core.weights import SHIPPED, load_net, save_net

from .scenes import native

vnni = pytest.mark.skipif(
    not supported(), reason="no processor with VNNI: nets compute in bfloat16"
)


def corrector(features=16, blocks=2):
    torch.manual_seed(0)
    net = Corrector(features, blocks).eval().requires_grad_(False)
    torch.nn.init.normal_(net.tail.weight, std=0.1)
    return net


def taught(x):
    net = corrector()
    net.learn_ranges([x])
    return net


def in_int8(net, x, rim=0):
    eight = rounded(x.clone(), net.read).to(torch.uint8)
    return net(eight.contiguous(memory_format=torch.channels_last), rim)


@vnni
@pytest.mark.parametrize("rim", [0, 4])
@pytest.mark.parametrize("width", [24, 27])
def test_a_net_in_eight_bits_gives_what_it_gives_in_float32(rim, width):
    x = torch.randn(1, READS, 30, width)
    net = taught(x)
    with torch.inference_mode():
        exact, eight = net(x, rim), in_int8(net, x, rim)
    assert eight.dtype == torch.float32
    assert eight.shape == exact.shape
    assert (eight - exact).square().mean().sqrt() < 0.15 * exact.square().mean().sqrt()


@vnni
def test_a_layer_sums_whole_numbers_exactly():
    """Integers by another way: the sum in float64, then one rounding."""
    layer = torch.nn.Conv2d(7, 16, 3, padding=1, bias=False).requires_grad_(False)
    reads, gives = torch.rand(7) + 0.5, torch.rand(16) + 0.5
    x = torch.randint(0, 256, (1, 7, 9, 11))
    weight = layer.weight * (reads / 127)[:, None, None]
    scale = weight.abs().amax(dim=(1, 2, 3)) / 127
    small = (weight / scale[:, None, None, None]).round()
    sums = F.conv2d((x - ZERO).double(), small.double(), padding=1)
    steps = (scale * 127 / gives).double()[:, None, None]
    expected = ((sums * steps).clamp_min(0).round() + ZERO).clamp(0, 255)
    ready = packed(layer, reads, gives, signed=True)
    given = x.to(torch.uint8).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = ready.cut_off(given).double()
    # A product that lies between two numbers may be rounded either way.
    assert (found - expected).abs().max() <= 1
    assert (found != expected).double().mean() < 0.002
    assert (expected == 255).any(), "what is beyond the range is among them, and cut off"


def test_numbers_beyond_the_range_are_cut_off():
    x = torch.tensor([-9.0, -1.0, 0.0, 0.5, 1.0, 9.0]).reshape(1, 1, 1, 6)
    assert rounded(x, torch.ones(1)).flatten().tolist() == [0, 1, 128, 192, 255, 255]


@vnni
def test_eight_bits_change_a_picture_by_a_fraction_of_a_dn():
    data = native(landscape((240, 240), 4))
    inputs = [
        torch.stack([torch.from_numpy(data[b]) for b in bands])[None]
        for bands in (
            ("B02", "B03", "B04", "B08"),
            ("B05", "B06", "B07", "B8A", "B11", "B12"),
            ("B01", "B09"),
        )
    ]
    results = []
    for precision in ("float32", "int8"):
        sharpener = load_sharpener("s2net-m", device="cpu", precision=precision)
        with torch.inference_mode():
            results.append(sharpener.sharpen(*inputs))
    exact, eight = results
    for band, x in exact.items():
        off = 1e4 * (eight[band] - x)
        assert off.square().mean().sqrt() < 4, band
        assert off.mean().abs() < 0.3, band


def test_the_shipped_nets_compute_in_eight_bits_where_the_processor_can():
    for method in ("s2net-s", "s2net-m", "s2net-l"):
        assert load_net(SHIPPED / f"{method}.safetensors")[0].ranged
    sharpener = load_sharpener("s2net-m", device="cpu")
    assert (sharpener.arithmetic == "int8") == supported()


def test_weights_without_ranges_compute_as_before(tmp_path):
    """As those that were trained before there were any."""
    net = S2Net(8, 1)
    file = tmp_path / "s2net-m.safetensors"
    save_net(net, file, {})
    known = load_file(file)
    assert not load_net(file)[0].ranged
    older = {
        name: x for name, x in known.items() if not name.endswith(("read", "passed", "within"))
    }
    assert len(older) == len(known) - 6
    S2Net(8, 1).load_state_dict(older)
    assert load_sharpener("s2net-m", weights=tmp_path, device="cpu").arithmetic != "int8"
    with pytest.raises(S2SharpError, match="cannot compute in int8 on this machine"):
        load_sharpener("s2net-m", weights=tmp_path, device="cpu", precision="int8")
    with pytest.raises(S2SharpError, match="cannot compute in int8 on this machine"):
        load_sharpener("bicubic", device="cpu", precision="int8")


def test_a_processor_that_cannot_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("torch.cpu._is_vnni_supported", lambda: False)
    sharpener = load_sharpener("s2net-s", device="cpu", precision="float32")
    net = type(sharpener).load("s2net-s", sharpener.bands, sharpener.folder, sharpener.files)
    net.compute_in("auto")
    assert net.arithmetic != "int8"
    with pytest.raises(S2SharpError, match="VNNI"):
        net.compute_in("int8")


@vnni
def test_weights_that_change_are_packed_anew():
    x = torch.randn(1, READS, 24, 24)
    net = taught(x)
    with torch.inference_mode():
        before = in_int8(net, x)
    with torch.no_grad():
        net.tail.weight.mul_(2)
    with torch.inference_mode():
        after = in_int8(net, x)
    assert torch.allclose(after, 2 * before, atol=1e-4)
