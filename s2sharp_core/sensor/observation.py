"""Forward model of the satellite from 10 m to 20 m and 60 m, its adjoint, and interpolation.

This is the only module that defines the blur and decimation of the sensor. Training pairs, losses, evaluation and
consistency all call it. A band of ground sampling distance ``10 d`` metres is the 10 m image of the same product, blurred
and sampled at the centre of each coarse pixel. That centre is a *corner* of 10 m pixels, so kernels have an even number
of taps.

The blur is measured on products. Its response is flat at first and then steep (exp(-2π²σ²f² - (f/edge)⁶)). The papers'
Gaussian with σ = d·√(-2 ln MTF) / π in 10 m pixels (MTF: at the band's Nyquist frequency) is the blur from the ground
to the band. A 10 m product already contains the blur of the instrument, so this Gaussian blurs it twice.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BANDS
from .response import SENTINEL2, Response, Sensor, sigma

# A Gaussian is cut where it has fallen below 1/3000 of its height; the widest needs 26 taps at 60 m.
_CUT = 4.0
# Reach of a measured kernel in coarse pixels each way, and the outer part in which it fades out. The steep edge makes
# the kernel ring, and a kernel that is cut off would not keep its shift.
_WIDE, _FADES = 3.0, 1.5
# Number of frequencies up to Nyquist for a measured kernel.
_FREQUENCIES = 2048


@lru_cache
@torch.inference_mode(mode=False)  # the kernel is cached for later calls, which may be a fit
def psf(band: str, ratio: int, sensor: Sensor = SENTINEL2, axis: int | None = None) -> Tensor:
    """Return the one-dimensional point spread function of ``band``, degraded ``ratio`` times.

    Parameters
    ----------
    axis
        0 or 1 for the kernel down or across, with the band's shift; None for a band without a shift.

    Returns
    -------
    Tensor
        float64, sum 1; symmetric without a shift. On a ``"cell"`` its length minus ``ratio`` is even, on a
        ``"corner"`` it is odd.
    """
    even = ratio % 2 == 0 and sensor.centre == "cell"
    if sensor.blur == "measured":
        response = sensor.response(band)
        shift = 0.0 if axis is None else -ratio * (response.dy, response.dx)[axis]
        half = _WIDE * ratio + math.ceil(abs(shift))
    else:
        s = 1 / ratio if sensor.blur == "dsen2" else sigma(BANDS[band].mtf, ratio)
        half = _CUT * s + (ratio / 2 if sensor.blur == "dsen2" else 0)
    taps = 2 * math.ceil(half) if even else 2 * math.ceil(half - 0.5) + 1
    if sensor.centre == "cell":
        taps = max(taps, ratio)
    if sensor.taps:
        taps = min(taps, sensor.taps - (sensor.taps % 2 if even else 1 - sensor.taps % 2))
    at = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    if sensor.blur == "measured":
        kernel = _measured(at - shift, response, ratio)
    elif sensor.blur == "dsen2":
        pixels = torch.arange(ratio, dtype=torch.float64) - (ratio - 1) / 2
        kernel = torch.exp(-0.5 * ((at[:, None] - pixels) / s) ** 2).sum(dim=1)
    else:
        kernel = torch.exp(-0.5 * (at / s) ** 2)
    return kernel / kernel.sum()


def _measured(at: Tensor, response: Response, ratio: int) -> Tensor:
    """Return the kernel with frequency response ``response``, at distances ``at`` in fine pixels: float64."""
    f = (torch.arange(_FREQUENCIES, dtype=torch.float64) + 0.5) / (2 * _FREQUENCIES)
    coarse = f * ratio
    passed = torch.exp(-2 * (math.pi * response.blur * coarse) ** 2 - (coarse / response.edge) ** 6)
    kernel = (passed * torch.cos(2 * math.pi * at[:, None] * f)).mean(dim=1)
    outside = ((at.abs() / ratio - _FADES) / (_WIDE - _FADES)).clamp(0, 1)
    return kernel * torch.cos(math.pi / 2 * outside) ** 2


def kernels(
    bands: Sequence[str], ratio: int, like: Tensor, sensor: Sensor
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return the kernels of ``bands`` down and across, padded to one length (bands, taps), and their reach.

    The reach is the number of fine pixels that they take before and after the ``ratio`` ones of a coarse pixel.
    """
    return _kernels(tuple(bands), ratio, sensor, like.dtype, like.device)


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
def _kernels(
    bands: tuple[str, ...], ratio: int, sensor: Sensor, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    each = [[psf(band, ratio, sensor, axis) for band in bands] for axis in (0, 1)]
    taps = max(k.numel() for axis in each for k in axis)
    if sensor.centre == "cell":
        taps = max(taps, ratio)
        margin = (taps - ratio) // 2, (taps - ratio) // 2
    else:
        taps = max(taps, 2 * ratio - 1)
        margin = (taps - 1) // 2, (taps - 1) // 2 - (ratio - 1)
    down, across = (
        torch.stack([F.pad(k, [(taps - k.numel()) // 2] * 2) for k in axis]).to(device, dtype)
        for axis in each
    )
    return down, across, margin


def degrade(x: Tensor, bands: Sequence[str], ratio: int, sensor: Sensor = SENTINEL2) -> Tensor:
    """Degrade ``x`` to pixels ``ratio`` times larger: blur with the PSF of each band, then decimate.

    Parameters
    ----------
    x
        (n, bands, ratio·h, ratio·w), any unit.
    bands
        ESA name of each channel.

    Returns
    -------
    Tensor
        (n, bands, h, w); pixel (i, j) is centred on ``x[..., ratio·i : ratio·(i+1), ratio·j : …]``, less the
        band's shift.
    """
    down, across, (before, after) = kernels(bands, ratio, x, sensor)
    # Channels last: several times faster for filters that do not mix channels.
    x = x.contiguous(memory_format=torch.channels_last)
    x = F.pad(x, [before, after, before, after], mode=sensor.edge)
    x = F.conv2d(x, down[:, None, :, None], stride=(ratio, 1), groups=len(bands))
    return F.conv2d(x, across[:, None, None, :], stride=(1, ratio), groups=len(bands))


def residual(
    sharp: np.ndarray, native: np.ndarray, band: str, sensor: Sensor = SENTINEL2
) -> np.ndarray:
    """Return the degraded ``sharp`` minus the measured ``native``, in their unit: the inconsistency of a sharpened image.

    A coarse pixel counts if its whole point spread function lies on valid pixels inside the image.

    Parameters
    ----------
    sharp
        float32 (r·h, r·w) at 10 m, NaN as nodata; r is the band's ratio, 2 or 6.
    native
        (h, w), as delivered.

    Returns
    -------
    numpy.ndarray
        float32 (h, w); NaN at coarse pixels that do not count.
    """
    r = BANDS[band].gsd // 10
    x = torch.from_numpy(np.ascontiguousarray(sharp))[None, None]
    # A NaN spreads as far as the kernel reaches, so the rest depends on valid pixels alone.
    again = degrade(x, [band], r, sensor)[0, 0].numpy()
    reach = -(-max(0, psf(band, r, sensor).numel() - r) // (2 * r))
    height, width = native.shape
    inside = np.zeros((height, width), dtype=bool)
    inside[reach : height - reach, reach : width - reach] = True
    return np.asarray(np.where(inside, again - native, np.nan), dtype=np.float32)


def degrade_alike(x: Tensor, band: str, ratio: int, sensor: Sensor = SENTINEL2) -> Tensor:
    """Degrade images as :func:`degrade`, all of them with the PSF of ``band``; to rounding the same.

    In float64, for which torch has only slow convolutions, this takes a third of the time: sums of whole rows down, a
    product with a banded matrix across.

    Parameters
    ----------
    x
        (…, ratio·h, ratio·w), any unit.

    Returns
    -------
    Tensor
        (…, h, w)
    """
    (down,), (across,), (before, after) = kernels([band], ratio, x, sensor)
    h, w = x.shape[-2] // ratio, x.shape[-1] // ratio
    wide = F.pad(x.flatten(0, -3)[:, None], [before, after, before, after], mode=sensor.edge)[:, 0]
    rows = [wide[:, i : i + ratio * (h - 1) + 1 : ratio] for i in range(down.numel())]
    total = rows[0] * down[0]
    for row, weight in zip(rows[1:], down[1:].tolist(), strict=True):
        total.add_(row, alpha=weight)
    matrix = x.new_zeros(w, wide.shape[-1])
    # The kernel stands in each row, ``ratio`` columns after the row before.
    matrix.as_strided((w, across.numel()), (wide.shape[-1] + ratio, 1)).copy_(across)
    return (total @ matrix.T).unflatten(0, x.shape[:-2])


def adjoint(y: Tensor, bands: Sequence[str], ratio: int, sensor: Sensor = SENTINEL2) -> Tensor:
    """Apply the transpose of :func:`degrade`: (n, bands, h, w) → fine grid.

    It is exact for an image that is zero outside. If ``sensor.edge`` is ``"circular"``, it is exact for a circular image.
    """
    down, across, (before, _) = kernels(bands, ratio, y, sensor)
    h, w = ratio * y.shape[-2], ratio * y.shape[-1]
    y = F.conv_transpose2d(y, across[:, None, None, :], stride=(1, ratio), groups=len(bands))
    y = F.conv_transpose2d(y, down[:, None, :, None], stride=(ratio, 1), groups=len(bands))
    if sensor.edge == "circular":
        for dim, n in ((-2, h), (-1, w)):
            y = _wrapped(y, dim, before, n)
        return y
    return y[..., before : before + h, before : before + w]


def _wrapped(y: Tensor, dim: int, before: int, n: int) -> Tensor:
    """Add the part outside the ``n`` pixels from ``before`` on along ``dim`` to the other side."""
    inside = y.narrow(dim, before, n).clone()
    after = y.shape[dim] - before - n
    if before:
        inside.narrow(dim, n - before, before).add_(y.narrow(dim, 0, before))
    if after > 0:
        inside.narrow(dim, 0, after).add_(y.narrow(dim, before + n, after))
    return inside


def autocorrelation(k: Tensor) -> Tensor:
    """Return the autocorrelation of a kernel (taps,) at lags of 1 - taps … taps - 1."""
    return F.conv1d(k[None, None], k[None, None], padding=k.numel() - 1)[0, 0]


def _eigenvalues(band: str, ratio: int, n: int, sensor: Sensor, axis: int) -> Tensor:
    """Return eigenvalues of A Aᵀ along one ``axis`` of a circular image of ``n`` coarse pixels: float64 (n,).

    A Aᵀ filters the coarse image with the autocorrelation of the point spread function at multiples of ``ratio``, its
    zeroth polyphase component. It is a circulant matrix, diagonal under the Fourier transform.
    """
    k = psf(band, ratio, sensor, axis)
    lags = autocorrelation(k)[k.numel() - 1 :: ratio]
    at = torch.arange(n, dtype=torch.float64)
    waves = torch.cos(2 * math.pi / n * torch.outer(at, torch.arange(1.0, lags.numel())))
    return lags[0] + 2 * waves.double() @ lags[1:]


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _normal(
    bands: tuple[str, ...],
    ratio: int,
    shape: tuple[int, int],
    rho: float,
    sensor: Sensor,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return eigenvalues of A Aᵀ + ρ for the half spectrum of :func:`torch.fft.rfft2`: (bands, h, w//2 + 1)."""
    h, w = shape
    rows = torch.stack([_eigenvalues(band, ratio, h, sensor, 0) for band in bands])
    cols = torch.stack([_eigenvalues(band, ratio, w, sensor, 1) for band in bands])
    return (rows[:, :, None] * cols[:, None, : w // 2 + 1] + rho).to(device, dtype)


def solve(
    y: Tensor, bands: Sequence[str], ratio: int, rho: float, sensor: Sensor = SENTINEL2
) -> Tensor:
    """Compute (A Aᵀ + ρ)⁻¹ y, with A :func:`degrade`, by the Fourier transform of the coarse image.

    This is the closed form of the polyphase inverse (Zhao et al., IEEE TIP 25, 2016): blur and decimation
    together are circulant on the coarse grid. The image counts as circular. So pixels near its edge depend on the other
    side, the less the farther away it is.

    Parameters
    ----------
    y
        (n, bands, h, w)
    rho
        Regularisation, ≥ 0; A Aᵀ has eigenvalues up to about 1/ratio².
    """
    if ratio == 1:
        return y / (1 + rho)
    shape = (int(y.shape[-2]), int(y.shape[-1]))
    spectrum = _normal(tuple(bands), ratio, shape, rho, sensor, y.dtype, y.device)
    return torch.fft.irfft2(torch.fft.rfft2(y) / spectrum, s=shape)


def pseudo_inverse(
    y: Tensor, bands: Sequence[str], ratio: int, rho: float = 1e-3, sensor: Sensor = SENTINEL2
) -> Tensor:
    """Back-project: Aᵀ (A Aᵀ + ρ)⁻¹ y, (n, bands, h, w) → the fine grid."""
    if ratio == 1:
        return solve(y, bands, 1, rho, sensor)
    return adjoint(solve(y, bands, ratio, rho, sensor), bands, ratio, sensor)
