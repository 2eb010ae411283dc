"""Regression and kriging of a whole sample: the closed form, learned in one step."""

from functools import lru_cache

import torch
from torch import Tensor

from ..bands import BY_GSD, ratio
from ..networks import KrigingNet
from ..networks.kriging import seen_variogram
from ..sensor.observation import degrade
from ..sensor.response import Sensor
from ..sensor.sample import Sample

# Largest lag of the residual's variogram in coarse pixels.
_LAGS = 8
# Coarse pixels at the edge of a window that do not count, because the blur guesses beyond the edge.
_RIM = 2
# Tried correlation lengths in coarse pixels, a factor 1.08 apart.
_LENGTHS = tuple(0.5 * 1.08**i for i in range(58))

CONSTANTS = {
    "lags": _LAGS,
    "rim": _RIM,
    "lengths": (len(_LENGTHS), _LENGTHS[0], _LENGTHS[-1]),
}
"""Numbers that its slopes and filters depend on, besides the sample."""

SMALLEST = 2 * _RIM + 2
"""Side, in pixels of the band, of the smallest window for learning."""


def learn(net: KrigingNet, sample: Sample) -> float:
    """Set the slopes and correlation lengths of ``net`` from a sample, and return the mean RMS of the residuals."""
    r, sensor = ratio(net.gsd), net.sensor
    inner = (..., slice(_RIM, -_RIM), slice(_RIM, -_RIM))
    slopes, lengths, left = [], [], []
    for band, y in zip(net.bands, sample.by_gsd[net.gsd].unbind(1), strict=True):
        x = degrade(sample.y10, [band] * len(BY_GSD[10]), r, sensor)
        slope, rest = _regress(x[inner], y[inner])
        slopes.append(slope)
        lengths.append(_deconvolve(rest, band, r, sensor))
        left.append(float(rest.square().mean().sqrt()))
    net.adopt(torch.stack(slopes), lengths)
    return sum(left) / len(left)


def _regress(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Fit ``y`` (n, h, w) by least squares to ``x`` (n, 4, h, w): return slopes (4,) and residuals, float64."""
    columns = x.double().transpose(0, 1).flatten(1)
    target = y.double().flatten()
    columns = columns - columns.mean(dim=1, keepdim=True)
    target = target - target.mean()
    gram = columns @ columns.T
    # Constant or proportional bands leave slopes open; the ridge chooses the smallest.
    ridge = 1e-9 * gram.trace() + 1e-12
    slopes = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), columns @ target)
    return slopes, (target - slopes @ columns).reshape(y.shape)


def _variogram(rest: Tensor) -> Tensor:
    """Return the semivariogram of (n, h, w) along both axes, at lags from 1 to ``_LAGS`` or as many as fit: float64."""
    values = []
    for lag in range(1, min(_LAGS, *(side - 1 for side in rest.shape[-2:])) + 1):
        across = (rest[..., lag:] - rest[..., :-lag]).square().mean()
        down = (rest[..., lag:, :] - rest[..., :-lag, :]).square().mean()
        values.append((across + down) / 4)
    return torch.stack(values).cpu()


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _models(band: str, r: int, sensor: Sensor) -> Tensor:
    """Return the variogram of each of ``_LENGTHS`` as the sensor would see it: (lengths, _LAGS), each of norm 1."""
    rows = [seen_variogram(band, r, r * length, _LAGS, sensor) for length in _LENGTHS]
    table = torch.stack(rows)
    return table / table.norm(dim=1, keepdim=True)


def _deconvolve(rest: Tensor, band: str, r: int, sensor: Sensor) -> float:
    """Return the correlation length at 10 m, in 10 m pixels, that explains the residual's variogram best.

    The sill is free, and kriging weights do not depend on it. So with models of norm 1, the best one has the largest
    inner product.
    """
    found = _variogram(rest)
    models = _models(band, r, sensor)[:, : len(found)]
    best = int((models @ found / models.norm(dim=1)).argmax())
    return r * _LENGTHS[best]
