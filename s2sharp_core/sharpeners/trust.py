"""Trust in a sharpened place: two figures of every cell, from the result and the measured pixels, for any method.

``residual``: the result degraded by the sensor model, minus the measured pixels. The measurement contradicts the
result by that much. An error that averages out within a coarse pixel does not show. So this figure says little about
a method that makes its result agree with the measurement (s2net), and most about one that does not.

``detail``: the result minus a plain interpolation. That much was transferred from finer bands, and not measured at 10
m. More detail can hold more errors. The figure says nothing about interpolation itself, which adds none.

Neither is an error or a bound of one: they rank places. docs/trust.md shows how well, on held-out landscapes and on
airborne truth (``tests.benchmarks.trust``).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BANDS, TRUST, ratio
from ..sensor.observation import degrade, psf
from ..sensor.response import LARGEST_SHIFT
from ..sensor.upsampling import upsample
from .added_layers import WithLayers
from .base import Sharpener, digest_of

# Raise it when the figures change.
_VERSION = 1
# Coarse pixels on each side that cubic interpolation reads.
_CUBIC = 2


class WithTrust(WithLayers):
    """A sharpener that adds :data:`TRUST` to its bands, as two more layers.

    Its halo is larger by the area that the two need, so that they do not depend on where windows are cut. In the
    other bands, this changes no more than rounding.
    """

    def __init__(self, inner: Sharpener) -> None:
        super().__init__(inner, TRUST, max(map(_reach, inner.bands)))

    @property
    def digest(self) -> str:
        return digest_of([self.inner.digest, TRUST, _VERSION])

    def sharpen(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        out = self.inner.sharpen(y10, y20, y60, known)
        residual, detail = [], []
        for gsd, bands, x, y in self.compared(out, y20, y60):
            times = ratio(gsd)
            residual.append(_mean_square(degrade(x, bands, times, self.sensor) - y, 60 // gsd))
            detail.append(_mean_square(x - upsample(y, times), 6))
        for name, squares in zip(TRUST, (residual, detail), strict=True):
            figure = torch.cat(squares, dim=1).mean(dim=1).sqrt()
            out[name] = figure.repeat_interleave(6, dim=1).repeat_interleave(6, dim=2)
        return out

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        return WithTrust, (self.inner,)


def _reach(band: str) -> int:
    """Return the number of cells around a cell that its figures depend on, with the largest shift."""
    times = ratio(BANDS[band].gsd)
    blur = (psf(band, times).numel() - times) // 2 + math.ceil(LARGEST_SHIFT * times)
    return -(-max(blur, _CUBIC * times) // 6)


def _mean_square(x: Tensor, side: int) -> Tensor:
    """Return the mean square over the cells of ``side`` × ``side`` pixels."""
    return F.avg_pool2d(x.square(), side)
