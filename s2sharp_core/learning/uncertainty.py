"""Half-width of a 90 % interval around every sharpened pixel, from clues that need no truth.

Two clues show where a sharpened band errs. Detail that was transferred from finer bands may be wrong. And the result
may contradict the measured pixels, which shows how badly the finer bands explain this band here. Each clue is the
root of a local mean square. Their weighted geometric mean, times a number of the band, is the half-width. A gain or
an offset of the band changes it accordingly.

Weights and numbers are fitted on images with a known truth (:func:`fit`). The weights come from quantile regression
(Koenker and Bassett, Econometrica 46, 1978). The number of each band makes 90 % of the errors lie within, with equal
weight for every scene (split-conformal prediction: Lei et al., JASA 113, 2018). The interval holds for scenes like
these.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BANDS, ratio
from ..errors import S2SharpError
from ..sensor.observation import LARGEST_SHIFT, Sensor, degrade, psf
from ..sensor.upsampling import upsample

__all__ = ["CLUES", "COVERAGE", "Width", "Witness", "clues", "fit", "half_width", "reach"]

COVERAGE = 0.9
"""Intended share of the errors within the interval."""

CLUES = ("carried", "contradicted")
"""Detail transferred from finer bands, and the part of the measured pixels that the degraded result contradicts."""

# Sides of the squares of their means by ratio, in pixels of 10 m and in pixels of the band.
_CARRIED = {2: 3, 6: 7}
_CONTRADICTED = {2: 9, 6: 5}
# Added to each mean square, reflectance²: (3 DN)², because no band is known better.
_FLOOR = 9e-8


@dataclass(frozen=True)
class Width:
    """A rule for half-widths from clues.

    Attributes
    ----------
    weights
        GSD → one weight for each of :data:`CLUES`, ≥ 0, sum 1.
    scale
        Band → factor of their geometric mean.
    """

    weights: Mapping[int, tuple[float, ...]]
    scale: Mapping[str, float]


@dataclass(frozen=True)
class Witness:
    """Pixels of one band of one scene with a known truth.

    ``clues``: mean squares (clues, pixels), as :func:`clues` gives them; ``error``: result less truth (pixels,).
    """

    scene: str
    band: str
    clues: np.ndarray
    error: np.ndarray


def clues(x: Tensor, y: Tensor, bands: Sequence[str], sensor: Sensor) -> list[Tensor]:
    """Return mean squares around every pixel, in the order of :data:`CLUES`.

    Parameters
    ----------
    x
        The result, (n, bands, r·h, r·w), reflectance.
    y
        The measured bands of one GSD, (n, bands, h, w).

    Returns
    -------
    list
        A (n, bands, r·h, r·w) for each clue, reflectance². Values within :func:`reach` of an edge are a guess.
    """
    times = ratio(BANDS[bands[0]].gsd)
    carried = (x - upsample(y, times, shifts=sensor.shifts(bands))).square()
    contradicted = _mean((degrade(x, bands, times, sensor) - y).square(), _CONTRADICTED[times])
    return [_mean(carried, _CARRIED[times]), upsample(contradicted, times, "linear")]


def half_width(mean_squares: Iterable[Tensor], bands: Sequence[str], width: Width) -> Tensor:
    """Return half-widths (n, bands, h, w), reflectance, from the :func:`clues` of ``bands`` of one GSD."""
    carried, contradicted = ((square + _FLOOR).log() for square in mean_squares)
    share, rest = width.weights[BANDS[bands[0]].gsd]
    scale = torch.tensor([width.scale[band] for band in bands]).to(carried)
    return (0.5 * (share * carried + rest * contradicted)).exp() * scale[:, None, None]


def reach(band: str) -> int:
    """Return the number of cells around a cell that its half-widths depend on, whatever the sensor's shift."""
    times = ratio(BANDS[band].gsd)
    off = times * math.ceil(LARGEST_SHIFT)
    blur = (psf(band, times).numel() - times) // 2 + off
    # Interpolation reads one more coarse pixel, cubic interpolation two.
    contradicted = times * (_CONTRADICTED[times] // 2 + 1) + blur
    carried = _CARRIED[times] // 2 + 2 * times + off
    return -(-max(contradicted, carried) // 6)


def _mean(x: Tensor, side: int) -> Tensor:
    """Return the mean of the square of ``side`` × ``side`` pixels around each pixel, one axis after the other."""
    half = side // 2
    x = F.pad(x.contiguous(), [half] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, (side, 1), stride=1), (1, side), stride=1)


def fit(witnesses: Sequence[Witness]) -> Width:
    """Fit the weights of clues by GSD, and the scale of each band, on pixels with a known truth.

    Every scene has the same weight, and so has every pixel of a band of a scene.

    Raises
    ------
    S2SharpError
        ``no-data`` without witnesses.
    """
    if not witnesses:
        raise S2SharpError(
            "no-data", "There is nothing to calibrate errors on.", "Give scenes with a known truth."
        )
    weights, scale = {}, {}
    for gsd in sorted({BANDS[w.band].gsd for w in witnesses}):
        own = [w for w in witnesses if BANDS[w.band].gsd == gsd]
        weights[gsd] = _weights(own)
        for band in sorted({w.band for w in own}):
            scale[band] = _scale([w for w in own if w.band == band], weights[gsd])
    return Width(weights, scale)


def _logs(witness: Witness) -> Tensor:
    """Return logarithms of the clues' roots: (pixels, clues), float64."""
    return 0.5 * torch.from_numpy(witness.clues.T.astype(np.float64) + _FLOOR).log()


def _thinned(witness: Witness) -> Witness:
    """Return at most :data:`_ENOUGH` of its pixels."""
    every = -(-witness.error.size // _ENOUGH)
    return replace(witness, clues=witness.clues[:, ::every], error=witness.error[::every])


# Least error in reflectance, so that it has a logarithm; sharpness of the smoothed loss.
_LEAST, _SOFT = 3e-5, 0.1
# Number of pixels of a witness for the weights.
_ENOUGH = 1000


def _weights(witnesses: Sequence[Witness]) -> tuple[float, ...]:
    """Return the weights with which the logarithm of the half-width fits the 90 % quantile of errors best."""
    witnesses = [_thinned(w) for w in witnesses]
    keys = sorted({w.band for w in witnesses})
    x = torch.cat([_logs(w) for w in witnesses])
    e = torch.cat([torch.from_numpy(np.abs(w.error) + _LEAST).double().log() for w in witnesses])
    of = torch.cat([torch.full((w.error.size,), keys.index(w.band)) for w in witnesses])
    count = torch.cat([torch.full((w.error.size,), 1 / w.error.size) for w in witnesses]).double()
    free = torch.zeros(len(CLUES) + len(keys), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        share = free[: len(CLUES)].softmax(dim=0)
        rest = e - x @ share - free[len(CLUES) :][of]
        # The quantile loss, with its corner rounded.
        missed = COVERAGE * rest + _SOFT * F.softplus(-rest / _SOFT)
        total = (missed * count).sum() / count.sum()
        torch.autograd.backward([total])
        return total

    optimiser.step(loss)
    share = free[: len(CLUES)].detach().softmax(dim=0)
    return tuple(round(float(s), 3) for s in share)


def _scale(witnesses: Sequence[Witness], weights: tuple[float, ...]) -> float:
    """Return the 90 % quantile of errors over the clues' geometric mean, with the same weight for every scene."""
    share = torch.tensor(weights, dtype=torch.float64)
    scores, each = [], []
    of_scene = {
        s: sum(w.error.size for w in witnesses if w.scene == s)
        for s in {w.scene for w in witnesses}
    }
    for w in witnesses:
        scores.append(np.abs(w.error) / (_logs(w) @ share).exp().numpy())
        each.append(np.full(w.error.size, 1 / of_scene[w.scene]))
    score, weight = np.concatenate(scores), np.concatenate(each)
    order = np.argsort(score)
    upto = np.cumsum(weight[order]) / weight.sum()
    return round(float(score[order][np.searchsorted(upto, COVERAGE)]), 4)
