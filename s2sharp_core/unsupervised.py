"""Losses that need no truth: a picture is judged by what the satellite would see of it.

``y = A x + n`` with A the sensor's blur and decimation (the identity for a 10 m band) and n white noise
of standard deviation σ in each band. UCNN compares A f(y) with y (Nguyen et al., IEEE JSTARS 14, 2021).
Deep SURE compares both after back-projection and corrects for the noise that f could copy from y by
Stein's unbiased risk estimate (Nguyen et al., IEEE TGRS 60, 2022, after Eldar, IEEE TSP 57, 2009).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .bands import BY_GSD, GSDS, ratio
from .fitting import Sample
from .observation import Sensor, degrade, pseudo_inverse

__all__ = ["CONSTANTS", "Seen", "crop", "infer", "noise", "observe", "risk", "settle", "unlike"]

Seen = Mapping[int, Tensor]
"""What the satellite delivers: GSD → (n, bands, h, w), reflectance."""

# Regularisation of the back-projection in the loss. The paper has 1e-3; it multiplies the noise of what the sensor
# hardly sees (A Aᵀ has eigenvalues down to 2e-3 at 20 m) so much that the network learns it by heart: on APEX at
# 30 dB, B11 and B12 lost 8 dB between step 440 and step 1 560 while the loss went on falling.
_RHO = 1e-2
_MAD = 0.6745
"""The median of the absolute value of a standard normal variable."""

# Cells at the rim of a window that is part of a larger picture, where blur misses what lies beyond: the
# widest kernel reaches 10 pixels of 10 m.
_RIM = 2

CONSTANTS: Mapping[str, float] = MappingProxyType({"rho": _RHO, "rim": _RIM})
"""What the losses follow from, besides their arguments."""


def crop(sample: Sample, cells: int, random: torch.Generator, whole: bool = False) -> Seen:
    """A random window of ``cells`` × ``cells`` (or as many as there are), or a ``whole`` one."""
    height, width = sample.cells
    size = [height, width] if whole else [min(cells, height), min(cells, width)]
    ends = (len(sample), height - size[0] + 1, width - size[1] + 1)
    i, row, col = (int(torch.randint(end, (), generator=random)) for end in ends)
    each = {}
    for gsd, y in zip(GSDS, (sample.y10, sample.y20, sample.y60), strict=True):
        k = 60 // gsd
        rows, cols = slice(k * row, k * (row + size[0])), slice(k * col, k * (col + size[1]))
        each[gsd] = y[i : i + 1, :, rows, cols]
    return each


def observe(x: Tensor, sensor: Sensor) -> dict[int, Tensor]:
    """What the satellite would see of the twelve bands (n, 12, 6h, 6w), ordered by GSD as in ``BY_GSD``."""
    parts = x.split([len(BY_GSD[g]) for g in GSDS], dim=1)
    return {
        g: part if g == 10 else degrade(part, BY_GSD[g], ratio(g), sensor)
        for g, part in zip(GSDS, parts, strict=True)
    }


def infer(net: Any, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor:
    """The picture of ``net``, its convolutions in bfloat16.

    Buffers are copies: a derivative cannot be taken through statistics that change meanwhile. Those
    of a batch norm come from :func:`settle` alone.
    """
    copies = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.autocast(y10.device.type, torch.bfloat16):
        inputs = (y10.contiguous(memory_format=torch.channels_last), y20, y60)
        return torch.func.functional_call(net, copies, inputs).float()


def _inner(y: Tensor, gsd: int, sensor: Sensor) -> Tensor:
    """Without the rim, where the picture goes on beyond it."""
    if sensor.edge == "circular":
        return y
    rim = _RIM * 60 // gsd
    return y[..., rim:-rim, rim:-rim]


def _back(residual: Tensor, gsd: int, sensor: Sensor) -> Tensor:
    """B: the inner part of a residual of one GSD, back-projected to 10 m."""
    inner = _inner(residual, gsd, sensor)
    if gsd == 10:
        return inner
    return pseudo_inverse(inner, BY_GSD[gsd], ratio(gsd), _RHO, sensor)


def _scales(net: Any) -> dict[int, Tensor]:
    """By GSD, (bands, 1, 1): what a band's errors are measured in, its spread over the sample."""
    parts = net.spread[:, None, None].split([len(BY_GSD[g]) for g in GSDS])
    return dict(zip(GSDS, parts, strict=True))


def unlike(net: Any, y: Seen, sensor: Sensor) -> Tensor:
    """Mean absolute difference between ``y`` and what would be seen of the picture of ``net``.

    Over all twelve bands alike, in units of each band's spread.
    """
    x = infer(net, *(y[g] for g in GSDS))
    scale = _scales(net)
    each = [
        _inner((seen - y[g]) / scale[g], g, sensor).abs().mean(dim=(0, 2, 3))
        for g, seen in observe(x, sensor).items()
    ]
    return torch.cat(each).mean()


def risk(
    net: Any,
    y: Seen,
    sensor: Sensor,
    sigma: Mapping[int, Tensor] | None,
    random: torch.Generator,
    share: float = 1.0,
) -> Tensor:
    """Stein's unbiased estimate of the error of the picture of ``net``, up to a constant.

    For any linear B, and noise of covariance Σ, ‖B (A f(y) − y)‖² + 2 tr(Σ ∂(BᵀB A f)/∂y) has the
    expectation of ‖B (A f(y) − A x)‖² + ‖B n‖². Here B is A† = Aᵀ(AAᵀ + ρ)⁻¹, band by band; the
    trace is the mean of ⟨B v, B A ∂f(y) v⟩ over v of the noise's distribution, and one v is drawn. The derivative along
    v is exact (forward differentiation): a difference of two bfloat16 pictures would drown in rounding.

    Parameters
    ----------
    net
        (y10, y20, y60) → the twelve bands at 10 m; ``spread`` is each band's unit of error.
    sigma
        GSD → noise of each band, (bands,), reflectance; None: no correction, which leaves the
        back-projection loss alone.
    share
        Draw v with this probability only and give it that much more weight: the same expectation for
        less work, since forward differentiation costs thrice what the rest does.

    Returns
    -------
    Tensor
        The mean over bands and 10 m pixels, in units of each band's variance.
    """
    inputs = tuple(y[g] for g in GSDS)
    probe: dict[int, Tensor] = {}
    slope: dict[int, Tensor] = {}
    if sigma is None or float(torch.rand((), generator=random)) >= share:
        x = infer(net, *inputs)
    else:
        for g, of_gsd in zip(GSDS, inputs, strict=True):
            normal = torch.randn(of_gsd.shape, generator=random).to(of_gsd)
            probe[g] = sigma[g][:, None, None].to(of_gsd) * normal
        x, along = torch.func.jvp(
            lambda *seen: infer(net, *seen), inputs, tuple(probe[g] for g in GSDS)
        )[:2]
        slope = observe(along, sensor)
    scale = _scales(net)
    each = []
    for g, seen in observe(x, sensor).items():
        cost = _back((seen - y[g]) / scale[g], g, sensor).square()
        if slope:
            copied = _back(slope[g] / scale[g], g, sensor)
            cost = cost + 2 / share * copied * _back(probe[g] / scale[g], g, sensor)
        each.append(cost.mean(dim=(0, 2, 3)))
    return torch.cat(each).mean()


def settle(net: Any, sample: Sample) -> None:
    """Show every window of the sample to ``net``, for the statistics of its batch norms."""
    for y in zip(sample.y10, sample.y20, sample.y60, strict=True):
        with torch.autocast(y[0].device.type, torch.bfloat16):
            net(*(band[None] for band in y))


def noise(sample: Sample) -> dict[int, Tensor]:
    """The standard deviation of the noise in each band of a sample: GSD → (bands,), reflectance.

    Diagonal Haar details hold little of the ground and all of the noise; what the other bands'
    details explain of them by linear regression is ground (Bioucas-Dias and Nascimento, IEEE TGRS 46,
    2008, do so without the details). Of the rest, the median absolute deviation, which edges hardly move.
    """
    bands = {10: sample.y10, 20: sample.y20, 60: sample.y60}
    levels = {}
    for gsd in GSDS:
        finer = [F.avg_pool2d(bands[g], gsd // g) for g in GSDS if g < gsd]
        detail = _detail(torch.cat([bands[gsd], *finer], dim=1))
        each = []
        for b in range(len(BY_GSD[gsd])):
            others = torch.cat([detail[:, :b], detail[:, b + 1 :]], dim=1)
            own = detail[:, b : b + 1]
            explained = others @ torch.linalg.lstsq(others, own).solution
            each.append((own - explained).abs().median() / _MAD)
        levels[gsd] = torch.stack(each).to(bands[gsd])
    return levels


def _detail(y: Tensor) -> Tensor:
    """Diagonal Haar details of (n, bands, h, w): float64 (places, bands), of the noise's variance."""
    y = y[..., : y.shape[-2] // 2 * 2, : y.shape[-1] // 2 * 2].double()
    a, b, c, d = y[..., ::2, ::2], y[..., ::2, 1::2], y[..., 1::2, ::2], y[..., 1::2, 1::2]
    return ((a - b - c + d) / 2).transpose(0, 1).flatten(1).T
