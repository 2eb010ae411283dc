"""Training of nets: on one scene, on many, and from the weights of others.

May import networks, weights, sensor.
Main path: a :class:`Sample` or training pairs → :func:`optimise`, or a recipe → weights.
"""

from ..lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "dsen2": ["Pair", "Recipe", "synthetic_pairs", "train", "wald_pair"],
        "fitting": ["CONSTANTS", "Curve", "EPS", "optimise"],
        "keras": ["import_keras"],
        "options": ["FitCourse", "FitOptions", "Tell", "silent"],
        "s2net": ["ADAPT_CONSTANTS", "S2Recipe", "SIZES", "adapt", "train_net"],
        "uncertainty": ["WidthModel", "error_clues", "half_width", "reach"],
    },
)
