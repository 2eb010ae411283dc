"""Choice of the observation that a pixel shows: functions of arrays.

Observations are given in order of preference, and the first of equals is chosen, so that the choice depends on the
location alone.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, uniform_filter

from s2sharp_core.bands import HIDING, SceneClass

from ..cube.layout import FILL

FAR = 100
"""Distance from cloud in pixels (1 km) beyond which all pixels are equally clear."""

_EDGE = 12
"""Distance from the edge of the data in pixels (120 m) within which sharpening lacked its surroundings."""


def distance_from_cloud(cloud: np.ndarray, valid: np.ndarray, dilate: float) -> np.ndarray:
    """Compute the clearance of each pixel: its distance in pixels, beyond ``dilate``, from cloud and shadow.

    It runs from 1 to :data:`FAR`; 0 means not to be used. Within 120 m of the edge of the data, it is at most the
    distance to that edge. Exact where the arrays reach ``dilate`` + :data:`FAR` pixels beyond, or to the cube's edge.

    Parameters
    ----------
    cloud, valid
        (h, w): the cube's layers. A cube without classification has 0 in ``cloud`` everywhere.
    dilate
        Width in pixels of the border around cloud and shadow that is not used either.

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
    """Return the median along the first axis of values that are not :data:`FILL`, rounded to even; int16."""
    there = stack != FILL
    count = there.sum(axis=0)
    # Missing values are sorted to the end; the fill value itself is the smallest int16.
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
        (observations, bands, h, w), int16; a missing observation is :data:`FILL` in all bands.

    Returns
    -------
    numpy.ndarray
        (h, w): index of the chosen observation, the first of equals; −1 where all are missing.
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


def blending_weights(chosen: np.ndarray, usable: np.ndarray, number: int, reach: int) -> np.ndarray:
    """Compute the weight of one source in a feathered picture, before weights are divided by their sum.

    The weight is the share of the source in the square of ``reach`` pixels to each side: it falls linearly across a
    straight border, and the weights of all sources add up to one. It falls to zero towards cloud and the end of the
    source's data, so that neither shows as an edge.

    Parameters
    ----------
    chosen
        (h, w): number of the chosen source.
    usable
        (h, w): whether source ``number`` can be used.

    Returns
    -------
    numpy.ndarray
        (h, w), float64; exact from ``reach`` pixels inside the arrays' edges.
    """
    part = uniform_filter((chosen == number).astype(np.float64), 2 * reach + 1, mode="constant")
    # Sums of ones in float64 are exact in any order; rounding removes the noise of the division.
    part = np.rint(part * (2 * reach + 1) ** 2)
    if not usable.all():
        part *= np.minimum(distance_transform_edt(usable), reach) / reach
    return np.where(usable, part, 0.0)


def feathered(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Divide sums of weighted DN by the sums of weights: int16, :data:`FILL` where there is no weight."""
    mean = np.rint(total / np.maximum(weight, 1e-9))
    return np.where(weight > 0, mean, FILL).astype(np.int16)
