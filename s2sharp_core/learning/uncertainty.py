"""Half-width of a 90 % interval around every sharpened pixel, from what can be seen without the truth.

Two things tell where a sharpened band errs: detail that was carried over from finer bands, which may be wrong, and
how much of what was measured the result contradicts, which says how badly the finer bands explain this band here.
Each is a root of a local mean square. Their weighted geometric mean, times a number of the band, is the half-width; a
gain or an offset of the band passes through to it.

Weights and numbers are found on pictures with a known truth (:func:`fit`): the weights by quantile regression (Koenker
and Bassett, Econometrica 46, 1978), the number of each band so that 90 % of the errors lie within, every scene counting
as much as any other (split-conformal prediction: Lei et al., JASA 113, 2018). The interval is one for scenes like
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
"""Share of the errors that are meant to lie within."""

CLUES = ("carried", "contradicted")
"""Detail that was carried over, and what the result, seen again, contradicts of what was measured."""

# By ratio: sides of the squares that they are averaged over, in pixels of 10 m and in pixels of the band.
_CARRIED = {2: 3, 6: 7}
_CONTRADICTED = {2: 9, 6: 5}
# Added to each mean square, reflectance²: (3 DN)², less than which no band is known by.
_FLOOR = 9e-8


@dataclass(frozen=True)
class Width:
    """A rule by which clues become a half-width.

    Attributes
    ----------
    weights
        GSD → one weight for each of :data:`CLUES`, ≥ 0, sum 1.
    scale
        Band → what their geometric mean is multiplied by.
    """

    weights: Mapping[int, tuple[float, ...]]
    scale: Mapping[str, float]


@dataclass(frozen=True)
class Witness:
    """Pixels of one band of one scene of which the truth is known.

    ``clues``: mean squares (clues, pixels), as :func:`clues` gives them; ``error``: result less truth (pixels,).
    """

    scene: str
    band: str
    clues: np.ndarray
    error: np.ndarray


def clues(x: Tensor, y: Tensor, bands: Sequence[str], sensor: Sensor) -> list[Tensor]:
    """Mean squares around every pixel, by the order of :data:`CLUES`.

    Parameters
    ----------
    x
        The result, (n, bands, r·h, r·w), reflectance.
    y
        What was measured of bands of one GSD, (n, bands, h, w).

    Returns
    -------
    list
        A (n, bands, r·h, r·w) for each clue, reflectance². What lies within :func:`reach` of an edge is a guess.
    """
    times = ratio(BANDS[bands[0]].gsd)
    carried = (x - upsample(y, times, shifts=sensor.shifts(bands))).square()
    contradicted = _mean((degrade(x, bands, times, sensor) - y).square(), _CONTRADICTED[times])
    return [_mean(carried, _CARRIED[times]), upsample(contradicted, times, "linear")]


def half_width(mean_squares: Iterable[Tensor], bands: Sequence[str], width: Width) -> Tensor:
    """Half-widths (n, bands, h, w), reflectance, from what :func:`clues` gives of ``bands`` of one GSD."""
    carried, contradicted = ((square + _FLOOR).log() for square in mean_squares)
    share, rest = width.weights[BANDS[bands[0]].gsd]
    scale = torch.tensor([width.scale[band] for band in bands]).to(carried)
    return (0.5 * (share * carried + rest * contradicted)).exp() * scale[:, None, None]


def reach(band: str) -> int:
    """Cells around a cell that half-widths in it depend on, whatever the sensor's shift."""
    times = ratio(BANDS[band].gsd)
    off = times * math.ceil(LARGEST_SHIFT)
    blur = (psf(band, times).numel() - times) // 2 + off
    # Interpolation reads a coarse pixel more, the cubic one two.
    contradicted = times * (_CONTRADICTED[times] // 2 + 1) + blur
    carried = _CARRIED[times] // 2 + 2 * times + off
    return -(-max(contradicted, carried) // 6)


def _mean(x: Tensor, side: int) -> Tensor:
    """Mean of the square of ``side`` × ``side`` pixels around each, one axis after the other."""
    half = side // 2
    x = F.pad(x.contiguous(), [half] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, (side, 1), stride=1), (1, side), stride=1)


def fit(witnesses: Sequence[Witness]) -> Width:
    """Find the weights of clues by GSD, and the scale of each band, on pixels of which the truth is known.

    Every scene counts as much as any other, and so does every pixel of a band of a scene.

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
    """Logarithms of the clues' roots: (pixels, clues), float64."""
    return 0.5 * torch.from_numpy(witness.clues.T.astype(np.float64) + _FLOOR).log()


def _thinned(witness: Witness) -> Witness:
    """At most :data:`_ENOUGH` of its pixels."""
    every = -(-witness.error.size // _ENOUGH)
    return replace(witness, clues=witness.clues[:, ::every], error=witness.error[::every])


# Errors are not taken for smaller, reflectance, so that they have a logarithm; sharpness of the smoothed loss.
_LEAST, _SOFT = 3e-5, 0.1
# Pixels of a witness that weights are found from.
_ENOUGH = 1000


def _weights(witnesses: Sequence[Witness]) -> tuple[float, ...]:
    """Weights for which the logarithm of the half-width misses the 90 % quantile of errors least."""
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
        # The quantile loss, its corner rounded.
        missed = COVERAGE * rest + _SOFT * F.softplus(-rest / _SOFT)
        total = (missed * count).sum() / count.sum()
        torch.autograd.backward([total])
        return total

    optimiser.step(loss)
    share = free[: len(CLUES)].detach().softmax(dim=0)
    return tuple(round(float(s), 3) for s in share)


def _scale(witnesses: Sequence[Witness], weights: tuple[float, ...]) -> float:
    """The 90 % quantile of errors over the clues' geometric mean; every scene weighs the same."""
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
