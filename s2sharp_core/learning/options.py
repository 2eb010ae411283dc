"""Options of a fit, its course, and its progress callback."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Tell = Callable[[int, int, float], None]
"""Callback, called now and then with (step, steps, mean loss since the last call)."""


def silent(*_: object) -> None:
    """Ignore the progress."""


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
    protocol: str = "fitted to the scene itself, without a reference"


@dataclass(frozen=True)
class FitCourse:
    """Course of a fit.

    ``checkpoint``: a safetensors file, written now and then and read if it exists. The caller removes it, and names it
    after the training data.
    """

    steps: int
    seed: int = 0
    checkpoint: Path | None = None
    tell: Tell = silent
