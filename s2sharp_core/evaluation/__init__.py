"""Judgement of methods: cases with a truth or without, and figures.

May import everything of the core. Scenes → :func:`protocols` → cases → :func:`evaluate` → rows of figures.
"""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "cases": ["BenchScene", "Case", "Protocol"],
        "combining": ["Row", "combined"],
        "drawn": ["drawn_scenes"],
        "evaluate": ["Result", "judge", "outline", "prepare"],
        "indices": ["INDICES"],
        "metrics": ["rmse", "sre"],
        "protocols": ["PROTOCOLS", "synthetic_scenes"],
        "scoring": ["METRICS"],
        "spectrum": ["departure"],
    },
)
