"""Deep SURE (Nguyen et al., IEEE TGRS 60, 2022): unsupervised, with Stein's estimate of the risk as loss.

One skip network returns all twelve bands at 10 m. Its loss is the back-projected error of these bands as the
satellite would see them, plus a divergence that measures how much of the noise is copied
(:func:`s2sharp_core.learning.unsupervised.risk`), with the measured noise of each band. The paper's variant without
the divergence, BP-DIP, is ``deep_sure_bp``.

A run's fit differs from the paper's in three points. Each depth has its own weights. The network reads interpolated
bands, whose support is a few pixels, and not back-projected ones with dozens. The learning rate falls.
:data:`PUBLISHED` is the recipe of the papers' protocol (``python -m tests.benchmarks.papers``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..bands import GSDS
from ..learning.fitting import EPS, Curve, optimise
from ..learning.options import Course
from ..learning.unsupervised import CONSTANTS, crop, noise, risk, settle
from ..networks import SkipNet
from ..sensor.known import Sensor
from ..sensor.sample import Sample
from .fitted import fitted
from .methods import FACTS

_CROP = 16


@dataclass(frozen=True)
class Recipe:
    """Recipe for minimising the loss.

    ``rate``: learning rate; ``eps``: Adam's; ``rho``: regularisation of the back-projection in the loss.
    """

    rate: float = 1e-2
    eps: float = EPS
    rho: float = 1e-3


OURS = Recipe()
"""The recipe of a run."""

PUBLISHED = Recipe(eps=1e-3)
"""The recipe of the papers, whose loss is a sum over all pixels and not their mean: ``eps`` is for that sum."""

build = partial(SkipNet, GSDS, features=64, depth=5, skips=4, norm="batch", residual=False)
"""The network, untrained."""


def fit_scene(
    net: Any,
    sample: Sample,
    sensor: Sensor,
    course: Course,
    *,
    sure: bool = True,
    sigma: Mapping[int, Tensor] | None = None,
    cells: int = _CROP,
    recipe: Recipe = OURS,
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
    """
    net.standardise(sample.y10, sample.y20, sample.y60)
    known = sigma or noise(sample, sensor)

    def loss(random: torch.Generator) -> Tensor:
        y = crop(sample, cells, random)
        return risk(net, y, sensor, known if sure else None, random, recipe.rho)

    settled = partial(settle, net, sample)
    return optimise(net, loss, course, rate=recipe.rate, eps=recipe.eps, settle=settled)


def constants(recipe: Recipe = OURS) -> dict[str, float]:
    """Return the numbers that a fit by this loss depends on, besides its arguments."""
    return {**CONSTANTS, **asdict(recipe), "crop": _CROP}


_METHOD = partial(fitted, guard=True, constants=constants())
METHODS = (
    _METHOD(**FACTS["deep_sure"], nets={"deep_sure.safetensors": build}, learn=fit_scene),
    _METHOD(
        **FACTS["deep_sure_bp"],
        nets={"deep_sure_bp.safetensors": build},
        learn=partial(fit_scene, sure=False),
    ),
)
