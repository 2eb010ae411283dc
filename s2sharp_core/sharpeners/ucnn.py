"""S2S-UCNN (Nguyen et al., IEEE JSTARS 14, 2021): unsupervised, the sensor's blur as last layers.

One network of three grids (:class:`s2sharp_core.networks.ThreeGridNet`) returns all twelve bands at 10 m. As the
satellite would see them, they must match the measured bands: L1, at full resolution. The 10 m bands come from the
same features as the coarse ones, and this teaches these their detail. As in the authors' code, features are
normalised pixel by pixel, so nothing depends on the window.
"""

import torch
from torch import Tensor

from ..learning.fitting import Curve, optimise
from ..learning.options import FitCourse
from ..learning.unsupervised import CONSTANTS, crop, degraded_difference
from ..networks import ThreeGridNet
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from .fitted import fitted
from .methods import known

_RATE = 3e-3
_CROP = 16


def fit_scene(
    net: ThreeGridNet, sample: Sample, sensor: Sensor, course: FitCourse, *, cells: int = _CROP
) -> Curve:
    """Fit ``net`` to the sample's windows: L1, Adam, random windows of ``cells`` a side."""
    net.standardise(sample.y10, sample.y20, sample.y60)

    def loss(random: torch.Generator) -> Tensor:
        return degraded_difference(net, crop(sample, cells, random), sensor)

    return optimise(net, loss, course, rate=_RATE)


METHODS = (
    fitted(
        known("ucnn"),
        nets={"ucnn.safetensors": ThreeGridNet},
        learn=fit_scene,
        guard=True,
        constants={**CONSTANTS, "rate": _RATE, "crop": _CROP},
    ),
)
