"""Area-to-point regression kriging as a network without layers (Wang, Shi and Atkinson, ISPRS J. 114,
2016, doi:10.1016/j.isprsjprs.2016.02.006).

A band at 10 m is a linear regression on the 10 m bands plus the residual of the coarse band, brought to 10 m
by kriging. The kriging weights depend only on the covariance of the residual at 10 m and on the point spread
function: they are the same in every coarse pixel, one small filter per phase.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..bands import BY_GSD, ratio
from ..sensor.observation import autocorrelation, degrade, psf
from ..sensor.response import SENTINEL2, Sensor
from .kinds import known_as
from .receptive_field import blurring, farthest, pixels_before


def _covariance(length: float, lags: int) -> Tensor:
    """Return exp(-|lag| / length) at the lags -lags … lags of both axes: float64 (2·lags + 1, 2·lags + 1)."""
    at = torch.arange(-lags, lags + 1, dtype=torch.float64)
    return torch.exp(-torch.hypot(at[:, None], at[None, :]) / length)


def _filtered(c: Tensor, k: Tensor) -> Tensor:
    """Filter ``c`` with the separable ``k`` ⊗ ``k``; the result has no rim."""
    c = F.conv2d(c[None, None], k[None, None, :, None])
    return F.conv2d(c, k[None, None, None, :])[0, 0]


@lru_cache(maxsize=1024)
@torch.inference_mode(mode=False)
def seen_variogram(band: str, r: int, length: float, lags: int, sensor: Sensor) -> Tensor:
    """Return the semivariogram of coarse pixels at lags of 1 … ``lags`` of them, if the 10 m field has sill 1.

    The field's covariance is exp(-distance / length), ``length`` in 10 m pixels. The point spread function
    smooths it (geostatistics: regularisation). float64 (lags,).
    """
    both = autocorrelation(psf(band, r, sensor))
    c = _filtered(_covariance(length, lags * r + both.numel() // 2), both)
    row = c[c.shape[0] // 2, c.shape[1] // 2 :: r]
    return row[0] - row[1 : lags + 1]


def kriging_filters(
    band: str, r: int, length: float, radius: int, sensor: Sensor = SENTINEL2
) -> Tensor:
    """Return filters of ordinary kriging, from coarse pixels to the 10 m pixels of the central one.

    Parameters
    ----------
    length
        Length of the exponential covariance of the 10 m field, in 10 m pixels.
    radius
        Coarse pixels on each side.

    Returns
    -------
    Tensor
        float64 (r², 2·radius + 1, 2·radius + 1), a filter with sum 1 for each phase.
    """
    k = psf(band, r, sensor)
    both = autocorrelation(k)
    side = 2 * radius + 1
    lags = side * r + k.numel()
    field = _covariance(length, lags)
    between, across = _filtered(field, both), _filtered(field, k)
    taps = r * torch.cartesian_prod(torch.arange(side), torch.arange(side)) - r * radius
    at = torch.cartesian_prod(torch.arange(r), torch.arange(r))
    apart = taps[:, None] - taps[None, :] + between.shape[0] // 2
    # Offset of a 10 m pixel from the first 10 m pixel that a coarse one sees.
    offset = at[None, :] - taps[:, None] + pixels_before(band, r, sensor)
    size = side**2
    # The last row and column hold the Lagrange multiplier that makes the weights sum to one.
    system = torch.ones(size + 1, size + 1, dtype=torch.float64)
    system[:size, :size] = between[apart[..., 0], apart[..., 1]]
    system[size, size] = 0
    target = torch.ones(size + 1, r * r, dtype=torch.float64)
    target[:size] = across[lags - offset[..., 0], lags - offset[..., 1]]
    weights = torch.linalg.solve(system, target)[:size]
    return weights.T.reshape(r * r, side, side)


@known_as("kriging")
class KrigingNet(nn.Module):
    """Regression on the 10 m bands, and kriging of its residual in the coarse bands of one GSD.

    Slopes and filters are global statistics of the sample that it is fitted to, stored as weights.

    Parameters
    ----------
    gsd
        GSD of the bands it sharpens: 20 or 60.
    radius
        Coarse pixels on each side that a residual is kriged from.
    sensor
        The sensor for the residual, or its fields.
    """

    slopes: Tensor
    lengths: Tensor
    filters: Tensor

    def __init__(
        self, gsd: int, radius: int = 3, sensor: Sensor | Mapping[str, Any] = SENTINEL2
    ) -> None:
        super().__init__()
        self.gsd = gsd
        self.radius = radius
        self.sensor = Sensor.of(sensor)
        self.bands = BY_GSD[gsd]
        self.reads = BY_GSD[10] + self.bands
        side = 2 * radius + 1
        phases = len(self.bands) * ratio(gsd) ** 2
        self.register_buffer("slopes", torch.zeros(len(self.bands), len(BY_GSD[10])))
        self.register_buffer("lengths", torch.zeros(len(self.bands)))
        self.register_buffer("filters", torch.zeros(phases, 1, side, side))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it is built from."""
        return {"gsd": self.gsd, "radius": self.radius, "sensor": asdict(self.sensor)}

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid, with the largest shift."""
        r, sensor = ratio(self.gsd), farthest(self.sensor)
        before = [pixels_before(band, r, sensor, 0) for band in self.bands]
        taps = [psf(band, r, sensor, 0).numel() for band in self.bands]
        after = max(n - r - b for n, b in zip(taps, before, strict=True))
        far = r * self.radius
        return {10: (far + max(*before, 0), far + max(after, 0)), self.gsd: (self.radius,) * 2}

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per 10 m pixel: regression, blur and kriging of every band."""
        each = len(BY_GSD[10]) + (2 * self.radius + 1) ** 2
        return len(self.bands) * each + math.ceil(blurring(self.bands, self.sensor))

    def adopt(self, slopes: Tensor, lengths: list[float]) -> None:
        """Store the statistics of a fit: slopes (bands, 4), correlation lengths in 10 m pixels."""
        filters = [
            kriging_filters(band, ratio(self.gsd), length, self.radius, self.sensor)
            for band, length in zip(self.bands, lengths, strict=True)
        ]
        self.slopes.copy_(slopes)
        self.lengths.copy_(torch.tensor(lengths))
        self.filters.copy_(torch.cat(filters)[:, None])

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, bands, 6h, 6w)."""
        r = ratio(self.gsd)
        # No intercept is needed, because kriging weights sum to one and restore it.
        guess = F.conv2d(y10, self.slopes[:, :, None, None])
        rest = (y20 if self.gsd == 20 else y60) - degrade(guess, self.bands, r, self.sensor)
        rest = F.pad(rest, [self.radius] * 4, mode="replicate")
        return guess + F.pixel_shuffle(F.conv2d(rest, self.filters, groups=len(self.bands)), r)
