"""ATPRK (Wang, Shi and Atkinson, ISPRS J. 114, 2016): regression on the 10 m bands, kriging of the rest.

The variant with a synthesised band: every coarse band is regressed on all four 10 m bands, seen at its own
resolution. The paper estimates regression and variogram on the whole picture; so they are estimated once,
on the sample, and frozen. It sharpens 20 m bands; 60 m bands differ by nothing but the ratio.
"""

from functools import partial

from ..networks import KrigingNet
from . import closed
from .fitted import fitted, solved

__all__ = ["METHOD"]

METHOD = fitted(
    name="atprk",
    nets={f"atprk-{gsd}m.safetensors": partial(KrigingNet, gsd) for gsd in (20, 60)},
    learn=solved(closed.learn),
    steps=1,
    smallest=8,
    constants=closed.CONSTANTS,
    summary="classical: regression and kriging",
    needs="a quick fit; 10 m bands",
    cost="0.5 k",
    source="Wang et al. 2016, doi:10.1016/j.isprsjprs.2016.02.006",
)
