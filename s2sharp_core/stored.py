"""Reflectance as whole numbers, as cubes keep it, on any device."""

import math

import numpy as np
import torch
from torch import Tensor

from .bands import NO_DATA

_DN = 10_000.0


def as_stored(x: Tensor, kind: np.dtype) -> Tensor:
    """Convert float32 reflectance (not changed) to ``kind``; NaN becomes :func:`no_data`.

    float32: as it is. int16: DN, rounded and clipped. uint16: DN of a figure, such as a half-width, from 1; its bits are
    given as int16, because torch knows little of uint16.
    """
    if kind == np.float32:
        return x
    least, most = (NO_DATA + 1, 32767) if kind == np.int16 else (1, 65535)
    dn = (x * _DN).round_().clamp_(least, most).nan_to_num_(nan=no_data(kind))
    return (dn if kind == np.int16 else dn.to(torch.int32)).to(torch.int16)


def no_data(kind: np.dtype) -> float:
    """Return the value of pixels without data."""
    return {"f": math.nan, "i": NO_DATA, "u": 0}[kind.kind]
