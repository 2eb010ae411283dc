"""Sharpeners: methods that are ready to use."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ..bands import COARSE
from ..errors import S2SharpError
from ..networks.arithmetic import Arithmetic
from ..sensor.known import SENTINEL2, Sensor
from ..windows import BATCH

__all__ = ["Sharpener"]


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
    batch
        Windows that a GPU is given as one. They are halved each time that its memory does not hold them.
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
    batch: int = BATCH
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
