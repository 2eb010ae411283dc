"""Bicubic interpolation, the baseline of every method."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bands import BANDS, BY_GSD, ratio
from ..errors import S2SharpError
from ..sensor.response import Sensor
from ..sensor.upsampling import reach, upsample
from .base import Sharpener
from .methods import known


class Bicubic(Sharpener):
    """Keys' cubic convolution, a = -1/2 (IEEE TASSP 29, 1981), each band by itself."""

    name = "bicubic"

    def __init__(self, bands: tuple[str, ...], device: str = "cpu") -> None:
        self.bands = bands
        self.reads = bands
        self.device = device
        self.weights = {}
        cells = [
            -(-max(reach(0, ratio(g), "cubic")) // (60 // g)) for g in {BANDS[b].gsd for b in bands}
        ]
        self.halo = max(cells, default=0)

    @property
    def multiply_adds(self) -> float:
        return 25.0 * len(self.bands)

    def sharpen(
        self,
        y10: Tensor,  # noqa: ARG002
        y20: Tensor,
        y60: Tensor,
        known: Tensor | None = None,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for gsd, y in ((20, y20), (60, y60)):
            wanted = [b for b in BY_GSD[gsd] if b in self.bands]
            if wanted:
                out.update(zip(wanted, torch.unbind(upsample(y, ratio(gsd)), dim=1), strict=True))
        return out

    def see_with(self, sensor: Sensor) -> None:
        """Ignore the sensor, because interpolation does not depend on it."""

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        return Bicubic, (self.bands, self.device)


def _load(bands: tuple[str, ...], weights: Path | None, device: str) -> Sharpener:
    if weights is not None:
        raise S2SharpError("bad-config", "bicubic has no weights.", "Leave --weights out.")
    return Bicubic(bands, device)


METHODS = (replace(known("bicubic"), load=_load),)
