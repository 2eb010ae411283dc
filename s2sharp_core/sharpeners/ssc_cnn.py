"""SSC-CNN (Nguyen et al., IGARSS 2020): zero-shot, trained on the scene itself at reduced resolution.

The paper learns the six 20 m bands at half the resolution, where they are their own truth (Wald's protocol), and
applies the network at full resolution. Here the idea also serves 60 m, which the paper does not do: B01 and B09 are
degraded by six, with the 10 and 20 m bands degraded as much.

The network returns a correction of the interpolated bands. So it begins as interpolation, and a short fit is close to
it (other differences from the paper: docs/methods.md).

A fit is a number of steps, each of 64 patches drawn anew, whatever the size of the sample. The default of 1 800 steps
is the paper's 200 epochs of its image (204 × 204 pixels: 576 patches), and 14 epochs of a run's sample at 20 m.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import GSDS
from ..learning.dsen2 import Pair, wald_pair
from ..learning.fitting import Curve, optimise
from ..learning.options import FitCourse
from ..networks import SkipNet
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from .fitted import fitted
from .methods import known

# Values of the paper: patches of 16 × 16 with stride 8, 64 at a time.
_PATCH, _STRIDE, _BATCH = 16, 8, 64
_RATE = 5e-4


def fit_pairs(net: SkipNet, pairs: Sequence[Pair], course: FitCourse) -> Curve:
    """Fit ``net`` to pairs of inputs and truth: mean squared error over 64 random patches a step, Adam."""
    net.standardise(*(torch.stack([p.inputs[g] for p in pairs]) for g in GSDS))
    device = net.mean.device
    with torch.no_grad():
        stacks = [net.stack(*(p.inputs[g][None] for g in GSDS)) for p in pairs]
        x = torch.cat([_patches(s) for s in stacks])
        truth = torch.cat([_patches(p.truth[None]) for p in pairs])
    spread = net.spread[-truth.shape[1] :, None, None]
    size = min(_BATCH, len(x))

    def loss(random: torch.Generator) -> Tensor:
        chosen = torch.randperm(len(x), generator=random)[:size].to(device)
        with torch.autocast(device.type, torch.bfloat16):
            guess = net.refine(x[chosen].to(memory_format=torch.channels_last))
        return F.mse_loss(guess.float() / spread, truth[chosen] / spread)

    return optimise(net, loss, course, rate=_RATE)


def _patches(x: Tensor) -> Tensor:
    """Cut (1, bands, H, W) → (n, bands, 16, 16), overlapping by half."""
    x = x.unfold(2, _PATCH, _STRIDE).unfold(3, _PATCH, _STRIDE)
    return x.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], _PATCH, _PATCH)


def learn(net: SkipNet, sample: Sample, sensor: Sensor, course: FitCourse) -> Curve:
    pairs = [wald_pair(window, net.gsds[0], sensor) for window in sample.windows()]
    return fit_pairs(net, pairs, course)


METHODS = (
    fitted(
        known("ssc_cnn"),
        nets={f"ssc_cnn-{gsd}m.safetensors": partial(SkipNet, (gsd,)) for gsd in (20, 60)},
        learn=learn,
        guard=True,
        constants={"rate": _RATE, "patch": _PATCH, "stride": _STRIDE, "batch": _BATCH},
    ),
)
