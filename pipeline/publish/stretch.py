"""Stretch of reflectance for display, common to quicklooks, reports and the map.

It widens the range at both ends, reduces the saturation of false colours, and brightens dark pixels by an exponent, since
bright pixels (roofs, roads, snow) are few.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from s2sharp_core.bands import HIDING

TRUE_COLOUR = ("B04", "B03", "B02")

# Widening as a share of the range, share of the saturation that is kept, exponent.
_ROOM, _COLOUR, _GAMMA = 0.05, 0.5, 1.3


def limits_of(bands: Sequence[str], arrays: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Return the dark and the bright end of each band.

    True colours have one range for all three, as the eye has; separate ranges would turn sand blue where blue varies least.
    """
    if tuple(bands) == TRUE_COLOUR:
        return [_range(np.stack(arrays))] * len(arrays)
    return [_range(x) for x in arrays]


def clear_limits(bands: Sequence[str], cube: Any) -> list[tuple[float, float]]:
    """Return the limits of bands in memory, by their pixels with data where no cloud or shadow hides the ground.

    ``cube``: a Dataset of the bands and, where it has them, the layers ``valid`` and ``cloud``.
    """
    clear = np.ones(cube[bands[0]].shape, dtype=bool)
    if "valid" in cube:
        clear &= cube["valid"].values == 1
    if "cloud" in cube:
        clear &= ~np.isin(cube["cloud"].values, HIDING)
    return limits_of(bands, [cube[band].values[clear] for band in bands])


def _range(x: np.ndarray) -> tuple[float, float]:
    """Return the 1 % and 99 % quantiles of pixels with data, widened so that few pixels are clipped."""
    if not np.isfinite(x).any():
        return 0.0, 1.0
    low, high = np.nanpercentile(x, (1, 99))
    room = _ROOM * max(high - low, 1e-4)
    return float(low - room), float(high + room)


def tones(
    bands: Sequence[str],
    arrays: Sequence[np.ndarray],
    limits: Sequence[tuple[float, float]],
    gamma: float = _GAMMA,
) -> np.ndarray:
    """Convert arrays (h, w) to float32 from 0 to 1, (bands, h, w); NaN where a band has no data.

    Bands with a range each give garish colours; a part of their saturation is enough to tell land covers apart.
    """
    channels = [(x - low) / (high - low) for x, (low, high) in zip(arrays, limits, strict=True)]
    level = np.stack(channels).clip(0, 1)
    colour = 1.0 if tuple(bands) == TRUE_COLOUR else _COLOUR
    grey = level.mean(axis=0)
    shown = (grey + colour * (level - grey)) ** (1 / gamma)
    return np.asarray(np.where(np.isfinite(grey), shown, np.nan), dtype=np.float32)
