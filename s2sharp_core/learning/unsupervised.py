"""Losses without a truth: an image is judged by how the satellite would see it.

``y = A x + n`` with A the sensor's blur and decimation (the identity for a 10 m band) and n white noise of standard
deviation σ in each band. UCNN compares A f(y) with y (Nguyen et al., IEEE JSTARS 14, 2021). Deep SURE compares both
after back-projection. It corrects for the noise that f could copy from y by Stein's unbiased risk estimate (Nguyen et
al., IEEE TGRS 60, 2022, after Eldar, IEEE TSP 57, 2009).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ..bands import BY_GSD, GSDS, SIZES, ratio
from ..sensor.measurement import measured_noise
from ..sensor.observation import degrade, pseudo_inverse
from ..sensor.response import Sensor
from ..sensor.sample import Sample

Seen = Mapping[int, Tensor]
"""Bands that the satellite delivers: GSD → (n, bands, h, w), reflectance."""

# Regularisation of the back-projection in the loss, as published: A Aᵀ has eigenvalues down to 2e-3 at 20 m.
_RHO = 1e-3
# Step of the difference quotient for the derivative, in standard deviations of the noise. Few of the network's kinks
# lie within a hundredth of the noise, and float32 still resolves the difference.
_STEP = 0.01
# Cells at the rim of a window within a larger image that are left out, because the blur lacks the pixels beyond. The
# widest kernel reaches 10 pixels of 10 m.
_RIM = 2

CONSTANTS: Mapping[str, float] = MappingProxyType({"rho": _RHO, "rim": _RIM, "step": _STEP})
"""Numbers that the losses depend on, besides their arguments."""


def crop(sample: Sample, cells: int, random: torch.Generator) -> Seen:
    """Return a random window of at most ``cells`` × ``cells``."""
    height, width = sample.cells
    size = min(cells, height), min(cells, width)
    ends = (len(sample), height - size[0] + 1, width - size[1] + 1)
    i, row, col = (int(torch.randint(end, (), generator=random)) for end in ends)
    each = {}
    for gsd, y in sample.by_gsd.items():
        k = 60 // gsd
        rows, cols = slice(k * row, k * (row + size[0])), slice(k * col, k * (col + size[1]))
        each[gsd] = y[i : i + 1, :, rows, cols]
    return each


def observe(x: Tensor, sensor: Sensor) -> dict[int, Tensor]:
    """Return the twelve bands (n, 12, 6h, 6w) as the satellite would see them, ordered by GSD as in ``BY_GSD``."""
    parts = x.split(SIZES, dim=1)
    return {
        g: part if g == 10 else degrade(part, BY_GSD[g], ratio(g), sensor)
        for g, part in zip(GSDS, parts, strict=True)
    }


def infer(net: Any, y10: Tensor, y20: Tensor, y60: Tensor, *, narrow: bool = True) -> Tensor:
    """Return the image of ``net``, with convolutions in bfloat16 if ``narrow``, else in float32.

    Buffers are copies: only :func:`settle_batch_norms` sets the statistics of a batch norm.
    """
    copies = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.autocast(y10.device.type, torch.bfloat16, enabled=narrow):
        inputs = (y10.contiguous(memory_format=torch.channels_last), y20, y60)
        return torch.func.functional_call(net, copies, inputs).float()


def _inner(y: Tensor, gsd: int, sensor: Sensor) -> Tensor:
    """Return ``y`` without the rim, if the image continues beyond it."""
    if sensor.edge == "circular":
        return y
    rim = _RIM * 60 // gsd
    return y[..., rim:-rim, rim:-rim]


def _back(residual: Tensor, gsd: int, sensor: Sensor) -> Tensor:
    """Apply B: back-project the inner part of a residual of one GSD to 10 m."""
    inner = _inner(residual, gsd, sensor)
    if gsd == 10:
        return inner
    return pseudo_inverse(inner, BY_GSD[gsd], ratio(gsd), _RHO, sensor)


def _scales(net: Any) -> dict[int, Tensor]:
    """Return the unit of a band's errors by GSD, (bands, 1, 1): its spread over the sample."""
    parts = net.spread[:, None, None].split(SIZES)
    return dict(zip(GSDS, parts, strict=True))


def degraded_difference(net: Any, y: Seen, sensor: Sensor) -> Tensor:
    """Return the mean absolute difference between ``y`` and the image of ``net`` as the satellite would see it.

    All twelve bands have the same weight, in units of each band's spread.
    """
    x = infer(net, *(y[g] for g in GSDS))
    scale = _scales(net)
    each = [
        _inner((seen - y[g]) / scale[g], g, sensor).abs().mean(dim=(0, 2, 3))
        for g, seen in observe(x, sensor).items()
    ]
    return torch.cat(each).mean()


def _along(net: Any, y: Seen, x: Tensor, probe: Seen) -> Tensor:
    """Return the derivative along ``probe`` of the image of ``net``, which is ``x`` at ``y``."""
    moved = infer(net, *(y[g] + _STEP * probe[g] for g in GSDS), narrow=False)
    return (moved - x) / _STEP


def risk(
    net: Any, y: Seen, sensor: Sensor, sigma: Mapping[int, Tensor] | None, random: torch.Generator
) -> Tensor:
    """Return Stein's unbiased estimate of the error of the image of ``net``, up to a constant.

    For any linear B, and noise of covariance Σ, ‖B (A f(y) − y)‖² + 2 tr(Σ ∂(BᵀB A f)/∂y) has the expectation of ‖B
    (A f(y) − A x)‖² + ‖B n‖². Here B is A† = Aᵀ(AAᵀ + ρ)⁻¹, band by band. The trace is the mean of ⟨B v, B A ∂f(y) v⟩
    over v of the noise's distribution, and one v is drawn. The derivative along v is a difference of two images in
    float32, because in bfloat16 it would drown in rounding. It takes six tenths of the time of forward differentiation.

    Parameters
    ----------
    net
        (y10, y20, y60) → the twelve bands at 10 m; ``spread`` is each band's unit of error.
    sigma
        GSD → noise of each band, (bands,), reflectance. None: no correction, only the back-projection loss.

    Returns
    -------
    Tensor
        The mean over bands and 10 m pixels, in units of each band's variance.
    """
    inputs = tuple(y[g] for g in GSDS)
    x = infer(net, *inputs, narrow=sigma is None)
    probe: dict[int, Tensor] = {}
    slope: dict[int, Tensor] = {}
    if sigma is not None:
        for g, of_gsd in zip(GSDS, inputs, strict=True):
            normal = torch.randn(of_gsd.shape, generator=random).to(of_gsd)
            probe[g] = sigma[g][:, None, None].to(of_gsd) * normal
        slope = observe(_along(net, y, x, probe), sensor)
    scale = _scales(net)
    each = []
    for g, seen in observe(x, sensor).items():
        cost = _back((seen - y[g]) / scale[g], g, sensor).square()
        if slope:
            copied = _back(slope[g] / scale[g], g, sensor)
            cost = cost + 2 * copied * _back(probe[g] / scale[g], g, sensor)
        each.append(cost.mean(dim=(0, 2, 3)))
    return torch.cat(each).mean()


def settle_batch_norms(net: Any, sample: Sample) -> None:
    """Show every window of the sample to ``net``, to set the statistics of its batch norms."""
    for window in sample.windows():
        net(*(y[None] for y in window.values()))


def noise(sample: Sample, sensor: Sensor) -> dict[int, Tensor]:
    """Return the standard deviation of the noise in each band: GSD → (bands,), reflectance.

    It is the one measured on the product (:attr:`Sensor.noise`), or else measured on the sample.
    """
    levels = measured_noise(sample) | dict(sensor.noise)
    return {
        g: torch.tensor([levels[band] for band in BY_GSD[g]]).to(y)
        for g, y in sample.by_gsd.items()
    }
