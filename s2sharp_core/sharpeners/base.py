"""Sharpeners: methods that are ready to use."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ..bands import COARSE
from ..errors import S2SharpError
from ..networks.precision import Arithmetic
from ..sensor.response import SENTINEL2, Sensor
from ..windows import BATCH


def digest_of(facts: Any) -> str:
    """Return the sha256 of facts that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class Sharpener(ABC):
    """A method that is ready to use: frozen, pure, and picklable by reference to its origin.

    Attributes
    ----------
    bands
        Coarse bands that it returns; 10 m bands never pass through it.
    reads
        Bands that it reads, in ESA's order. A pixel is sharpened where all of them are valid.
    halo
        Cells of context that it needs on every side; computed from the method, not guessed.
    period
        Number of cells of which the window side must be a multiple (strides, attention windows).
    tolerance
        Largest change of a value by pixels beyond the halo, in units of 1/10 000 of reflectance (DN); 0 if nothing
        beyond the halo is read.
    abreast
        Whether windows may run at once in threads of one process.
    any_shape
        Whether a window may have any shape: no bit of a value depends on it.
    batch
        Windows that a GPU receives at once. The number is halved each time its memory does not hold them.
    arithmetic
        Number format of its nets: float32, bfloat16 or int8.
    results
        Number that is raised when the method comes to give other values from the same weights. Cubes that were begun
        before are then not continued with other pixels.
    sensor
        Sensor of the product: kernels, shifts and noise of its bands.
    precision
        The arithmetic and the device; part of the key of its results.
    digest
        A sha256 of everything that determines its output: method, number of results, bands, weights and sensor.
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
    any_shape: bool = False
    batch: int = BATCH
    results: int = 1
    sensor: Sensor = SENTINEL2

    def see_with(self, sensor: Sensor) -> None:
        """Use ``sensor`` in place of the default one."""
        self.sensor = sensor

    def joins(self, window: int) -> bool:  # noqa: ARG002  (of the net)
        """Return whether windows of so many cells may be sharpened as one: no bit of a value depends on their shape."""
        return False

    @property
    def multiply_adds(self) -> float:
        """Return the multiply-adds of its networks or filters per 10 m pixel; NaN if they are not known."""
        return math.nan

    @property
    def precision(self) -> str:
        return self.arithmetic if self.device == "cpu" else f"{self.arithmetic} on {self.device}"

    def compute_in(self, precision: str) -> None:
        """Choose the arithmetic: ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"int8"``.

        Raises
        ------
        S2SharpError
            ``bad-config`` if the method, its weights or the processor cannot compute in it.
        """
        if precision not in ("auto", "float32"):
            why = "its numbers need more digits"
            if precision == "int8":
                why = "that needs a processor with VNNI, and weights that hold the ranges of their numbers"
            raise S2SharpError(
                "bad-config",
                f"{self.name} cannot compute in {precision} on this machine: {why}.",
                "Choose --precision float32; a run that was begun with another one needs another --out. If workers said "
                "so and you gave no --precision, they have another processor than the machine that planned the run.",
            )

    @property
    def digest(self) -> str:
        seen = [asdict(self.sensor.response(band)) for band in self.bands if band in COARSE]
        facts = [self.name, self.results, self.bands, self.weights, asdict(self.sensor), seen]
        return digest_of(facts)

    @abstractmethod
    def sharpen(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Sharpen a batch of windows.

        Parameters
        ----------
        y10, y20, y60
            Reflectance, without gaps, of the bands in ``reads``, by GSD: (n, ≤4, 6h, 6w),
            (n, ≤6, 3h, 3w), (n, ≤2, h, w). A GSD without bands in ``reads`` has no channels.
        known
            (n, 1, h, w): 1 in cells that have data, 0 in those where a gap was closed. None: all have.

        Returns
        -------
        dict
            Band → (n, 6h, 6w), reflectance.
        """

    def sharpen_inner(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Sharpen windows without a result in the halo: as :meth:`sharpen`, but values in the halo are undefined."""
        return self.sharpen(y10, y20, y60, known)

    @abstractmethod
    def __reduce__(self) -> tuple[Callable[..., "Sharpener"], tuple[Any, ...]]:
        """Pickle as a name and a digest, never as weights."""
