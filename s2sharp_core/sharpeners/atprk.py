"""ATPRK (Wang, Shi and Atkinson, ISPRS J. 114, 2016): regression on the 10 m bands, kriging of the residual.

This is the variant with a synthesised band: every coarse band is regressed on all four 10 m bands, degraded to its
own resolution. The paper estimates regression and variogram on the whole image. So they are estimated once, on the
sample, and frozen. The paper sharpens 20 m bands; 60 m bands differ only in the ratio.
"""

from functools import partial

from ..networks import KrigingNet
from . import closed_form
from .fitted import fitted, solved
from .methods import known

METHODS = (
    fitted(
        known("atprk"),
        nets={f"atprk-{gsd}m.safetensors": partial(KrigingNet, gsd) for gsd in (20, 60)},
        learn=solved(closed_form.learn),
        constants=closed_form.CONSTANTS,
    ),
)
