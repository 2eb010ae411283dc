"""Training of nets: on one scene, on many, and from the weights of others.

May import networks, weights, sensor.
Main path: a :class:`Sample` or training pairs → :func:`optimise`, or a recipe → weights.
"""

from typing import TYPE_CHECKING

from ..faces import face

if TYPE_CHECKING:
    from .dsen2 import Pair, Recipe, synthetic_pairs, train, wald_pair
    from .fitting import CONSTANTS, EPS, FEWEST, Curve, optimise
    from .keras import import_keras
    from .options import FitOptions, Tell
    from .s2net import ADAPT_CONSTANTS, ADAPT_STEPS, SIZES, S2Recipe, adapt, teach
    from .uncertainty import Width, clues, half_width, reach

__all__ = [
    "ADAPT_CONSTANTS",
    "ADAPT_STEPS",
    "CONSTANTS",
    "EPS",
    "FEWEST",
    "SIZES",
    "Curve",
    "FitOptions",
    "Pair",
    "Recipe",
    "S2Recipe",
    "Tell",
    "Width",
    "adapt",
    "clues",
    "half_width",
    "import_keras",
    "optimise",
    "reach",
    "synthetic_pairs",
    "teach",
    "train",
    "wald_pair",
]

__getattr__, __dir__, _ = face(
    __name__,
    {
        "dsen2": ["Pair", "Recipe", "synthetic_pairs", "train", "wald_pair"],
        "fitting": ["CONSTANTS", "Curve", "EPS", "FEWEST", "optimise"],
        "keras": ["import_keras"],
        "options": ["FitOptions", "Tell"],
        "s2net": ["ADAPT_CONSTANTS", "ADAPT_STEPS", "S2Recipe", "SIZES", "adapt", "teach"],
        "uncertainty": ["Width", "clues", "half_width", "reach"],
    },
)
