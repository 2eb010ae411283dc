"""Deep SURE (Nguyen et al., IEEE TGRS 60, 2022): unsupervised, with Stein's estimate of the risk as loss.

One skip network returns all twelve bands at 10 m. Its loss is the back-projected error of these bands as the
satellite would see them, plus a divergence that measures how much of the noise is copied
(:func:`s2sharp_core.learning.unsupervised.risk`), with the measured noise of each band. The paper's variant without
the divergence, BP-DIP, is ``deep_sure_bp``.

The network reads interpolated bands, whose support is a few pixels, and not back-projected ones with dozens (other
differences from the paper: docs/methods.md).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..bands import GSDS
from ..learning.fitting import EPS, Curve, optimise
from ..learning.options import FitCourse
from ..learning.unsupervised import CONSTANTS as OF_LOSS
from ..learning.unsupervised import crop, noise, risk, settle_batch_norms
from ..networks import SkipNet
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from .fitted import fitted
from .methods import known

_RATE = 1e-2
_CROP = 16

PUBLISHED_EPS = 1e-3
"""Adam's ``eps`` of the papers, whose loss is a sum over all pixels and not their mean (``python -m
tests.benchmarks.papers``).
"""

build = partial(SkipNet, GSDS, features=64, depth=5, skips=4, norm="batch", residual=False)
"""The network, untrained."""


def fit_scene(
    net: Any,
    sample: Sample,
    sensor: Sensor,
    course: FitCourse,
    *,
    sure: bool = True,
    sigma: Mapping[int, Tensor] | None = None,
    cells: int = _CROP,
    eps: float = EPS,
) -> Curve:
    """Fit ``net`` to the sample's windows, without a reference.

    Parameters
    ----------
    sure
        Whether the divergence belongs to the loss.
    sigma
        The noise of each band by GSD; None: as measured.
    cells
        Side of the random windows that it learns from, one a step.
    eps
        Adam's.
    """
    net.standardise(sample.y10, sample.y20, sample.y60)
    levels = (sigma or noise(sample, sensor)) if sure else None

    def loss(random: torch.Generator) -> Tensor:
        return risk(net, crop(sample, cells, random), sensor, levels, random)

    settled = partial(settle_batch_norms, net, sample)
    return optimise(net, loss, course, rate=_RATE, eps=eps, settle=settled)


CONSTANTS = {**OF_LOSS, "rate": _RATE, "eps": EPS, "crop": _CROP}
"""Numbers that a fit by this loss depends on, besides its arguments."""

METHODS = tuple(
    fitted(
        known(name),
        nets={f"{name}.safetensors": build},
        learn=learn,
        guard=True,
        constants=CONSTANTS,
    )
    for name, learn in (("deep_sure", fit_scene), ("deep_sure_bp", partial(fit_scene, sure=False)))
)
