"""One step of the alternating direction method of multipliers, unrolled, with a skip network as denoiser.

Nguyen et al. (IEEE GRSL 20, 2023, doi:10.1109/LGRS.2023.3326845) find one iteration best: the denoiser's picture z, then
the data step, x = argmin ‖y − A x‖² + ρ ‖x − z‖² = (AᵀA + ρ)⁻¹ (Aᵀy + ρ z). By the Woodbury identity that is
z + Aᵀ (A Aᵀ + ρ)⁻¹ (y − A z): the residual of z is back-projected.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..bands import BY_GSD, GSDS, SIZES, ratio
from ..sensor.observation import degrade, pseudo_inverse
from ..sensor.response import SENTINEL2, Sensor
from .kinds import known_as
from .receptive_field import blurring, farthest, pixels_before, support_of
from .skip import Norm, SkipNet

_DN = 1e-4
"""Reflectance of one digital number."""


@lru_cache
def _decay(bands: tuple[str, ...], ratio: int, rho: float, tolerance: float, sensor: Sensor) -> int:
    """Return the radius in coarse pixels beyond which residuals in [-1, 1] change no fine pixel of
    :func:`pseudo_inverse` by more than ``tolerance``: the sum of the absolute weights there.
    """
    side = 64
    impulse = torch.zeros(1, len(bands), side, side, dtype=torch.float64)
    impulse[..., 0, 0] = 1
    weights = pseudo_inverse(impulse, bands, ratio, rho, sensor)[0].abs()
    weights = weights.unflatten(2, (side, ratio)).unflatten(1, (side, ratio))
    at = torch.arange(side)
    away = torch.minimum(at, side - at)
    away = torch.maximum(away[:, None], away[None, :])[:, None, :, None]
    for radius in range(side // 2):
        if float((weights * (away > radius)).sum(dim=(1, 3)).max()) <= tolerance:
            return radius
    return side // 2


@known_as("unrolled")
class UnrolledNet(nn.Module):
    """A :class:`SkipNet` of all twelve bands and one closed-form data step after it.

    The data step filters with the Fourier transform of the window, so every pixel depends on all others. But its
    filter decays: residuals y − A z beyond :attr:`support` change a value by at most ``tolerance`` if they change
    by 1 in reflectance.

    Parameters
    ----------
    features, depth, skips, norm, residual
        Arguments of the denoiser.
    rho
        Weight of the denoiser's picture in the data step; A Aᵀ has eigenvalues up to 1/ratio².
    tolerance
        DN, 1/10 000 of reflectance.
    sensor
        The sensor that the data step inverts, or its fields.
    """

    def __init__(
        self,
        features: int = 128,
        depth: int = 5,
        skips: int = 4,
        norm: Norm = "batch",
        residual: bool = False,
        rho: float = 0.1,
        tolerance: float = 0.5,
        sensor: Sensor | Mapping[str, Any] = SENTINEL2,
    ) -> None:
        super().__init__()
        self.denoiser = SkipNet(GSDS, features, depth, skips, norm, residual=residual)
        self.bands = self.denoiser.bands
        self.reads = self.denoiser.reads
        self.rho = rho
        self.tolerance = tolerance
        self.sensor = Sensor.of(sensor)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it is built from."""
        of_denoiser = {k: v for k, v in self.denoiser.config.items() if k not in ("gsds", "slope")}
        facts = {"rho": self.rho, "tolerance": self.tolerance, "sensor": asdict(self.sensor)}
        return {**of_denoiser, **facts}

    @property
    def spread(self) -> Tensor:
        """The unit of each band, (12,), reflectance."""
        spread: Tensor = self.denoiser.spread
        return spread

    def standardise(self, y10: Tensor, y20: Tensor, y60: Tensor) -> None:
        """Standardise the denoiser."""
        self.denoiser.standardise(y10, y20, y60)

    @property
    def radius(self) -> int:
        """10 m pixels around a cell that its pixels depend on by more than the tolerance.

        It adds the reach of the back-projection, of the blur and of the denoiser, for the sensor with the widest
        filters, because it is needed before one is measured.
        """
        far, sensor = 0, farthest(self.sensor)
        for gsd in (20, 60):
            d, bands = ratio(gsd), BY_GSD[gsd]
            decay = _decay(bands, d, self.rho, self.tolerance * _DN, sensor)
            blur = max(0, *(pixels_before(band, d, sensor, 0) for band in bands))
            far = max(far, d * decay + blur)
        return far + self.denoiser.radius

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels read before and after a cell along each axis, by GSD of their grid."""
        return support_of(self.radius, "cubic")

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per 10 m pixel: the denoiser's, and the two blurs of the data step."""
        blurs = sum(2 * blurring(BY_GSD[gsd], self.sensor) for gsd in (20, 60))
        return self.denoiser.multiply_adds + math.ceil(blurs)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, 12, 6h, 6w)."""
        z = self.denoiser(y10, y20, y60)
        with torch.autocast(y10.device.type, enabled=False):
            parts = z.split(SIZES, dim=1)
            out = [
                self._step(part, y, gsd)
                for part, y, gsd in zip(parts, (y10, y20, y60), GSDS, strict=True)
            ]
        return torch.cat(out, dim=1)

    def _step(self, z: Tensor, y: Tensor, gsd: int) -> Tensor:
        d, bands = ratio(gsd), BY_GSD[gsd]
        if gsd == 10:
            return z + (y - z) / (1 + self.rho)
        rest = y - degrade(z, bands, d, self.sensor)
        return z + pseudo_inverse(rest, bands, d, self.rho, self.sensor)
