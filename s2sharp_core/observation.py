"""How the satellite sees: the forward model from 10 m to 20 and 60 m, its adjoint, and interpolation.

The one place where the sensor's blur and decimation are written down: training pairs, losses,
evaluation and the consistency figure all call it. A band of ground sampling distance ``10 d`` metres
is a Gaussian blur of the 10 m picture with σ = d·√(-2 ln MTF) / π in 10 m pixels (MTF: at the band's
Nyquist frequency), sampled at the centre of each coarse pixel. That centre is a *corner* of 10 m
pixels, so kernels have an even number of taps.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .bands import BANDS

__all__ = ["adjoint", "degrade", "psf", "reach", "sigma", "upsample"]

# A Gaussian is cut where it has fallen below 1/3000 of its height; the widest needs 26 taps at 60 m.
_CUT = 4.0

# Coarse pixels on each side that an interpolation reads.
_SUPPORT = {"linear": 1, "cubic": 2}


def sigma(mtf: float, ratio: int) -> float:
    """σ, in fine pixels, of the Gaussian whose frequency response is ``mtf`` at the coarse Nyquist."""
    return ratio * math.sqrt(-2 * math.log(mtf)) / math.pi


@lru_cache
def psf(band: str, ratio: int) -> Tensor:
    """The one-dimensional point spread function of ``band`` seen ``ratio`` times coarser.

    Returns
    -------
    Tensor
        float64, symmetric, sum 1; its length minus ``ratio`` is even.
    """
    s = sigma(BANDS[band].mtf, ratio)
    margin = max(0, math.ceil(_CUT * s - ratio / 2))
    taps = ratio + 2 * margin
    at = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    kernel = torch.exp(-0.5 * (at / s) ** 2)
    return kernel / kernel.sum()


def _kernels(bands: Sequence[str], ratio: int, like: Tensor) -> Tensor:
    """The kernels of ``bands``, zero-padded to one length: (bands, taps)."""
    each = [psf(band, ratio) for band in bands]
    taps = max(k.numel() for k in each)
    return torch.stack([F.pad(k, [(taps - k.numel()) // 2] * 2) for k in each]).to(like)


def degrade(x: Tensor, bands: Sequence[str], ratio: int) -> Tensor:
    """See ``x`` with pixels ``ratio`` times larger: blur with each band's PSF, then decimate.

    Parameters
    ----------
    x
        (n, bands, ratio·h, ratio·w), any unit. The picture is continued by replication at its edges.
    bands
        The ESA name of each channel.

    Returns
    -------
    Tensor
        (n, bands, h, w); pixel (i, j) is centred on ``x[..., ratio·i : ratio·(i+1), ratio·j : …]``.
    """
    k = _kernels(bands, ratio, x)
    margin = (k.shape[1] - ratio) // 2
    x = F.pad(x, [margin] * 4, mode="replicate")
    x = F.conv2d(x, k[:, None, :, None], stride=(ratio, 1), groups=len(bands))
    return F.conv2d(x, k[:, None, None, :], stride=(1, ratio), groups=len(bands))


def adjoint(y: Tensor, bands: Sequence[str], ratio: int) -> Tensor:
    """The transpose of :func:`degrade` for a picture that is zero outside: (n, bands, h, w) → fine grid."""
    k = _kernels(bands, ratio, y)
    margin = (k.shape[1] - ratio) // 2
    y = F.conv_transpose2d(y, k[:, None, None, :], stride=(1, ratio), groups=len(bands))
    y = F.conv_transpose2d(y, k[:, None, :, None], stride=(ratio, 1), groups=len(bands))
    return y[..., margin : y.shape[-2] - margin, margin : y.shape[-1] - margin]


def _cubic(t: float) -> float:
    """Keys' cubic convolution kernel, a = -1/2 (IEEE TASSP 1981)."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


@lru_cache
def _phases(ratio: int, kind: str) -> Tensor:
    """Interpolation weights of each phase of one coarse pixel: (ratio, 2·support + 1), float64."""
    support = _SUPPORT[kind]
    weight = _cubic if kind == "cubic" else lambda t: max(0.0, 1 - abs(t))
    at = [(phase + 0.5) / ratio - 0.5 for phase in range(ratio)]
    rows = [[weight(a - tap) for tap in range(-support, support + 1)] for a in at]
    return torch.tensor(rows, dtype=torch.float64)


def upsample(y: Tensor, ratio: int, kind: str = "cubic") -> Tensor:
    """Interpolate to a grid ``ratio`` times finer, pixel centres kept where they are on the ground.

    The weights depend on the phase alone, not on the position in the array, so that the result is
    the same wherever a window is cut.

    Parameters
    ----------
    y
        (n, c, h, w); continued by replication at its edges.
    kind
        ``"linear"`` or ``"cubic"`` (Keys, a = -1/2).

    Returns
    -------
    Tensor
        (n, c, ratio·h, ratio·w)
    """
    n, c, h, w = y.shape
    p = _phases(ratio, kind).to(y)
    s = _SUPPORT[kind]
    kernel = torch.einsum("iy,jx->ijyx", p, p).reshape(ratio * ratio, 1, 2 * s + 1, 2 * s + 1)
    padded = F.pad(y.reshape(n * c, 1, h, w), [s] * 4, mode="replicate")
    return F.pixel_shuffle(F.conv2d(padded, kernel), ratio).reshape(n, c, ratio * h, ratio * w)


def reach(radius: int, ratio: int, kind: str) -> tuple[int, int]:
    """Which coarse pixels the 10 m pixels within ``radius`` of a 60 m cell are interpolated from.

    Returns
    -------
    tuple
        (before, after): pixels of the coarse grid read beyond the cell's first and last one.
    """
    s = _SUPPORT[kind]
    first = math.floor((-radius + 0.5) / ratio - 0.5) - (s - 1)
    last = math.floor((5 + radius + 0.5) / ratio - 0.5) + s
    return -first, last - (6 // ratio - 1)
