"""SSC-CNN (Nguyen et al., IGARSS 2020): zero-shot, trained on the scene itself at reduced resolution.

The paper learns the six 20 m bands at half the resolution, where they are their own truth (Wald's protocol), and
applies the network at full resolution. Here the idea also serves 60 m, which the paper does not do: B01 and B09 are
degraded by six, with the 10 and 20 m bands degraded as much.

**Differences from the paper's network.** All three encoder layers reach the decoder; in the authors' code, two do.
The slope of the leaky ReLU is 0.2 (theirs: 0.01). The network returns a correction of the interpolated bands, and
theirs the bands themselves. So it begins as interpolation, and a short fit is close to it.

**Length of a fit.** The paper goes 200 times (epochs) over all patches of one image. Here a fit is a number of steps,
each of 64 patches drawn anew from all of them, whatever the size of the sample. The default of 1 800 steps is 200
epochs of the paper's image alone (204 × 204 pixels: 576 patches, 9 steps an epoch). A run's sample of 16 windows of
64 cells has 8 464 patches for 20 m, so 1 800 steps are 14 epochs. For 60 m it has 576 patches, so they are 200
epochs.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import GSDS
from ..learning.dsen2 import Pair, wald_pair
from ..learning.fitting import Curve, optimise
from ..learning.options import Course
from ..networks import SkipNet
from ..sensor.known import Sensor
from ..sensor.sample import Sample
from .fitted import fitted
from .methods import known

# Values of the paper: patches of 16 × 16 with stride 8, 64 at a time.
_PATCH, _STRIDE, _BATCH = 16, 8, 64
_RATE = 5e-4


def fit_pairs(net: SkipNet, pairs: Sequence[Pair], course: Course) -> Curve:
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


def learn(net: SkipNet, sample: Sample, sensor: Sensor, course: Course) -> Curve:
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
