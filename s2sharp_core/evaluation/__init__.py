"""Evaluation of methods: cases with or without a known truth, and figures.

May import everything of the core.
Main path: scenes → :func:`protocols` → cases → :func:`evaluate` → rows of figures.
"""

from ..lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "cases": ["BenchScene", "Case", "Protocol"],
        "combining": ["Row", "combined"],
        "harm_scenes": ["drawn_scenes"],
        "evaluate": ["Result", "judge", "outline", "prepare"],
        "metrics": ["INDICES", "rmse", "sre"],
        "protocols": ["PROTOCOLS", "synthetic_scenes"],
        "scoring": ["METRICS"],
        "spectrum": ["departure"],
    },
)
