"""The skip network that Nguyen et al. use for SSC-CNN and Deep SURE.

It has an encoder and a decoder of ``depth`` convolutions each, all at 10 m, without pooling. A narrow 1×1
convolution connects every encoder layer to its decoder layer; in the published codes the deepest one lacks it.
Each depth has its own convolutions and normalisation (the published Deep SURE code shares one batch norm
between depths, so its running statistics have no meaning). The output is linear (the published sigmoid cannot
give a reflectance below 0 or above 1).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from ..bands import BY_GSD
from ..sensor.upsampling import upsample
from .kinds import Standardised, convolved, known_as
from .receptive_field import support_of

Norm = Literal["none", "batch"]


class _BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose input, output and tangents are of one type under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if x.dtype.itemsize < 4 else x
            return super().forward(wide).to(x.dtype)


class _Layer(nn.Sequential):
    def __init__(self, inputs: int, features: int, size: int, norm: Norm, slope: float) -> None:
        modules: list[nn.Module] = [nn.Conv2d(inputs, features, size, padding=size // 2)]
        if norm == "batch":
            modules.append(_BatchNorm(features, momentum=None))
        super().__init__(*modules, nn.LeakyReLU(slope))


@known_as("skip")
class SkipNet(Standardised):
    """All bands that it reads, at 10 m → the bands of ``gsds`` at 10 m.

    Coarse bands are interpolated by Keys' cubic convolution. Every band is standardised with the constants
    ``mean`` and ``spread`` (of the sample it is fitted to, stored with the weights). The network's output, in
    units of ``spread``, is added to the interpolated bands.

    Parameters
    ----------
    gsds
        GSDs of the bands it sharpens: (20,), (60,) or (10, 20, 60). It reads all bands up to the coarsest.
    features, depth, skips
        Width and number of the layers on each side, and the width of the connections between them.
    norm
        ``"none"``, or ``"batch"``, whose statistics belong to the weights: in ``eval`` mode, nothing depends on the
        window's other pixels.
    slope
        Slope of the leaky ReLU.
    residual
        Whether the interpolated bands are added to the output.
    """

    def __init__(
        self,
        gsds: tuple[int, ...] = (20,),
        features: int = 128,
        depth: int = 3,
        skips: int = 25,
        norm: Norm = "none",
        slope: float = 0.2,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.config = {
            "gsds": list(gsds),
            "features": features,
            "depth": depth,
            "skips": skips,
            "norm": norm,
            "slope": slope,
            "residual": residual,
        }
        self.gsds = tuple(gsds)
        self.depth = depth
        self.residual = residual
        self.bands = tuple(band for gsd in self.gsds for band in BY_GSD[gsd])
        self.reads = tuple(b for g in (10, 20, 60) if g <= max(gsds) for b in BY_GSD[g])

        def layer(inputs: int, width: int = features, size: int = 3) -> _Layer:
            return _Layer(inputs, width, size, norm, slope)

        self.down = nn.ModuleList(layer(features if i else len(self.reads)) for i in range(depth))
        self.across = nn.ModuleList(layer(features, skips, 1) for _ in range(depth))
        self.bottom = layer(features)
        self.up = nn.ModuleList(layer(features + skips) for _ in range(depth))
        self.tail = nn.Conv2d(features, len(self.bands), 1)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
        if residual:
            nn.init.zeros_(self.tail.weight)
        self.register_buffer("mean", torch.zeros(len(self.reads)))
        self.register_buffer("spread", torch.full((len(self.reads),), 0.2))

    @property
    def radius(self) -> int:
        """10 m pixels that an output pixel depends on in each direction: one per 3×3 convolution."""
        return 2 * self.depth + 1

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid."""
        return support_of(self.radius, "cubic", max(self.gsds))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions per 10 m pixel."""
        return convolved(self)

    def stack(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Stack the bands that it reads, interpolated to 10 m: (n, reads, 6h, 6w), reflectance."""
        parts = [y10, upsample(y20, 2, "cubic")]
        if max(self.gsds) == 60:
            parts.append(upsample(y60, 6, "cubic"))
        return torch.cat(parts, dim=1)

    def refine(self, x: Tensor) -> Tensor:
        """Apply the network to :meth:`stack`: (n, bands, 6h, 6w), reflectance."""
        mean, spread = self.mean[:, None, None], self.spread[:, None, None]
        first = len(self.reads) - len(self.bands)
        out = (x - mean) / spread
        skips = []
        for down, across in zip(self.down, self.across, strict=True):
            out = down(out)
            skips.append(across(out))
        out = self.bottom(out)
        for up in self.up:
            out = up(torch.cat([out, skips.pop()], dim=1))
        out = spread[first:] * self.tail(out).to(x.dtype)
        return out + (x[:, first:] if self.residual else mean[first:])

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, bands, 6h, 6w)."""
        return self.refine(self.stack(y10, y20, y60))
