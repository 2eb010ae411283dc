"""The network of S2S-UCNN: three branches, each on the grid of its bands, each added to the next finer one.

Nguyen et al. (IEEE JSTARS 14, 2021, doi:10.1109/JSTARS.2021.3092286). Features of the 60 m bands are interpolated to
20 m and enter a decoder, which adds the layers of the encoder of the 20 m bands. Its output is interpolated to 10 m, and a
second decoder does the same with the 10 m bands. Bands are read at native resolution: only features are interpolated.
"""

from itertools import zip_longest

import torch
from torch import Tensor, nn

from ..bands import BY_GSD, GSDS, SIZES
from ..sensor.upsampling import reach, upsample
from .kinds import Standardised, convolved, known_as

_SLOPE = 0.2


class _PixelNorm(nn.Module):
    """Layer normalisation over the features of each pixel, without statistics over the window."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if x.dtype.itemsize < 4 else x
            y = self.norm(wide.permute(0, 2, 3, 1))
        return y.to(x.dtype).permute(0, 3, 1, 2)


class _Layer(nn.Sequential):
    def __init__(self, inputs: int, features: int) -> None:
        conv = nn.Conv2d(inputs, features, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, _SLOPE)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        super().__init__(conv, _PixelNorm(features), nn.LeakyReLU(_SLOPE))


class _Branch(nn.Module):
    """An encoder of the bands of one grid, and a decoder of the features from the coarser grid."""

    def __init__(self, bands: int, features: int, depth: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            _Layer(features if i else bands, features) for i in range(depth)
        )
        self.decoder = nn.ModuleList(_Layer(features, features) for _ in range(depth + 1))

    def forward(self, y: Tensor, coarser: Tensor) -> Tensor:
        skips = []
        for layer in self.encoder:
            y = layer(y)
            skips.append(y)
        out = coarser
        for layer, skip in zip_longest(self.decoder, skips):
            out = layer(out)
            out = out if skip is None else out + skip
        return out


@known_as("three-grids")
class ThreeGridNet(Standardised):
    """All bands at native resolution → all twelve at 10 m.

    Every band is standardised with the constants ``mean`` and ``spread`` (of the sample it is fitted to, stored with
    the weights). The output is linear, because the paper's sigmoid cannot give a reflectance below 0 or above 1.

    Parameters
    ----------
    features, depth
        Width and number of the layers of an encoder; the paper's net, of 2.4 million parameters, has 128 and 4.
    """

    def __init__(self, features: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.config = {"features": features, "depth": depth}
        self.depth = depth
        self.bands = tuple(band for gsd in GSDS for band in BY_GSD[gsd])
        self.reads = self.bands
        self.head60 = _Layer(len(BY_GSD[60]), features)
        self.branch20 = _Branch(len(BY_GSD[20]), features, depth)
        self.branch10 = _Branch(len(BY_GSD[10]), features, depth)
        self.tail = nn.Conv2d(features, len(self.bands), 1)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.zeros(len(self.bands)))
        self.register_buffer("spread", torch.full((len(self.bands),), 0.2))

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid."""
        deep = self.depth + 1
        before, after = (side + deep for side in reach(deep, 2, "linear"))
        # The 20 m pixel i lies at (i - 1) / 3 on the 60 m grid. Its interpolation reads one pixel more.
        first, last = (-1 - before) // 3 - 1, -(-(1 + after) // 3) + 1
        return {10: (deep, deep), 20: (before, after), 60: (-first, last)}

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions per 10 m pixel."""
        fine = convolved(self.branch10) + convolved(self.tail)
        return round(fine + convolved(self.branch20) / 4 + convolved(self.head60) / 36)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, 12, 6h, 6w)."""
        mean, spread = self.mean[:, None, None], self.spread[:, None, None]
        of_grid = zip((y10, y20, y60), mean.split(SIZES), spread.split(SIZES), strict=True)
        x10, x20, x60 = ((y - m) / s for y, m, s in of_grid)
        at20 = self.branch20(x20, upsample(self.head60(x60), 3, "linear"))
        at10 = self.branch10(x10, upsample(at20, 2, "linear"))
        return mean + spread * self.tail(at10).to(y10.dtype)
