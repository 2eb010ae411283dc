"""Bands predicted from other bands at any shift, for :mod:`~s2sharp_core.sensor.registration`."""

from dataclasses import dataclass

import numpy as np
import torch

from .observation import degrade

REACH = 4
"""Largest tried shift in each direction, in pixels of the coarser grid."""

# Side of the high-pass filter in pixels of the coarser grid, nearly twice the largest shift.
_HIGH_PASS = 7


@dataclass(frozen=True)
class Picture:
    """High-passed bands (bands, h, w), 0 without data, and where there is data (h, w)."""

    detail: np.ndarray
    known: np.ndarray


def picture(x: np.ndarray, known: np.ndarray) -> Picture:
    from scipy.ndimage import uniform_filter  # loaded here, because few units look for shifts

    weight = np.maximum(uniform_filter(known.astype(np.float32), _HIGH_PASS), 1e-3)
    mean = uniform_filter(x * known, (0, _HIGH_PASS, _HIGH_PASS)) / weight
    return Picture((x - mean) * known, known)


def gapless(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bands minus their mean, 0 in gaps, and where all of them are known."""
    known = np.isfinite(stack)
    count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
    mean = np.where(known, stack, 0).sum(axis=(1, 2), keepdims=True, dtype=np.float64) / count
    return np.where(known, stack - mean, 0).astype(np.float32), known.all(axis=0)


class Predictors:
    """The finest bands, degraded to the coarser grid and shifted by any number of their own pixels."""

    def __init__(self, fine: np.ndarray, bands: tuple[str, ...], ratio: int) -> None:
        self.ratio = ratio
        self.bands = bands
        margin = ratio * (REACH + 1)
        x, known = gapless(fine)
        self.shape = known.shape[0] // ratio, known.shape[1] // ratio
        self._x = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
        self._known = np.pad(known, margin)
        self._phases: dict[tuple[int, int], Picture] = {}

    def _phase(self, py: int, px: int) -> Picture:
        """Return the bands shifted by 0 ≤ py, px < ratio fine pixels, down and right."""
        if (py, px) not in self._phases:
            x, known = (np.roll(a, (py, px), axis=(-2, -1)) for a in (self._x, self._known))
            if self.ratio > 1:
                seen = degrade(torch.from_numpy(x)[None], self.bands, self.ratio)[0].numpy()
                ok = torch.from_numpy(known.astype(np.float32))[None, None]
                known = degrade(ok, self.bands[:1], self.ratio)[0, 0].numpy() > 0.999
                x = seen
            self._phases[py, px] = picture(x, known)
        return self._phases[py, px]

    def at(self, ty: int, tx: int) -> Picture:
        """Return the bands shifted down and right by ty, tx fine pixels, on the coarser grid."""
        (ay, py), (ax, px) = divmod(ty, self.ratio), divmod(tx, self.ratio)
        whole = self._phase(py, px)
        top, left = REACH + 1 - ay, REACH + 1 - ax
        cut = np.s_[top : top + self.shape[0], left : left + self.shape[1]]
        return Picture(whole.detail[(slice(None), *cut)], whole.known[cut])


def fit(
    predictors: Picture, target: Picture, uses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Fit each target band by least squares to the predictors that it ``uses`` (targets, predictors).

    Returns the squared multiple correlations (targets,), the coefficients (targets, predictors) and the number of
    pixels.
    """
    x = (predictors.detail * target.known).reshape(len(predictors.detail), -1)
    y = (target.detail * predictors.known).reshape(len(target.detail), -1)
    # This is not x @ x.T, because BLAS spreads such thin products over threads, which then wait for each other.
    gram, cross = np.einsum("pn,rn->pr", x, x), np.einsum("pn,qn->pq", x, y)
    energy = np.einsum("qn,qn->q", y, y)
    gram[np.diag_indices(len(gram))] += 1e-6 * np.trace(gram) / len(gram) + 1e-30
    coefficients = np.zeros((len(y), len(x)))
    for q, use in enumerate(uses):
        coefficients[q, use] = np.linalg.solve(gram[np.ix_(use, use)], cross[use, q])
    explained = np.einsum("qp,pq->q", coefficients, cross)
    squared = np.divide(explained, energy, out=np.zeros(len(y)), where=energy > 0)
    return squared, coefficients, int((predictors.known & target.known).sum())
