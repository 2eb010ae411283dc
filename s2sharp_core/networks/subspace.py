"""SupReME as a network: a fixed number of steps towards the minimum of a quadratic (Lanaras et al.,
CVPR Workshops 2017, doi:10.1109/CVPRW.2017.194).

All twelve bands at 10 m are x = U z, with a few pictures z and a basis U of the scene, and
z = argmin ½ Σ_b ‖y_b - A_b (U z)_b‖² + ½ λ Σ_j q_j ‖w ⊙ ∇z_j‖²: z explains the observation, and is smooth
where the 10 m bands show no edge. Chebyshev's semi-iteration (Golub and Varga, Numer. Math. 3, 1961) replaces
the paper's ADMM. Conjugate gradients would take inner products over the window, so that every pixel depends on
all others; Chebyshev's steps have fixed lengths, and the influence of distant pixels fades.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..bands import BY_GSD, GSDS, SIZES, in_order, ratio
from ..sensor.constants import constant
from ..sensor.observation import adjoint, autocorrelation, degrade, psf
from ..sensor.response import SENTINEL2, Sensor
from ..sensor.upsampling import upsample
from .kinds import known_as
from .receptive_field import blurring

# λ is a fifth of the published 0.005; q_j is as published, with an eighth value in the same trend (docs/methods.md).
_SMOOTH = 1e-3
_ROUGH = (1.0, 1.5, 4.0, 8.0, 15.0, 15.0, 20.0, 25.0)
# An edge that 5 % of the pixels exceed has weight exp(-½); the second number is the least weight.
_EDGE_QUANTILE = 0.95
_EDGE_FLOOR = 0.5
# Lower end of the eigenvalues that Chebyshev's steps cover, as a share of the largest.
_SMALLEST = 1 / 50


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a matrix to the channels of (n, c, h, w)."""
    return F.conv2d(x, matrix[:, :, None, None])


def _gradient(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.roll(-1, -2) - z, z.roll(-1, -1) - z


def _divergence(down: Tensor, across: Tensor) -> Tensor:
    """Apply the transpose of :func:`_gradient`."""
    return down.roll(1, -2) - down + across.roll(1, -1) - across


def _contrast(y10: Tensor) -> Tensor:
    """Return the strength of the strongest edge of the 10 m bands at each pixel: (n, 4, H, W) → (n, 1, H, W)."""
    down = (y10.roll(-1, -2) - y10.roll(1, -2)) / 2
    across = (y10.roll(-1, -1) - y10.roll(1, -1)) / 2
    strong = torch.hypot(down, across).amax(dim=1, keepdim=True)
    for dim in (-2, -1):
        strong = (strong.roll(1, dim) + 2 * strong + strong.roll(-1, dim)) / 4
    return strong


@known_as("subspace")
class SubspaceNet(nn.Module):
    """All bands → the coarse bands at 10 m, by minimising SupReME's objective in a fixed subspace.

    Basis, units and the strength of an edge come from a sample and are frozen. A window counts as circular, so
    that the operators are exact transposes of each other. Pixels beyond :attr:`support`, and the circular rim,
    change a value by at most ``tolerance``.

    Parameters
    ----------
    dimensions
        Dimensions of the subspace; the paper has 7.
    steps
        Steps of the iteration, which begins with the interpolated bands.
    sensor
        The sensor to invert, or its fields.
    halo
        Cells of context.
    tolerance
        Largest change by pixels beyond ``halo``, in DN (1/10 000 of reflectance).
    """

    basis: Tensor
    unit: Tensor
    edge: Tensor
    inverse: Tensor

    def __init__(
        self,
        dimensions: int = 8,
        steps: int = 24,
        sensor: Sensor | Mapping[str, Any] = SENTINEL2,
        halo: int = 12,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.steps = steps
        self.sensor = Sensor.of(sensor)
        self.halo = halo
        self.tolerance = tolerance
        self.bands = BY_GSD[20] + BY_GSD[60]
        self.reads = in_order(band for gsd in GSDS for band in BY_GSD[gsd])
        self.register_buffer("basis", torch.zeros(sum(SIZES), dimensions))
        self.register_buffer("unit", torch.ones(sum(SIZES)))
        self.register_buffer("edge", torch.ones(()))
        self.register_buffer("inverse", torch.eye(dimensions))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it is built from."""
        return {
            "dimensions": self.dimensions,
            "steps": self.steps,
            "sensor": asdict(self.sensor),
            "halo": self.halo,
            "tolerance": self.tolerance,
        }

    @property
    def support(self) -> dict[int, tuple[int, int]]:
        """Pixels on each side beyond which data change a value by at most ``tolerance``, by GSD of their grid."""
        return {gsd: (self.halo * 60 // gsd,) * 2 for gsd in GSDS}

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per 10 m pixel."""
        p = self.dimensions
        blurs = sum(2 * blurring(BY_GSD[gsd], self.sensor) for gsd in (20, 60))
        step = 2 * sum(SIZES) * p + blurs + p**2 + 10 * p
        return round((self.steps + 1) * step)

    @property
    def _circular(self) -> Sensor:
        return replace(self.sensor, edge="circular")

    @torch.no_grad()
    def adopt(self, y10: Tensor, y20: Tensor, y60: Tensor) -> float:
        """Set basis, units and edges from the windows of a sample: (n, bands, h, w) each.

        The basis spans the leading principal directions (no mean removed, as in the paper) of all bands at 60 m,
        the one resolution that all of them have.

        Returns
        -------
        float
            Root of the share of energy outside the subspace.
        """
        bands = [b for y in (y10, y20, y60) for b in y.unbind(1)]
        self.unit.copy_(torch.stack([b.square().mean().sqrt().clamp_min(1e-4) for b in bands]))
        y = self._scaled(y10, y20, y60)
        # All bands get the widest blur, beside which their own differences are small.
        coarse = [
            degrade(part, ["B09"] * part.shape[1], 60 // gsd, self.sensor) if gsd < 60 else part
            for part, gsd in zip(y, GSDS, strict=True)
        ]
        x = torch.cat(coarse, dim=1).transpose(0, 1).flatten(1).double()
        energy, directions = torch.linalg.eigh(x @ x.T)
        self.basis.copy_(directions.flip(1)[:, : self.dimensions])
        strong = _contrast(y[0])[..., 2:-2, 2:-2].flatten()
        self.edge.copy_(strong.kthvalue(max(1, int(_EDGE_QUANTILE * len(strong)))).values)
        self.edge.clamp_min_(1e-4)
        self.inverse.copy_(torch.linalg.inv(self._bound()))
        left = energy[: -self.dimensions].clamp_min(0).sum() / energy.sum().clamp_min(1e-12)
        return float(left.sqrt())

    def _bound(self) -> Tensor:
        """Return a matrix over z, (p, p) float64, that bounds the quadratic from above.

        It is Uᵀ diag(‖A_b‖²) U + 8 λ diag(q_j), because ‖∇‖² ≤ 8 and w ≤ 1. With its inverse as preconditioner,
        all eigenvalues lie in (0, 1].
        """
        gains = []
        for gsd in GSDS:
            r = ratio(gsd)
            for band in BY_GSD[gsd]:
                k = psf(band, r, self.sensor) if r > 1 else torch.ones(1, dtype=torch.float64)
                lags = autocorrelation(k)[k.numel() - 1 :: r]
                gains.append(float(2 * lags.sum() - lags[0]) ** 2)
        u = self.basis.double()
        gain = torch.tensor(gains, dtype=torch.float64).to(u)
        return u.T @ (gain[:, None] * u) + 8 * torch.diag(self._roughness.double())

    @property
    def _roughness(self) -> Tensor:
        """λ q_j: (p,)."""
        q = [*_ROUGH, *[_ROUGH[-1]] * self.dimensions][: self.dimensions]
        return _SMOOTH * constant(q, self.basis)

    def _scaled(self, y10: Tensor, y20: Tensor, y60: Tensor) -> list[Tensor]:
        units = self.unit[:, None, None].split(SIZES)
        return [y.contiguous() / u for y, u in zip((y10, y20, y60), units, strict=True)]

    def _seen(self, x: Tensor) -> list[Tensor]:
        parts = zip(x.split(SIZES, dim=1), GSDS, strict=True)
        return [
            part if gsd == 10 else degrade(part, BY_GSD[gsd], ratio(gsd), self._circular)
            for part, gsd in parts
        ]

    def _back(self, y: list[Tensor]) -> Tensor:
        """Apply the transpose of :meth:`_seen`."""
        parts = [
            part if gsd == 10 else adjoint(part, BY_GSD[gsd], ratio(gsd), self._circular)
            for part, gsd in zip(y, GSDS, strict=True)
        ]
        return torch.cat(parts, dim=1)

    def forward(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
        """Reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) → (n, 8, 6h, 6w)."""
        y = self._scaled(y10, y20, y60)
        rough = self._roughness[:, None, None]
        still = torch.exp(-((_contrast(y[0]) / self.edge) ** 2) / 2).clamp_min(_EDGE_FLOOR) ** 2

        def descent(z: Tensor) -> Tensor:
            """Return the preconditioned negative gradient of the objective."""
            seen = self._seen(_mix(self.basis, z))
            misfit = self._back([a - b for a, b in zip(y, seen, strict=True)])
            down, across = _gradient(z)
            bend = rough * _divergence(still * down, still * across)
            return _mix(self.inverse, _mix(self.basis.T, misfit) - bend)

        begin = torch.cat([y[0], upsample(y[1], 2), upsample(y[2], 6)], dim=1)
        z = _mix(self.basis.T, begin)
        middle, half = (1 + _SMALLEST) / 2, (1 - _SMALLEST) / 2
        move = descent(z) / middle
        momentum = half / middle
        for _ in range(self.steps):
            z = z + move
            following = 1 / (2 * middle / half - momentum)
            move = following * (momentum * move + 2 / half * descent(z))
            momentum = following
        x = _mix(self.basis, z + move) * self.unit[:, None, None]
        return x[:, SIZES[0] :]
