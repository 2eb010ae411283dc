"""Half-width of a 90 % interval around every sharpened pixel, from clues that need no truth.

Two clues show where a sharpened band errs. Detail that was transferred from finer bands may be wrong. And the result
may contradict the measured pixels, which shows how badly the finer bands explain this band here. Each clue is the
root of a local mean square. Their weighted geometric mean, times a number of the band, is the half-width. A gain or
an offset of the band changes it accordingly.

Weights and numbers are fitted on images with a known truth (``python -m tests.benchmarks.error90 --write``). The
interval holds for scenes like these.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ..bands import BANDS, ratio
from ..sensor.constants import constant
from ..sensor.observation import degrade, psf
from ..sensor.response import LARGEST_SHIFT, Sensor
from ..sensor.upsampling import upsample

CLUES = ("carried", "contradicted")
"""Detail transferred from finer bands, and the part of the measured pixels that the degraded result contradicts."""

# Sides of the squares of their means by ratio, in pixels of 10 m and in pixels of the band.
_CARRIED = {2: 3, 6: 7}
_CONTRADICTED = {2: 9, 6: 5}
FLOOR = 9e-8
"""Added to each mean square, reflectance²: (3 DN)², because no band is known better."""


@dataclass(frozen=True)
class WidthModel:
    """A rule for half-widths from clues.

    Attributes
    ----------
    weights
        GSD → one weight for each of :data:`CLUES`, ≥ 0, sum 1.
    scale
        Band → factor of their geometric mean.
    """

    weights: Mapping[int, tuple[float, ...]]
    scale: Mapping[str, float]


def error_clues(x: Tensor, y: Tensor, bands: Sequence[str], sensor: Sensor) -> list[Tensor]:
    """Return mean squares around every pixel, in the order of :data:`CLUES`.

    Parameters
    ----------
    x
        The result, (n, bands, r·h, r·w), reflectance.
    y
        The measured bands of one GSD, (n, bands, h, w).

    Returns
    -------
    list
        A (n, bands, r·h, r·w) for each clue, reflectance². Values within :func:`reach` of an edge are a guess.
    """
    times = ratio(BANDS[bands[0]].gsd)
    carried = (x - upsample(y, times, shifts=sensor.shifts(bands))).square()
    contradicted = _mean((degrade(x, bands, times, sensor) - y).square(), _CONTRADICTED[times])
    return [_mean(carried, _CARRIED[times]), upsample(contradicted, times, "linear")]


def half_width(mean_squares: Iterable[Tensor], bands: Sequence[str], width: WidthModel) -> Tensor:
    """Return half-widths (n, bands, h, w), reflectance, from the :func:`error_clues` of ``bands`` of one GSD."""
    carried, contradicted = ((square + FLOOR).log() for square in mean_squares)
    share, rest = width.weights[BANDS[bands[0]].gsd]
    scale = constant((width.scale[band] for band in bands), carried)
    return (0.5 * (share * carried + rest * contradicted)).exp() * scale[:, None, None]


def reach(band: str) -> int:
    """Return the number of cells around a cell that its half-widths depend on, whatever the sensor's shift."""
    times = ratio(BANDS[band].gsd)
    off = times * math.ceil(LARGEST_SHIFT)
    blur = (psf(band, times).numel() - times) // 2 + off
    # Interpolation reads one more coarse pixel, cubic interpolation two.
    contradicted = times * (_CONTRADICTED[times] // 2 + 1) + blur
    carried = _CARRIED[times] // 2 + 2 * times + off
    return -(-max(contradicted, carried) // 6)


def _mean(x: Tensor, side: int) -> Tensor:
    """Return the mean of the square of ``side`` × ``side`` pixels around each pixel, one axis after the other."""
    half = side // 2
    x = F.pad(x.contiguous(), [half] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, (side, 1), stride=1), (1, side), stride=1)
