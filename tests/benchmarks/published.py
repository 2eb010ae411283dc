"""The papers' networks where a run's own differ: they read back-projected bands, and so the whole picture, whose own
statistics their batch norms take throughout.

Facts are from the papers and the authors' published codes; the arrangement is this project's.
"""

import torch
from torch import Tensor, nn

from s2sharp_core.bands import BY_GSD, GSDS, ratio
from s2sharp_core.networks import SkipNet, UnrolledNet
from s2sharp_core.sensor.observation import pseudo_inverse
from s2sharp_core.sensor.response import Sensor
from s2sharp_core.sensor.upsampling import upsample

__all__ = ["Hourglass", "deep_sure", "unrolled"]

# Regularisation of the back-projection that the networks read.
_RHO = 1e-3


def back_projected(y10: Tensor, y20: Tensor, y60: Tensor, sensor: Sensor) -> Tensor:
    """All twelve bands by Aᵀ (A Aᵀ + ρ)⁻¹: (n, 12, 6h, 6w)."""
    with torch.autocast(y10.device.type, enabled=False):
        parts = zip(GSDS, (y10, y20, y60), strict=True)
        bands = [pseudo_inverse(y, BY_GSD[g], ratio(g), _RHO, sensor) for g, y in parts]
    return torch.cat(bands, dim=1)


def _unfrozen(net: nn.Module) -> nn.Module:
    """The network with batch norms that keep no statistics."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return net


class _ProjectedSkipNet(SkipNet):
    """A :class:`SkipNet` that reads back-projected bands."""

    sensor: Sensor

    def stack(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        return back_projected(y10, y20, y60, self.sensor)


def deep_sure(sensor: Sensor, projected: bool = True) -> nn.Module:
    """Deep SURE's network: 64 features, five depths, connections of four; it reads ``projected`` bands, or interpolated ones."""
    kind = _ProjectedSkipNet if projected else SkipNet
    net = kind(GSDS, features=64, depth=5, skips=4, norm="batch", residual=False)
    net.sensor = sensor  # type: ignore[assignment]
    return _unfrozen(net)


class _Layer(nn.Sequential):
    def __init__(self, inputs: int, features: int, size: int, stride: int = 1) -> None:
        conv = nn.Conv2d(inputs, features, size, stride, padding=size // 2)
        super().__init__(conv, nn.BatchNorm2d(features), nn.LeakyReLU(0.2))


class Hourglass(nn.Module):
    """The denoiser of the unrolled ADMM: five strides of two down, and up again with narrow connections.

    The sides of its picture are multiples of 32 pixels. As everywhere here, bands are standardised and the output is
    linear, where the paper's is a sigmoid.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, sensor: Sensor, features: int = 128, skips: int = 4, strides: int = 5
    ) -> None:
        super().__init__()
        self.sensor = sensor
        inputs = [12] + [features] * (strides - 1)
        self.down = nn.ModuleList(
            nn.Sequential(_Layer(n, features, 3, 2), _Layer(features, features, 3)) for n in inputs
        )
        self.across = nn.ModuleList(_Layer(n, skips, 1) for n in inputs)
        both = features + skips
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(both), _Layer(both, features, 3), _Layer(features, features, 1)
            )
            for _ in inputs
        )
        self.tail = nn.Conv2d(features, 12, 1)
        self.register_buffer("mean", torch.zeros(12))
        self.register_buffer("spread", torch.ones(12))

    def standardise(self, y10: Tensor, y20: Tensor, y60: Tensor) -> None:
        """As :meth:`SkipNet.standardise`."""
        bands = [b for y in (y10, y20, y60) for b in y.unbind(1)]
        self.mean.copy_(torch.stack([b.mean() for b in bands]))
        self.spread.copy_(torch.stack([b.std() for b in bands]))

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (1, 4, 6h, 6w), (1, 6, 3h, 3w), (1, 2, h, w) → (1, 12, 6h, 6w)."""
        mean, spread = self.mean[:, None, None], self.spread[:, None, None]
        out = (back_projected(y10, y20, y60, self.sensor) - mean) / spread
        skips = []
        for down, across in zip(self.down, self.across, strict=True):
            skips.append(across(out))
            out = down(out)
        for up in self.up:
            out = up(torch.cat([skips.pop(), upsample(out, 2, "linear")], dim=1))
        return mean + spread * self.tail(out).to(y10.dtype)


def unrolled(sensor: Sensor) -> nn.Module:
    """The unrolled ADMM's network: the hourglass, and a data step of ρ = 10."""
    net = UnrolledNet(features=1, depth=1, skips=1, rho=10.0, sensor=sensor)
    net.denoiser = Hourglass(sensor)  # type: ignore[assignment]
    return _unfrozen(net)
