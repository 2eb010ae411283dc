"""How far a picture is from the truth: one value per band, pixels without data left out.

All functions take two arrays (bands, h, w) in the same unit, of which the second is the truth. A
pixel counts where both are finite. A band without such a pixel gives NaN.
"""

import numpy as np

__all__ = ["rmse", "sam", "sre"]


def _pair(x: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, NaN in each where either is not finite."""
    if x.shape != truth.shape or x.ndim != 3:
        raise ValueError(f"Expected two arrays (bands, h, w), got {x.shape} and {truth.shape}.")
    both = np.isfinite(x) & np.isfinite(truth)
    a = np.where(both, x, np.nan).astype(np.float64)
    b = np.where(both, truth, np.nan).astype(np.float64)
    return a, b


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean over the pixels of each band that are no NaN; NaN where there is none."""
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
    IEEE JSTARS 14, 2021); DSen2 divides the squared *mean* by the mean squared error instead, which
    is 0.6 to 2.9 dB less on real scenes. A perfect answer gives ``inf``.
    """
    a, b = _pair(x, truth)
    signal, error = _mean(b**2), _mean((a - b) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10 * np.log10(signal / error))


def sam(x: np.ndarray, truth: np.ndarray) -> float:
    """Spectral angle between picture and truth in degrees, the mean over the pixels.

    The angle of Kruse et al. (Remote Sens. Environ. 44, 1993) between the spectra of a pixel. Only
    pixels count that are finite in all bands and not all zero; NaN when there is none.
    """
    a, b = _pair(x, truth)
    lengths = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    with np.errstate(invalid="ignore"):
        known = lengths[0] * lengths[1] > 0
    if not known.any():
        return float("nan")
    u, v = a[:, known] / lengths[0][known], b[:, known] / lengths[1][known]
    # Half angles by their sines and cosines: exact for small angles, where arccos of a product isn't.
    angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=0), np.linalg.norm(u + v, axis=0))
    return float(np.degrees(angle).mean())
