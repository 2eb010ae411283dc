"""Options of a fit, and what it tells on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OF_A_SCENE", "FitOptions", "Tell"]

Tell = Callable[[int, int, float], None]
"""Called with (step, steps, mean loss since the last call) now and then."""

OF_A_SCENE = "fitted to the scene itself, without a reference"
"""What the card of weights says of how they came to be."""


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit.

    ``steps``: None for the method's own number; ``start``: a folder with weights of the same method to
    begin from. ``scenes``: the names of what the sample shows, and ``protocol``: how it is learned from;
    both stand in the card of the weights and change nothing else.
    """

    steps: int | None = None
    seed: int = 0
    start: Path | None = None
    scenes: tuple[str, ...] = ()
    protocol: str = OF_A_SCENE
