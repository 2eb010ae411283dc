"""Measures of the error of an image: one value per band, or one for all; pixels without data are left out.

All functions take two arrays (bands, h, w) in the same unit; the second is the truth. A
pixel counts if both are finite. Measures on windows or blocks leave out those with a pixel
that does not count. A band (or an image) without counted pixels gives NaN.
"""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import correlate1d

DN = 10_000
"""Digital numbers per unit of reflectance."""

Value = tuple[str, str, float]
"""(band, or a group of them, or an index; metric; value)"""

INDICES: dict[str, tuple[str, str]] = {
    "NDVI-RE": ("B8A", "B05"),
    "NDWI": ("B8A", "B11"),
    "NBR": ("B8A", "B12"),
}
"""Name → (a, b) of (a - b) / (a + b): the red-edge NDVI (Gitelson and Merzlyak 1994), the water index of
vegetation (Gao 1996), the burn ratio (Key and Benson 2006)."""

# Reflectance below which the sum of two bands is noise: over deep shade and clear water.
_DARKEST = 0.01
# Wang et al. 2004: a Gaussian of σ = 1.5 pixels, 11 taps; K1 and K2.
_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
_SSIM_K = (0.01, 0.03)
# A variance below this share of the mean square is rounding: the window is flat.
_FLAT = 1e-12


def inside(x: np.ndarray, border: int) -> np.ndarray:
    """Return images (…, h, w) without ``border`` pixels at each edge."""
    height, width = x.shape[-2:]
    return x[..., border : height - border, border : width - border]


def _pair(x: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in float64, with NaN in each where either is not finite."""
    if x.shape != truth.shape or x.ndim != 3:
        raise ValueError(f"Expected two arrays (bands, h, w), got {x.shape} and {truth.shape}.")
    both = np.isfinite(x) & np.isfinite(truth)
    a = np.where(both, x, np.nan).astype(np.float64)
    b = np.where(both, truth, np.nan).astype(np.float64)
    return a, b


def _mean(x: np.ndarray) -> np.ndarray:
    """Return the mean over the pixels of each band that are not NaN, or NaN."""
    count = (~np.isnan(x)).sum(axis=(1, 2))
    total = np.nansum(x, axis=(1, 2))
    return np.asarray(np.divide(total, count, out=np.full(len(x), np.nan), where=count > 0))


def rmse(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Root mean square error of each band, in the unit of the arrays: float64 (bands,)."""
    a, b = _pair(x, truth)
    return np.asarray(np.sqrt(_mean((a - b) ** 2)))


def sre(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Signal-to-reconstruction error of each band, 10·log10(Σx² / Σe²) in dB: float64 (bands,).

    x is the truth and e the error. This is the definition of S2Sharp and S2S-UCNN (Nguyen et al.,
    IEEE JSTARS 14, 2021); DSen2's is :func:`sre_of_mean`. A perfect answer gives ``inf``.
    """
    a, b = _pair(x, truth)
    return _decibels(_mean(b**2), _mean((a - b) ** 2))


def sre_of_mean(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """DSen2's signal-to-reconstruction error, 10·log10(mean(x)² / MSE) in dB: float64 (bands,).

    Lanaras et al. (ISPRS J. 146, 2018). It is less than :func:`sre` by 10·log10(1 + var(x) / mean(x)²),
    0.6 to 2.9 dB on real scenes. So the two must never stand in one column.
    """
    a, b = _pair(x, truth)
    return _decibels(_mean(b) ** 2, _mean((a - b) ** 2))


def _decibels(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10 * np.log10(signal / error))


def sam(x: np.ndarray, truth: np.ndarray) -> float:
    """Spectral angle between image and truth in degrees, the mean over the pixels.

    The angle between the spectra of a pixel (Kruse et al., Remote Sens. Environ. 44, 1993). Only
    pixels count that are finite in all bands and not all zero; NaN if there is none.
    """
    a, b = _pair(x, truth)
    lengths = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    with np.errstate(invalid="ignore"):
        known = lengths[0] * lengths[1] > 0
    if not known.any():
        return float("nan")
    u, v = a[:, known] / lengths[0][known], b[:, known] / lengths[1][known]
    # Half angles by sine and cosine are exact for small angles, unlike the arccos of a product.
    angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=0), np.linalg.norm(u + v, axis=0))
    return float(np.degrees(angle).mean())


def ergas(x: np.ndarray, truth: np.ndarray, ratio: float) -> float:
    """ERGAS, the relative error of all bands: 100/ratio · √(mean over bands of (RMSE / mean)²).

    Wald (Data Fusion, Presses de l'École des Mines, 2002); the mean is that of the truth.

    Parameters
    ----------
    ratio
        Number of fine pixels along a coarse one (2 for 20 m bands); Wald's h/l is its inverse. Authors
        differ in this, so always state the ratio with the figure.
    """
    a, b = _pair(x, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = _mean((a - b) ** 2) / _mean(b) ** 2
    return float(100 / ratio * np.sqrt(relative.mean()))


def uiqi(x: np.ndarray, truth: np.ndarray, window: int = 8) -> np.ndarray:
    """Universal image quality index of each band, 1 for a perfect answer: float64 (bands,).

    Wang and Bovik (IEEE Signal Process. Lett. 9, 2002): the mean of 4·cov·x̄·ȳ / ((var x + var y)(x̄² +
    ȳ²)) over all square windows, one pixel apart; 8 pixels a side in the paper.
    """
    a, b = _pair(x, truth)
    weights = np.full(window, 1 / window)
    return np.array([_structure(p, q, weights, (0.0, 0.0)) for p, q in zip(a, b, strict=True)])


def ssim(x: np.ndarray, truth: np.ndarray, span: float | None = None) -> np.ndarray:
    """Structural similarity of each band, 1 for a perfect answer: float64 (bands,).

    Wang et al. (IEEE TIP 13, 2004): windows of 11 pixels with Gaussian weights (σ = 1.5), K1 = 0.01 and
    K2 = 0.03; only windows that lie wholly inside the image.

    Parameters
    ----------
    span
        Dynamic range L. Default: that of each band's truth, max - min.
    """
    a, b = _pair(x, truth)
    at = np.arange(-_SSIM_RADIUS, _SSIM_RADIUS + 1)
    weights = np.exp(-0.5 * (at / _SSIM_SIGMA) ** 2)
    weights /= weights.sum()
    out = np.full(len(a), np.nan)
    for i, (p, q) in enumerate(zip(a, b, strict=True)):
        if np.isnan(q).all():
            continue
        reach = np.nanmax(q) - np.nanmin(q) if span is None else span
        c1, c2 = ((k * reach) ** 2 for k in _SSIM_K)
        out[i] = _structure(p, q, weights, (c1, c2))
    return out


def _structure(
    p: np.ndarray, q: np.ndarray, weights: np.ndarray, constants: tuple[float, float]
) -> float:
    """Return the mean over all windows of (2·p̄·q̄ + C1)(2·cov + C2) / ((p̄² + q̄² + C1)(var p + var q + C2)).

    This is SSIM, and UIQI if both constants are 0; ``weights`` are those of a window along each axis.
    """
    known = ~np.isnan(p)
    if min(p.shape) < len(weights) or not known.any():
        return float("nan")
    # A common level is subtracted, so that variances do not drown in the rounding of large means.
    level = float(q[known].mean())
    u, v = np.where(known, p - level, 0), np.where(known, q - level, 0)
    whole = _windows((~known).astype(np.float64), np.ones(len(weights))) < 0.5
    mu, mv = _windows(u, weights), _windows(v, weights)
    spread = _windows(u * u + v * v, weights) - mu**2 - mv**2
    common = _windows(u * v, weights) - mu * mv
    mp, mq = mu + level, mv + level
    c1, c2 = constants
    square = mp**2 + mq**2
    # A window that is flat in both has no structure to compare, so only its mean counts (Wang and Bovik's code).
    flat = spread + c2 <= _FLAT * square
    spread, common = np.where(flat, 0.5, spread), np.where(flat, 0.25, common)
    bright = square + c1 > 0
    light = np.divide(2 * mp * mq + c1, square + c1, out=np.ones_like(square), where=bright)
    value = light * (2 * common + c2) / (spread + c2)
    return float(value[whole].mean()) if whole.any() else float("nan")


def _windows(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums over all windows that lie inside (h, w): (h - n + 1, w - n + 1)."""
    n = len(weights)
    height, width = y.shape[0] - n + 1, y.shape[1] - n + 1
    for axis in (0, 1):
        y = correlate1d(y, weights, axis)
    return y[n // 2 : n // 2 + height, n // 2 : n // 2 + width]


def q2n(x: np.ndarray, truth: np.ndarray, block: int = 32) -> float:
    """Q2ⁿ, the quality of all bands at once, 1 for a perfect answer.

    Garzelli and Nencini (IEEE GRSL 6, 2009): the spectrum of a pixel, padded with zeros to 2ⁿ bands, is
    a hypercomplex number (Cayley and Dickson's). The modulus of the covariance of the two images
    takes the place of UIQI's, and the result is the mean over blocks. As in the authors' toolbox, each band of a block is
    first scaled to mean 1 and variance 1 by the values of the truth, so that no band outweighs another. Unlike there,
    the bands of padding stay zero after that, and are not 1 in both.

    Parameters
    ----------
    block
        Side of a block in pixels. Blocks lie side by side. If the side of the image is not a multiple of it,
        they overlap evenly, so that every pixel counts (the toolbox mirrors the image instead).
    """
    a, b = _pair(x, truth)
    height, width = a.shape[1:]
    if min(height, width) < block:
        return float("nan")
    values = [
        _q2n_of_block(
            a[:, row : row + block, col : col + block].reshape(len(a), -1),
            b[:, row : row + block, col : col + block].reshape(len(b), -1),
        )
        for row in _starts(height, block)
        for col in _starts(width, block)
    ]
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def _starts(side: int, block: int) -> list[int]:
    """Return the first pixels of the fewest blocks that cover ``side``, evenly spread."""
    return [round(at) for at in np.linspace(0, side - block, -(-side // block))]


def _q2n_of_block(x: np.ndarray, truth: np.ndarray) -> float:
    """Return the index of one block, both (bands, pixels); NaN if one holds a NaN."""
    if np.isnan(truth).any():
        return float("nan")
    bands, pixels = truth.shape
    mean = truth.mean(axis=1, keepdims=True)
    deviation = truth.std(axis=1, ddof=1, keepdims=True)
    deviation = np.where(deviation > np.sqrt(_FLAT) * np.abs(mean), deviation, 1)
    pad = np.zeros((2 ** int(np.ceil(np.log2(bands))) - bands, pixels))
    u, v = (np.concatenate([(y - mean) / deviation + 1, pad]) for y in (truth, x))
    mu, mv = u.mean(axis=1, keepdims=True), v.mean(axis=1, keepdims=True)
    du, dv = u - mu, v - mv
    spread = (du**2).sum() + (dv**2).sum()
    length = float(np.linalg.norm(mu) * np.linalg.norm(mv))
    bias = 2 * length / float((mu**2).sum() + (mv**2).sum())
    if spread <= _FLAT * pixels:
        return bias
    covariance = np.linalg.norm(_product(du, _conjugate(dv)).sum(axis=1))
    return float(bias * 2 * covariance / spread)


def _conjugate(z: np.ndarray) -> np.ndarray:
    return np.concatenate([z[:1], -z[1:]])


def _product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the hypercomplex product of (2ⁿ, pixels), after Cayley and Dickson: (a, b)(c, d) = (ac - d*b, da +
    bc*).
    """
    n = len(p) // 2
    if not n:
        return p * q
    a, b, c, d = p[:n], p[n:], q[:n], q[n:]
    return np.concatenate(
        [
            _product(a, c) - _product(_conjugate(d), b),
            _product(d, a) + _product(b, _conjugate(c)),
        ]
    )


def index(name: str, bands: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a normalised difference of reflectances, from -1 to 1 if these are positive.

    NaN where the sum of the two bands is less than 0.01.
    """
    a, b = (bands[band].astype(np.float64) for band in INDICES[name])
    total = a + b
    out = np.full(total.shape, np.nan)
    return np.divide(a - b, total, out=out, where=total >= _DARKEST)
