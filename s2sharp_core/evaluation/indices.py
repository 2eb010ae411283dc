"""Indices computed from the sharpened bands: normalised differences."""

from collections.abc import Mapping

import numpy as np

INDICES: dict[str, tuple[str, str]] = {
    "NDVI-RE": ("B8A", "B05"),
    "NDWI": ("B8A", "B11"),
    "NBR": ("B8A", "B12"),
}
"""Name → (a, b) of (a - b) / (a + b): the red-edge NDVI (Gitelson and Merzlyak 1994), the water index of
vegetation (Gao 1996), the burn ratio (Key and Benson 2006)."""

_DARKEST = 0.01


def index(name: str, bands: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a normalised difference of reflectances, from -1 to 1 if these are positive.

    NaN where the sum of the two bands is less than 0.01, because it is noise over deep shade and clear water.
    """
    a, b = (bands[band].astype(np.float64) for band in INDICES[name])
    total = a + b
    out = np.full(total.shape, np.nan)
    return np.divide(a - b, total, out=out, where=total >= _DARKEST)
