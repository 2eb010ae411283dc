"""Unrolled ADMM (Nguyen et al., IEEE GRSL 20, 2023): a denoiser and a closed-form data step.

The network is :class:`s2sharp_core.networks.UnrolledNet`; it learns without a reference, by the loss of Deep SURE. It
is made for runs: its denoiser stays at 10 m and reads interpolated bands, so its support is a few pixels, and ρ is
0.1. The paper's denoiser is an hourglass of five strides that reads back-projected bands, with a ρ of 10. It sees
hundreds of pixels far, and serves only the paper's protocol (``python -m tests.benchmarks.papers``).
"""

from pathlib import Path

from ..learning.fitting import Curve
from ..learning.options import FitOptions, Tell
from ..networks import UnrolledNet
from ..sensor.known import Sensor
from ..sensor.sample import Sample
from .deep_sure import constants, fit_scene
from .fitted import fitted
from .methods import FACTS


def learn(
    net: UnrolledNet,
    sample: Sample,
    sensor: Sensor,
    options: FitOptions,
    checkpoint: Path,
    tell: Tell,
) -> Curve:
    net.sensor = sensor
    return fit_scene(net, sample, sensor, options, checkpoint, tell)


METHODS = (
    fitted(
        **FACTS["unrolled"],
        nets={"unrolled.safetensors": UnrolledNet},
        learn=learn,
        guard=True,
        constants=constants(),
    ),
)
