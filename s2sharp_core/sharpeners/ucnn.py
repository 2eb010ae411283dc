"""S2S-UCNN (Nguyen et al., IEEE JSTARS 14, 2021): unsupervised, the sensor's blur as last layers.

One skip network gives all twelve bands at 10 m, and what the satellite would see of them has to be what
it saw: L1, at full resolution. That the 10 m bands come out of the same features as the coarse ones is
what teaches these their detail, so nothing is added to the network's output (``residual=False``). The
picture must not follow from the window, so the paper's normalisation, over all features of a picture,
is over the features of each pixel here.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..bands import GSDS
from ..fitting import Curve, FitOptions, Sample, Tell
from ..networks import SkipNet
from ..observation import Sensor
from ..unsupervised import CONSTANTS, crop, unlike
from .fitted import fitted, trained

__all__ = ["METHOD", "build", "fit_scene"]

_STEPS = 2000
_RATE = 3e-3
_CROP = 32

build = partial(SkipNet, GSDS, features=64, depth=3, skips=25, norm="pixel", residual=False)
"""The network, untrained."""


def fit_scene(
    net: SkipNet,
    sample: Sample,
    sensor: Sensor,
    options: FitOptions,
    checkpoint: Path | None = None,
    tell: Tell = lambda *_: None,
    *,
    cells: int = _CROP,
) -> Curve:
    """Fit ``net`` to what the sample's windows show: L1, Adam, random windows of ``cells`` a side."""
    net.standardise(sample.y10, sample.y20, sample.y60)

    def loss(random: torch.Generator) -> Tensor:
        return unlike(net, crop(sample, cells, random), sensor)

    return trained(net, loss, options, checkpoint, tell, steps=_STEPS, rate=_RATE)


METHOD = fitted(
    name="ucnn",
    nets={"ucnn.safetensors": build},
    learn=fit_scene,
    steps=_STEPS,
    smallest=12,
    constants={**CONSTANTS, "rate": _RATE, "crop": _CROP},
    summary="unsupervised: seen again, it must fit",
    needs="a fit; all bands",
    cost=f"{build().multiply_adds / 1e6:.2f} M",
    source="Nguyen et al. 2021, doi:10.1109/JSTARS.2021.3092286",
)
