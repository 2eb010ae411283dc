"""The rule for half-widths of `error90`, fitted on pictures with a known truth.

The weights come from quantile regression (Koenker and Bassett, Econometrica 46, 1978). The number of each band makes 90 %
of the errors lie within, with equal weight for every scene (split-conformal prediction: Lei et al., JASA 113, 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS
from s2sharp_core.learning.uncertainty import CLUES, FLOOR, WidthModel

COVERAGE = 0.9
"""Intended share of the errors within the interval."""


@dataclass(frozen=True)
class Witness:
    """Pixels of one band of one scene with a known truth.

    ``clues``: mean squares (clues, pixels), as :func:`~s2sharp_core.learning.uncertainty.clues` gives them; ``error``: result less truth (pixels,).
    """

    scene: str
    band: str
    clues: np.ndarray
    error: np.ndarray


def fit(witnesses: Sequence[Witness]) -> WidthModel:
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
    return WidthModel(weights, scale)


def _logs(witness: Witness) -> Tensor:
    """Return logarithms of the clues' roots: (pixels, clues), float64."""
    return 0.5 * torch.from_numpy(witness.clues.T.astype(np.float64) + FLOOR).log()


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
