"""What a method is, and what it becomes once it is ready to use."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..bands import COARSE
from ..errors import S2SharpError
from ..learning.fitting import FitOptions, Tell
from ..networks.arithmetic import Arithmetic
from ..sensor.observation import SENTINEL2, Sensor
from ..sensor.sample import Sample

__all__ = ["Fit", "Method", "Sharpener"]


class Sharpener(ABC):
    """A method ready to use: frozen, pure, and picklable by reference to what it was made from.

    Attributes
    ----------
    bands
        The coarse bands it returns; 10 m bands never pass through it.
    reads
        The bands it reads, in ESA's order. A pixel is sharpened where all of them are valid.
    halo
        Cells of context it needs on every side; computed from the method, not guessed.
    period
        Cells that its windows must be a multiple of (strides, attention windows).
    tolerance
        In units of 1/10 000 of reflectance (DN): what lies beyond the halo can change a value by no
        more; 0 where nothing beyond the halo is read.
    abreast
        Whether windows may be at work at once in threads of one process.
    arithmetic
        What its nets compute in: float32 or bfloat16.
    results
        A number that is raised when the method comes to give other values from the same weights: cubes that were begun
        before are then not continued with other pixels.
    sensor
        How the product was seen that it sharpens: kernels, shifts and noise of its bands.
    precision
        The arithmetic and the device, part of what its results are recorded under.
    digest
        A sha256 over all that decides its output: method and its number of results, bands, weights and sensor.
    """

    name: str
    bands: tuple[str, ...]
    reads: tuple[str, ...]
    halo: int
    period: int = 1
    weights: dict[str, str]
    device: str = "cpu"
    tolerance: float = 0.0
    arithmetic: Arithmetic = "float32"
    abreast: bool = True
    results: int = 1
    sensor: Sensor = SENTINEL2

    def see_with(self, sensor: Sensor) -> None:
        """Sharpen products that were seen with ``sensor``, in place of the default one."""
        self.sensor = sensor

    @property
    def precision(self) -> str:
        return self.arithmetic if self.device == "cpu" else f"{self.arithmetic} on {self.device}"

    def compute_in(self, precision: str) -> None:
        """Choose the arithmetic: ``"auto"``, ``"float32"`` or ``"bfloat16"``.

        Raises
        ------
        S2SharpError
            ``bad-config`` where a method has no net that bfloat16 would do for.
        """
        if precision == "bfloat16":
            raise S2SharpError(
                "bad-config",
                f"{self.name} computes in float32: bfloat16 would keep too few digits of it.",
                "Leave --precision out.",
            )

    @property
    def digest(self) -> str:
        seen = [asdict(self.sensor.response(band)) for band in self.bands if band in COARSE]
        facts = [self.name, self.results, self.bands, self.weights, asdict(self.sensor), seen]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @abstractmethod
    def sharpen(self, y10: Tensor, y20: Tensor, y60: Tensor) -> dict[str, Tensor]:
        """Sharpen a batch of windows.

        Parameters
        ----------
        y10, y20, y60
            Reflectance without gaps of the bands in ``reads``, by GSD: (n, ≤4, 6h, 6w),
            (n, ≤6, 3h, 3w), (n, ≤2, h, w); a GSD of which nothing is read has no channels.

        Returns
        -------
        dict
            Band → (n, 6h, 6w), reflectance.
        """

    def sharpen_inner(self, y10: Tensor, y20: Tensor, y60: Tensor) -> dict[str, Tensor]:
        """Sharpen windows of whose result the halo is not needed: as :meth:`sharpen`, anything may stand there."""
        return self.sharpen(y10, y20, y60)

    @abstractmethod
    def __reduce__(self) -> tuple[Callable[..., "Sharpener"], tuple[Any, ...]]:
        """Travel between processes as a name and a digest, never as weights."""


Fit = Callable[[Sample, Sensor, tuple[str, ...], FitOptions, Path, str, Tell], None]
"""Learn on a sample and leave the weights in a folder: (sample, sensor, bands, options, folder, device,
tell)."""


@dataclass(frozen=True)
class Method:
    """A way to sharpen: what it is, what it needs, what it costs, where it was published.

    Attributes
    ----------
    summary, needs
        In a few words each: they stand in one line of a list.
    cost
        Multiply-adds per 10 m pixel, for all coarse bands; "2 ×": a net for 20 m and one for 60 m.
    load
        (bands, folder with weights or None for the shipped ones, device) → its sharpener.
    fit
        For a method that learns on the scene: what learns. None for one that is ready at once.
    blank
        (bands, device) → a sharpener as it will be when it has been fitted, halo and all, but for the
        weights.
    steps
        What a fit takes when it is not told another number.
    fewest
        Steps of the shortest fit.
    smallest
        Side in cells of the smallest window that it can learn from.
    constants
        Numbers in its code, or lists of them, that the weights of a fit follow from.
    senses
        Whether its result follows from the sensor: False where it looks at nothing but the pixels.
    """

    name: str
    summary: str
    needs: str
    cost: str
    source: str
    bands: tuple[str, ...]
    load: Callable[[tuple[str, ...], Path | None, str], Sharpener]
    fit: Fit | None = None
    blank: Callable[[tuple[str, ...], str], Sharpener] | None = None
    steps: int = 0
    fewest: int = 1
    smallest: int = 0
    constants: Mapping[str, Any] = field(default_factory=dict)
    senses: bool = True

    def check_steps(self, steps: int | None) -> None:
        """Refuse a fit of fewer steps than it takes; None is the method's own number.

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
