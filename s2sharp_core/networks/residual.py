"""The residual network of DSen2 (Lanaras et al., ISPRS J. 146, 2018, doi:10.1016/j.isprsjprs.2018.09.018)."""

import torch
from torch import Tensor, nn

from ..bands import BY_GSD
from ..sensor.upsampling import upsample
from .kinds import convolved, known_as
from .precision import Arithmetic, arithmetic
from .receptive_field import support_of

# Reflectance 0.2 enters the net as 1: the paper divides DN by 2000.
_UNIT = 0.2
_RESIDUAL_SCALE = 0.1


class _Block(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.second(torch.relu(self.first(x)))
        return correction


@known_as("residual")
class ResidualNet(nn.Module):
    """Predicts the error of interpolation for all bands of one GSD, from all bands at least as fine.

    Coarse bands are interpolated bilinearly to 10 m and stacked with the 10 m bands. A convolution,
    ``blocks`` residual blocks and a convolution give the correction that is added to the interpolated
    bands. There is no normalisation layer, so nothing depends on the window's other pixels.

    Parameters
    ----------
    gsd
        GSD of the bands it sharpens: 20 (reads 10 and 20 m) or 60 (reads 10, 20 and 60 m).
    features, blocks
        Width and depth; the paper's DSen2 has 128 and 6.
    """

    arithmetic: Arithmetic = "float32"
    narrow = True

    def __init__(self, gsd: int, features: int = 48, blocks: int = 6) -> None:
        super().__init__()
        self.config = {"gsd": gsd, "features": features, "blocks": blocks}
        self.gsd = gsd
        self.features = features
        self.blocks = blocks
        self.bands = BY_GSD[gsd]
        self.reads = tuple(band for g in (10, 20, 60) if g <= gsd for band in BY_GSD[g])
        self.head = nn.Conv2d(len(self.reads), features, 3, padding=1)
        self.body = nn.Sequential(*(_Block(features) for _ in range(blocks)))
        self.tail = nn.Conv2d(features, len(self.bands), 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.tail.weight)

    @property
    def radius(self) -> int:
        """10 m pixels that an output pixel depends on in each direction: one per 3×3 convolution."""
        return 2 + 2 * self.blocks

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid."""
        return support_of(self.radius, "linear", self.gsd)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions per 10 m pixel."""
        return convolved(self)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, bands, 6h, 6w)."""
        up20 = upsample(y20, 2, "linear")
        stack = [y10, up20]
        coarse = up20
        if self.gsd == 60:
            coarse = upsample(y60, 6, "linear")
            stack.append(coarse)
        x = torch.relu(self.head(torch.cat(stack, dim=1) / _UNIT))
        for block in self.body:
            with arithmetic(self.arithmetic, x.device):
                correction = block(x)
            # The picture stays float32: bfloat16 would keep eight bits of it, an error of a few DN.
            x = x + _RESIDUAL_SCALE * correction.to(x.dtype)
        return coarse + _UNIT * self.tail(x)
