"""Options of a fit, and its progress callback."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Tell = Callable[[int, int, float], None]
"""Callback, called now and then with (step, steps, mean loss since the last call)."""

OF_A_SCENE = "fitted to the scene itself, without a reference"
"""Origin of fitted weights, as stated in their card."""


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit.

    ``steps``: None for the method's default; ``start``: a folder with weights of the same method to begin from.
    ``scenes``: names of the scenes in the sample, and ``protocol``: the way of learning. Both are stated in the card
    of the weights and change nothing else.
    """

    steps: int | None = None
    seed: int = 0
    start: Path | None = None
    scenes: tuple[str, ...] = ()
    protocol: str = OF_A_SCENE
