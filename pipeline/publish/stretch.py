"""The one gentle stretch of all pictures that people look at: quicklooks, reports, the map.

Room beyond the ends as a share of the range, the share of the colours that is shown, and the exponent that opens the dark end,
since what is bright (roofs, roads, snow) is mostly little.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["TRUE_COLOUR", "limits_of", "tones"]

TRUE_COLOUR = ("B04", "B03", "B02")

_ROOM, _COLOUR, _GAMMA = 0.05, 0.5, 1.3


def limits_of(bands: Sequence[str], arrays: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """What becomes dark and bright, of each band.

    True colours have one range for all three, as the eye has it: a range for each turns sand blue where that band varies least.
    """
    if tuple(bands) == TRUE_COLOUR:
        return [_range(np.stack(arrays))] * len(arrays)
    return [_range(x) for x in arrays]


def _range(x: np.ndarray) -> tuple[float, float]:
    """1 % and 99 % of the pixels that have data, and a little room beyond: few pixels are wholly dark or bright."""
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
    """Arrays (h, w) → float32 from 0 to 1, (bands, h, w); NaN where one of them has nothing.

    Bands that fill a range each make colours that no eye has seen: a part of these is enough to tell covers apart.
    """
    channels = [(x - low) / (high - low) for x, (low, high) in zip(arrays, limits, strict=True)]
    level = np.stack(channels).clip(0, 1)
    colour = 1.0 if tuple(bands) == TRUE_COLOUR else _COLOUR
    grey = level.mean(axis=0)
    shown = (grey + colour * (level - grey)) ** (1 / gamma)
    return np.asarray(np.where(np.isfinite(grey), shown, np.nan), dtype=np.float32)
