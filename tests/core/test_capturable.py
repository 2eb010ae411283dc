"""A pass of a net sends nothing from the host and waits for nothing, once its constants are there: so it can be recorded."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BY_GSD, COARSE
from s2sharp_core.networks import GuardedNet, ResidualNet, S2Net
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sharpeners import NetSharpener
from s2sharp_core.sharpeners.error90 import WithError90
from s2sharp_core.sharpeners.loading import unfitted_sharpener
from s2sharp_core.sharpeners.methods import METHODS
from s2sharp_core.sharpeners.trust import WithTrust

ATEN = torch.ops.aten
# They hand numbers or sizes to the host; a list as an index is sent from there.
WAITING = (ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN.equal, ATEN.index)
CELLS = 40


class Watched(TorchDispatchMode):
    """Names of operations for which a device, played by ``meta``, would wait for the host or the host for it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        every = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        if len({x.device for x in every}) > 1 or func.overloadpacket in WAITING:
            self.found.add(str(func))
        return out


def shifted():
    bands = ("B01", "B05", "B8A", "B11")
    moved = [replace(SENTINEL2.response(b), dy=0.1 * i, dx=0.3) for i, b in enumerate(bands)]
    return replace(SENTINEL2, responses=tuple(moved))


def guarded():
    instead = {"B05": "bicubic", "B11": "atprk", "B01": "atprk", "B09": "bicubic"}
    nets = {"a": GuardedNet(S2Net(8, 1), SENTINEL2, instead)}
    return NetSharpener("guarded", COARSE, nets, {}, Path())


def dsen2():
    nets = {str(gsd): ResidualNet(gsd, 16, 2) for gsd in (20, 60)}
    return NetSharpener("dsen2", COARSE, nets, {}, Path())


def layers(bands=COARSE):
    return WithError90(
        WithTrust(load_sharpener("s2net-s", bands, device="cpu", precision="float32"))
    )


MADE = {
    "guarded": guarded,
    "large dsen2": dsen2,
    "trust and error90": layers,
    "trust and error90 of some": lambda: layers(("B06", "B12")),
    **{
        name: lambda name=name: unfitted_sharpener(name, device="cpu", precision="float32")
        for name in METHODS
        if name != "vdsen2"  # a larger dsen2
    },
}


@pytest.mark.parametrize("sensor", [SENTINEL2, shifted()], ids=["in place", "shifted"])
@pytest.mark.parametrize("name", MADE)
def test_a_pass_waits_neither_for_the_host_nor_the_host_for_it(name, sensor, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    sharpener = MADE[name]()
    sharpener.see_with(sensor)
    bare = sharpener
    while hasattr(bare, "inner"):
        bare = bare.inner
    for net in getattr(bare, "nets", ()):
        net.to("meta")
    sides = ((gsd, 60 // gsd * CELLS) for gsd in (10, 20, 60))
    inputs = [
        torch.zeros(2, sum(b in sharpener.reads for b in BY_GSD[gsd]), side, side, device="meta")
        for gsd, side in sides
    ]
    known = torch.ones(2, 1, CELLS, CELLS, device="meta")
    with torch.inference_mode():
        sharpener.sharpen_inner(*inputs, known)
        with Watched() as watched:
            out = sharpener.sharpen_inner(*inputs, known)
    assert not watched.found
    assert {x.device.type for x in out.values()} == {"meta"}


def test_a_look_at_a_value_and_a_constant_of_the_host_are_found():
    """The test above would see them."""
    x = torch.zeros(3, device="meta")
    with Watched() as watched:
        torch.tensor([1.0, 2.0, 3.0]).to(x)
        torch.zeros(3).sum().item()
        x[[0, 2]]
    assert {name.split(".")[1] for name in watched.found} == {
        "_to_copy",
        "_local_scalar_dense",
        "index",
    }
