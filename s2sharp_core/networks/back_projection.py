"""Last steps of s2net: 20 m bands are made consistent with the observation, and all bands kept in a local range."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BY_GSD
from ..sensor.observation import degrade, psf
from ..sensor.response import LARGEST_SHIFT, Sensor
from ..sensor.upsampling import upsample
from .detail_transfer import NARROW, NetSensor, in_halves, wiener
from .planes import along, cropped, phases_of, seen, smooth
from .receptive_field import Interval, halved, interpolated_from, seen_from, wider

BACK = 3
"""Taps on each side of h, the filter of the back-projection."""

# Terms of the Neumann series, each equal to an iteration of back-projection.
_TERMS = 4
# Pixels of a band on each side whose range limits the result.
_AROUND = 2


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _back_filters(sensor: Sensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return h of each 20 m band: the sum of (1 - A U)ⁱ, i < ``_TERMS``, cut to 2·``BACK`` + 1 taps: (6, taps).

    A U, interpolation and then degradation, is a separable filter on the coarse grid. The series is summed along each axis.
    """
    bands, half = BY_GSD[20], 8
    in_place = Sensor(
        responses=tuple(replace(sensor.response(band), dy=0.0, dx=0.0) for band in bands)
    )
    impulse = torch.zeros(1, len(bands), 1 + 4 * half, 1 + 4 * half, dtype=torch.float64)
    impulse[..., 2 * half, 2 * half] = 1
    seen = degrade(upsample(impulse, 2), bands, 2, in_place)[0, :, half:-half, half:-half]
    # The filters sum to 1, so the sum over one axis is the filter along the other.
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
    return (cut / cut.sum(dim=1, keepdim=True)).to(device, dtype)


def projected(x: Tensor, y: Tensor, doubt: Tensor, sensor: Sensor, rim: int = 0) -> Tensor:
    """Make the 20 m bands ``x`` (n, 6, 4, 3h, 3w) consistent with the observation ``y`` (n, 6, 3h, 3w).

    ``rim``: pixels on every side that the result leaves out.
    """
    read = max(0, rim - around(_rest_from()))
    rest = in_halves(cropped(y - seen(x, BY_GSD[20], sensor), read))
    rest = rest * wiener(smooth(rest.square(), NARROW), cropped(doubt, read))
    rest = F.pad(rest[:, :6] + rest[:, 6:], [BACK] * 4, mode="replicate")
    taps = [*_back_filters(sensor, x.dtype, x.device).T[:, :, None, None]]
    rest = along(along(rest, taps, -2), taps, -1)
    rest = phases_of(rest, 2, shifts=NetSensor.of(sensor).shifts20)
    return cropped(x, rim) + cropped(rest, rim - read)


def limited(x: Tensor, y: Tensor, ratio: int, rim: int) -> Tensor:
    """Limit ``x`` (n, bands, 4, 3h, 3w) to the range of the observation ``y`` around each pixel.

    The range is that of the 5 × 5 nearest pixels of the band. A 20 m band may leave it by its width, a 60 m band by nine
    times its width. No result is below 0 unless one of these pixels is. Around a value that the sensor's kernel does not
    explain, its inverse would ring (docs/design.md).
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
    """Return the lowest or highest of the pixels around each: along one axis, then along the other."""
    y = F.pad(y, [_AROUND] * 4, mode="replicate")
    for dim in (-2, -1):
        n = y.shape[dim] - 2 * _AROUND
        y = reduce(pick, (y.narrow(dim, i, n) for i in range(2 * _AROUND + 1)))
    return y


def _rest_from() -> Interval:
    """Return the pixels of 20 m whose difference from the observation changes a cell."""
    return wider(interpolated_from((0, 5), 2, "cubic"), BACK + 1 + 2 + math.ceil(LARGEST_SHIFT))


def projected_from() -> Interval:
    """Return the pixels of 20 m whose corrected picture changes a cell."""
    return halved(seen_from(_rest_from(), 2, blur()))


def blur() -> int:
    """Return the 10 m pixels on each side of its own that a 20 m pixel depends on, with the largest shift."""
    widest = max((psf(band, 2).numel() - 2) // 2 for band in BY_GSD[20])
    return widest + 2 * math.ceil(LARGEST_SHIFT)


def around(cell: Interval) -> int:
    """Return the pixels of 20 m on each side of a cell."""
    return max(-cell[0], cell[1] - 2)
