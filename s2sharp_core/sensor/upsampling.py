"""Interpolation between grids whose pixels share their centres, with correction of shifted bands."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .response import Shifts

# Number of coarse pixels on each side that an interpolation reads.
_SUPPORT = {"linear": 1, "cubic": 2}


def _cubic(t: float) -> float:
    """Return Keys' cubic convolution kernel, a = -1/2 (IEEE TASSP 1981)."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


@lru_cache(maxsize=256)
@torch.inference_mode(mode=False)
def _phases(ratio: int, kind: str, shift: float, support: int) -> Tensor:
    """Return interpolation weights of each phase of one coarse pixel: (ratio, 2·support + 1), float64."""
    weight = _cubic if kind == "cubic" else lambda t: max(0.0, 1 - abs(t))
    at = [(phase + 0.5) / ratio - 0.5 + shift for phase in range(ratio)]
    rows = [[weight(a - tap) for tap in range(-support, support + 1)] for a in at]
    return torch.tensor(rows, dtype=torch.float64)


def weights_of_phases(ratio: int, kind: str, shifts: Shifts, axis: int) -> Tensor:
    """Return interpolation weights along one axis of the ``ratio`` phases of a coarse pixel: float64 (shifts, ratio,
    odd).
    """
    support = _SUPPORT[kind] + max(math.ceil(abs(d)) for shift in shifts for d in shift)
    return torch.stack([_phases(ratio, kind, shift[axis], support) for shift in shifts])


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
def _weights(
    ratio: int, kind: str, shifts: Shifts, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return :func:`weights_of_phases` down and across, on a device."""
    down, across = (weights_of_phases(ratio, kind, shifts, axis) for axis in (0, 1))
    return down.to(device, dtype), across.to(device, dtype)


def upsample(y: Tensor, ratio: int, kind: str = "cubic", shifts: Shifts | None = None) -> Tensor:
    """Interpolate to a grid ``ratio`` times finer, with pixel centres at their place on the ground.

    The weights depend on the phase alone, and not on the position in the array. So the result is the same wherever a
    window is cut.

    Parameters
    ----------
    y
        (n, c, h, w); continued by replication at its edges.
    kind
        ``"linear"`` or ``"cubic"`` (Keys, a = -1/2).
    shifts
        Shift of each channel, which is corrected. None: all lie in place.

    Returns
    -------
    Tensor
        (n, c, ratio·h, ratio·w)
    """
    c = y.shape[1]
    moved = shifts if shifts and any(map(any, shifts)) else ((0.0, 0.0),)
    down, across = _weights(ratio, kind, moved, y.dtype, y.device)
    s = down.shape[2] // 2
    kernels = [
        torch.einsum("iy,jx->ijyx", one, other) for one, other in zip(down, across, strict=True)
    ]
    each = [k.reshape(ratio * ratio, 1, 2 * s + 1, 2 * s + 1) for k in kernels]
    kernel = torch.cat(each if len(each) == c else each * c)
    # Channels last: several times faster for filters that do not mix channels.
    y = F.pad(y.contiguous(memory_format=torch.channels_last), [s] * 4, mode="replicate")
    return F.pixel_shuffle(F.conv2d(y, kernel, groups=c), ratio)


def reach(radius: int, ratio: int, kind: str) -> tuple[int, int]:
    """Return which coarse pixels the 10 m pixels within ``radius`` of a 60 m cell are interpolated from.

    Returns
    -------
    tuple
        (before, after): pixels of the coarse grid read beyond the cell's first and last one.
    """
    s = _SUPPORT[kind]
    first = math.floor((-radius + 0.5) / ratio - 0.5) - (s - 1)
    last = math.floor((5 + radius + 0.5) / ratio - 0.5) + s
    return -first, last - (6 // ratio - 1)
