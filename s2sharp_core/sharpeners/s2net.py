"""s2net: local regression and a small net that knows no spectra, in three sizes; ready at once.

``s2net-m-adapted`` first trains the net further on the scene itself at reduced resolution
(:func:`s2sharp_core.learning.s2net.adapt`). It is not the default, because each date then has its own weights, and
dates flicker a little.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from ..learning.s2net import ADAPT_CONSTANTS, SIZES, adapt
from ..networks import S2Net
from ..weights.store import SHIPPED, weights_file
from .base import Sharpener
from .fitted import fitted
from .methods import Method, known
from .net import NetSharpener


def _load(name: str, bands: tuple[str, ...], weights: Path | None, device: str) -> Sharpener:
    return NetSharpener.load(name, bands, weights or SHIPPED, [weights_file(name)], device)


def _methods(name: str) -> tuple[Method, Method]:
    """Return a size as it ships, and adapted to the scene."""
    adapted = fitted(
        known(f"{name}-adapted"),
        nets={weights_file(name): partial(S2Net, *SIZES[name])},
        learn=adapt,
        start=SHIPPED,
        constants=ADAPT_CONSTANTS,
    )
    return replace(known(name), load=partial(_load, name)), adapted


METHODS = tuple(method for name in SIZES for method in _methods(name))
