"""Choice of the observation that a pixel shows: arrays in, arrays out.

Observations come in the order in which they are preferred where all else is equal: so the first of equals
is taken, and what is taken follows from the place alone.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, uniform_filter

from s2sharp_core.bands import HIDING, SceneClass

from ..cube.layout import FILL

__all__ = ["FAR", "clearance", "feathered", "medians", "medoid", "shares"]

FAR = 100
"""Pixels from cloud beyond which all are equally clear: 1 km."""

_EDGE = 12
"""Pixels from the edge of the data, 120 m, within which it was sharpened for want of what lies beyond."""


def clearance(cloud: np.ndarray, valid: np.ndarray, dilate: float) -> np.ndarray:
    """Compute how clear each pixel is: 0 not to be used, else how many pixels what hides the ground is away beyond
    ``dilate``, from 1 to :data:`FAR`; within 120 m of the edge of the data at most how far that is.

    Exact where the arrays reach ``dilate`` + :data:`FAR` pixels beyond, or to the end of what is known.

    Parameters
    ----------
    cloud, valid
        (h, w): the cube's layers. A cube without classification has 0 in ``cloud`` everywhere.
    dilate
        Pixels around what hides the ground that are not used either.

    Returns
    -------
    numpy.ndarray
        (h, w), uint8.
    """
    clear = np.full(cloud.shape, FAR, dtype=np.uint8)
    hidden = np.isin(cloud, HIDING)
    if hidden.any():
        away = distance_transform_edt(~hidden) - dilate
        clear = np.clip(np.ceil(away), 0, FAR).astype(np.uint8)
    missing = valid == 0
    if missing.any():
        inside = np.ceil(distance_transform_edt(~missing))
        clear = np.where(inside <= _EDGE, np.minimum(clear, inside), clear).astype(np.uint8)
    clear[cloud == SceneClass.SATURATED_OR_DEFECTIVE] = 0
    return clear


def medians(stack: np.ndarray) -> np.ndarray:
    """The median along the first axis of what is not :data:`FILL`, rounded to even; int16."""
    there = stack != FILL
    count = there.sum(axis=0)
    # Missing values go behind; the fill value itself is the smallest there is.
    ordered = np.sort(np.where(there, stack, np.int16(32767)), axis=0)
    last = np.maximum(count - 1, 0)
    low = np.take_along_axis(ordered, (last // 2)[None], axis=0)[0]
    high = np.take_along_axis(ordered, ((last + 1) // 2)[None], axis=0)[0]
    middle = np.rint((low.astype(np.float32) + high) / 2)
    return np.where(count > 0, middle, FILL).astype(np.int16)


def medoid(stack: np.ndarray) -> np.ndarray:
    """Choose the observation that has the smallest sum of Euclidean distances to all others.

    Parameters
    ----------
    stack
        (observations, bands, h, w), int16; an observation that is missing is :data:`FILL` in all bands.

    Returns
    -------
    numpy.ndarray
        (h, w): its index, the first of equals; −1 where all are missing.
    """
    there = stack[:, 0] != FILL
    total = np.zeros(there.shape, dtype=np.float64)
    for i in range(len(stack)):
        for j in range(i):
            # Summed band by band in float64, so that the order of summing does not depend on a library.
            square = np.zeros(there.shape[1:], dtype=np.float64)
            for band in range(stack.shape[1]):
                square += (stack[i, band].astype(np.float64) - stack[j, band]) ** 2
            distance = np.where(there[i] & there[j], np.sqrt(square), 0.0)
            total[i] += distance
            total[j] += distance
    nearest = np.argmin(np.where(there, total, np.inf), axis=0)
    return np.where(there.any(axis=0), nearest, -1)


def shares(chosen: np.ndarray, usable: np.ndarray, number: int, reach: int) -> np.ndarray:
    """The weight of one source in a feathered picture, before weights are divided by their sum.

    Of the square of ``reach`` pixels to each side, the part that shows the source: across a straight
    border it falls linearly, and all sources' parts add up to one. Towards where the source itself ends,
    for want of data or for cloud, it falls to nothing, so that no edge comes in with it.

    Parameters
    ----------
    chosen
        (h, w): which source is shown.
    usable
        (h, w): where source ``number`` could be.

    Returns
    -------
    numpy.ndarray
        (h, w), float64; exact at ``reach`` pixels from the arrays' edges and farther in.
    """
    part = uniform_filter((chosen == number).astype(np.float64), 2 * reach + 1, mode="constant")
    # Sums of ones in float64 are exact, whatever the order; rounding takes the division's noise.
    part = np.rint(part * (2 * reach + 1) ** 2)
    if not usable.all():
        part *= np.minimum(distance_transform_edt(usable), reach) / reach
    return np.where(usable, part, 0.0)


def feathered(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums of weighted DN over the sum of weights → int16, :data:`FILL` where there is none."""
    mean = np.rint(total / np.maximum(weight, 1e-9))
    return np.where(weight > 0, mean, FILL).astype(np.int16)
