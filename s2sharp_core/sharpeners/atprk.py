"""ATPRK (Wang, Shi and Atkinson, ISPRS J. 114, 2016): regression on the 10 m bands, kriging of the rest.

The variant with a synthesised band: every coarse band is regressed on all four 10 m bands, seen at its own
resolution. The paper estimates regression and variogram on the whole picture; so they are estimated once,
on the sample, and frozen. It sharpens 20 m bands; 60 m bands differ by nothing but the ratio.
"""

from functools import lru_cache, partial

import torch
from torch import Tensor

from ..bands import BY_GSD, ratio
from ..fitting import Sample
from ..networks import KrigingNet
from ..networks.kriging import seen_variogram
from ..observation import Sensor, degrade
from .fitted import fitted, solved

__all__ = ["METHOD"]

# Coarse pixels up to which the variogram of the residual is looked at.
_LAGS = 8
# What a blur reads beyond the edge of a window is a guess: coarse pixels there do not count.
_RIM = 2
# Correlation lengths that are tried, in coarse pixels: a factor 1.08 apart.
_LENGTHS = tuple(0.5 * 1.08**i for i in range(58))


def _regress(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of ``y`` (n, h, w) on ``x`` (n, 4, h, w): slopes (4,) and what they leave, float64."""
    columns = x.double().transpose(0, 1).flatten(1)
    target = y.double().flatten()
    columns = columns - columns.mean(dim=1, keepdim=True)
    target = target - target.mean()
    gram = columns @ columns.T
    # Bands that don't vary, or vary as one, leave slopes open: the smallest.
    ridge = 1e-9 * gram.trace() + 1e-12
    slopes = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), columns @ target)
    return slopes, (target - slopes @ columns).reshape(y.shape)


def _variogram(rest: Tensor) -> Tensor:
    """Semivariogram of (n, h, w) along both axes, at lags from 1 to ``_LAGS``, or to what a small one holds: float64."""
    values = []
    for lag in range(1, min(_LAGS, *(side - 1 for side in rest.shape[-2:])) + 1):
        across = (rest[..., lag:] - rest[..., :-lag]).square().mean()
        down = (rest[..., lag:, :] - rest[..., :-lag, :]).square().mean()
        values.append((across + down) / 4)
    return torch.stack(values).cpu()


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _models(band: str, r: int, sensor: Sensor) -> Tensor:
    """What the sensor would see of each of ``_LENGTHS``: (lengths, _LAGS), each of norm 1."""
    rows = [seen_variogram(band, r, r * length, _LAGS, sensor) for length in _LENGTHS]
    table = torch.stack(rows)
    return table / table.norm(dim=1, keepdim=True)


def _deconvolve(rest: Tensor, band: str, r: int, sensor: Sensor) -> float:
    """The correlation length at 10 m, in 10 m pixels, that explains the residual's variogram best.

    The sill is free, and kriging weights do not depend on it: with models of norm 1, the best one is
    that with the largest inner product.
    """
    found = _variogram(rest)
    models = _models(band, r, sensor)[:, : len(found)]
    best = int((models @ found / models.norm(dim=1)).argmax())
    return r * _LENGTHS[best]


@solved
def _learn(net: KrigingNet, sample: Sample, sensor: Sensor) -> float:
    r = ratio(net.gsd)
    coarse = sample.y20 if net.gsd == 20 else sample.y60
    inner = (..., slice(_RIM, -_RIM), slice(_RIM, -_RIM))
    slopes, lengths, left = [], [], []
    for band, y in zip(net.bands, coarse.unbind(1), strict=True):
        x = degrade(sample.y10, [band] * len(BY_GSD[10]), r, sensor)
        slope, rest = _regress(x[inner], y[inner])
        slopes.append(slope)
        lengths.append(_deconvolve(rest, band, r, sensor))
        left.append(float(rest.square().mean().sqrt()))
    net.adopt(torch.stack(slopes), lengths)
    return sum(left) / len(left)


METHOD = fitted(
    name="atprk",
    nets={f"atprk-{gsd}m.safetensors": partial(KrigingNet, gsd) for gsd in (20, 60)},
    learn=_learn,
    steps=1,
    smallest=8,
    constants={
        "lags": _LAGS,
        "rim": _RIM,
        "lengths": (len(_LENGTHS), _LENGTHS[0], _LENGTHS[-1]),
    },
    summary="classical: regression and kriging",
    needs="a quick fit; 10 m bands",
    cost="0.5 k",
    source="Wang et al. 2016, doi:10.1016/j.isprsjprs.2016.02.006",
)
