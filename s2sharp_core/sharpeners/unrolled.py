"""Unrolled ADMM (Nguyen et al., IEEE GRSL 20, 2023): a denoiser and a closed-form data step.

The network is :class:`s2sharp_core.networks.UnrolledNet`; it learns without a reference, by the loss of Deep SURE. It
is made for runs: its denoiser stays at 10 m and reads interpolated bands, so its support is a few pixels. The paper's
denoiser sees hundreds of pixels far (docs/methods.md).
"""

from ..networks import UnrolledNet
from .deep_sure import CONSTANTS, fit_scene
from .fitted import fitted
from .methods import known

METHODS = (
    fitted(
        known("unrolled"),
        nets={"unrolled.safetensors": UnrolledNet},
        learn=fit_scene,
        guard=True,
        constants=CONSTANTS,
    ),
)
