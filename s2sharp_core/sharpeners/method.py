"""Description of a method: its needs, its cost, and the functions that make it ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import S2SharpError

if TYPE_CHECKING:
    from ..learning.options import FitOptions, Tell
    from ..sensor.known import Sensor
    from ..sensor.sample import Sample
    from .base import Sharpener

Fit: TypeAlias = "Callable[[Sample, Sensor, tuple[str, ...], FitOptions, Path, str, Tell], None]"
"""Type of a function that learns on a sample and writes weights to a folder: (sample, sensor, bands, options, folder, device,
tell)."""


@dataclass(frozen=True)
class Method:
    """A sharpening method: what it is, what it needs and costs, and where it was published.

    Attributes
    ----------
    summary, needs
        A few words each: they stand in one line of a list.
    cost
        Multiply-adds per 10 m pixel, for all coarse bands; "2 ×": a net for 20 m and one for 60 m.
    gain
        Mean SRE of the 20 m bands above interpolation's, in dB, or None if not measured. Measured on the real scenes of
        docs/figures.md by protocol ``mtf``, which asks no method for more than the others.
    speed
        Millions of 10 m pixels a second, all bands, two threads, without a fit; None if not measured.
    when
        When to choose it, in a few words.
    load
        (bands, folder with weights or None for the shipped ones, device) → its sharpener.
    fit
        Function that learns, for a method that learns on the scene. None for a method that needs no fit.
    blank
        (bands, device) → the sharpener as after a fit, with its halo, but without weights.
    steps
        Default number of steps of a fit.
    fewest
        Steps of the shortest fit: 2 with batch norms, whose statistics are frozen between the two.
    smallest
        Side in cells of the smallest window that it can learn from.
    constants
        Numbers in its code, or lists of them, that determine the weights of a fit.
    senses
        Whether its result depends on the sensor: False for a method that uses only the pixels.
    joins
        Whether a CPU may sharpen neighbouring windows as one.
    """

    name: str
    summary: str
    needs: str
    cost: str
    source: str
    bands: tuple[str, ...]
    load: "Callable[[tuple[str, ...], Path | None, str], Sharpener]"
    fit: "Fit | None" = None
    blank: "Callable[[tuple[str, ...], str], Sharpener] | None" = None
    steps: int = 0
    fewest: int = 1
    smallest: int = 0
    constants: Mapping[str, Any] = field(default_factory=dict)
    senses: bool = True
    joins: bool = False
    gain: float | None = None
    speed: float | None = None
    when: str = ""

    def check_steps(self, steps: int | None) -> None:
        """Refuse a fit with too few steps; None is the default number of the method.

        Raises
        ------
        S2SharpError
            ``bad-config``, with the smallest number.
        """
        if steps is not None and steps < self.fewest:
            raise S2SharpError(
                "bad-config",
                f"A fit of {self.name} takes at least {self.fewest} steps, not {steps}.",
                f"Give {self.fewest} or more, or leave the number to the method.",
            )
