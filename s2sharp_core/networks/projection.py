"""The last steps of s2net: 20 m bands brought to what was seen of them, and every band held to its surroundings' range."""

import math
from collections.abc import Callable
from functools import lru_cache, reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BY_GSD
from ..sensor.observation import LARGEST_SHIFT, Sensor, degrade, psf
from ..sensor.upsampling import upsample
from .carrying import NARROW, Sight, in_halves, typical, wiener
from .planes import along, cropped, phases_of, seen, smooth
from .support import Interval, halved, interpolated_from, seen_from, wider

__all__ = ["BACK", "around", "blur", "held", "projected", "projected_from"]

BACK = 3
"""Taps of h on each side, the filter that brings back what is lacking."""

# Terms of the Neumann series: as many iterations of back-projection.
_TERMS = 4
# Pixels of a band around, whose range holds the result.
_AROUND = 2


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _back_filters(sensor: Sensor) -> Tensor:
    """H of each 20 m band: the sum of (1 - A U)ⁱ, i < ``_TERMS``, cut to 2·``BACK`` + 1 taps: float64 (6, taps).

    A U, interpolation seen again, is a separable filter on the coarse grid; the series is taken along each axis.
    """
    bands, half = BY_GSD[20], 8
    in_place = Sensor(responses=tuple(typical(band, (band,), sensor) for band in bands))
    impulse = torch.zeros(1, len(bands), 1 + 4 * half, 1 + 4 * half, dtype=torch.float64)
    impulse[..., 2 * half, 2 * half] = 1
    seen = degrade(upsample(impulse, 2), bands, 2, in_place)[0, :, half:-half, half:-half]
    # Each of sum 1, so that the sum over one axis is the filter along the other.
    once = seen.sum(dim=2)
    once = once / once.sum(dim=1, keepdim=True)
    middle = once.shape[1] // 2
    term = torch.zeros_like(once)
    term[:, middle] = 1
    total, rest = torch.zeros_like(once), term - once
    for _ in range(_TERMS):
        total = total + term
        term = F.conv1d(term[None], rest.flip(1)[:, None], padding=middle, groups=len(bands))[0]
    cut = total[:, middle - BACK : middle + BACK + 1]
    return cut / cut.sum(dim=1, keepdim=True)


def projected(x: Tensor, y: Tensor, doubt: Tensor, sensor: Sensor, rim: int = 0) -> Tensor:
    """Bring the 20 m bands ``x`` (n, 6, 4, 3h, 3w) to what was seen of them, ``y`` (n, 6, 3h, 3w).

    ``rim``: pixels on every side that are left out.
    """
    read = max(0, rim - around(_rest_from()))
    rest = in_halves(cropped(y - seen(x, BY_GSD[20], sensor), read))
    rest = rest * wiener(smooth(rest.square(), NARROW), cropped(doubt, read))
    rest = F.pad(rest[:, :6] + rest[:, 6:], [BACK] * 4, mode="replicate")
    taps = [*_back_filters(sensor).to(x).T[:, :, None, None]]
    rest = along(along(rest, taps, -2), taps, -1)
    rest = phases_of(rest, 2, shifts=Sight.of(sensor).shifts20)
    return cropped(x, rim) + cropped(rest, rim - read)


def held(x: Tensor, y: Tensor, ratio: int, rim: int) -> Tensor:
    """Hold ``x`` (n, bands, 4, 3h, 3w) to the range of what was seen, ``y``, around each pixel.

    The range goes from the lowest to the highest of the 5 × 5 pixels of the band. No pixel of a 20 m band lies further
    outside it than it is wide, of a 60 m band than nine times that, since of the contrast of a point of 10 m a 36th is left
    there in place of a quarter; nor below 0 where none of these pixels does. A defect, a flare or a clipped cloud contradicts
    the sensor's kernel, and its inverse would answer with rings.
    ``rim``: pixels of the band on every side of ``y`` that ``x`` does not cover.
    """
    there = min(rim, _AROUND)
    y = cropped(y, rim - there)
    low, high = (cropped(_most_around(y, pick), there) for pick in (torch.minimum, torch.maximum))
    room = ratio**2 * (high - low)
    low, high = torch.maximum(low - room, low.clamp_max(0)), high + room
    if ratio > 1:
        low, high = (F.interpolate(end, scale_factor=ratio, mode="nearest") for end in (low, high))
    return torch.minimum(torch.maximum(x, low[:, :, None]), high[:, :, None])


def _most_around(y: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The lowest or highest of the pixels around each: along one axis, then along the other."""
    y = F.pad(y, [_AROUND] * 4, mode="replicate")
    for dim in (-2, -1):
        n = y.shape[dim] - 2 * _AROUND
        y = reduce(pick, (y.narrow(dim, i, n) for i in range(2 * _AROUND + 1)))
    return y


def _rest_from() -> Interval:
    """Pixels of 20 m whose difference from what was seen changes a cell."""
    return wider(interpolated_from((0, 5), 2, "cubic"), BACK + 1 + 2 + math.ceil(LARGEST_SHIFT))


def projected_from() -> Interval:
    """Pixels of 20 m whose corrected picture changes a cell."""
    return halved(seen_from(_rest_from(), 2, blur()))


def blur() -> int:
    """Pixels of 10 m that a 20 m pixel is blurred from on each side of its own, off by a pixel at most."""
    widest = max((psf(band, 2).numel() - 2) // 2 for band in BY_GSD[20])
    return widest + 2 * math.ceil(LARGEST_SHIFT)


def around(cell: Interval) -> int:
    """Pixels of 20 m on each side of a cell."""
    return max(-cell[0], cell[1] - 2)
