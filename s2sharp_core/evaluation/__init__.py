"""How methods are judged: cases with a truth or without, and figures.

May import everything of the core. Scenes → :func:`protocols` → cases → :func:`evaluate` → rows of figures.
"""

from typing import TYPE_CHECKING

from ..faces import face

if TYPE_CHECKING:
    from .cases import Case, Protocol, Scene
    from .combining import Row, combined
    from .drawn import drawn_scenes
    from .evaluate import Result, judge, outline, prepare
    from .indices import INDICES
    from .metrics import rmse, sre
    from .protocols import PROTOCOLS, synthetic_scenes
    from .scoring import METRICS
    from .spectrum import departure

__all__ = [
    "INDICES",
    "METRICS",
    "PROTOCOLS",
    "Case",
    "Protocol",
    "Result",
    "Row",
    "Scene",
    "combined",
    "departure",
    "drawn_scenes",
    "judge",
    "outline",
    "prepare",
    "rmse",
    "sre",
    "synthetic_scenes",
]

__getattr__, __dir__ = face(
    __name__,
    {
        "cases": ["Case", "Protocol", "Scene"],
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
