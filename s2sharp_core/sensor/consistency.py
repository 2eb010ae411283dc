"""Difference between a sharpened image, degraded by the sensor model, and the measured one."""

import numpy as np
import torch

from ..bands import BANDS, ratio
from .known import SENTINEL2, Sensor
from .observation import degrade, psf


def residual(
    sharp: np.ndarray, native: np.ndarray, band: str, sensor: Sensor = SENTINEL2
) -> np.ndarray:
    """Return the degraded ``sharp`` minus ``native``, in their unit.

    A coarse pixel counts if its whole point spread function lies on valid pixels inside the image.

    Parameters
    ----------
    sharp
        float32 (r·h, r·w) at 10 m, NaN as nodata; r is the band's ratio, 2 or 6.
    native
        (h, w), as delivered.

    Returns
    -------
    numpy.ndarray
        float32 (h, w); NaN at coarse pixels that do not count.
    """
    r = ratio(BANDS[band].gsd)
    x = torch.from_numpy(np.ascontiguousarray(sharp))[None, None]
    # A NaN spreads as far as the kernel reaches, so the rest depends on valid pixels alone.
    again = degrade(x, [band], r, sensor)[0, 0].numpy()
    reach = -(-max(0, psf(band, r, sensor).numel() - r) // (2 * r))
    height, width = native.shape
    inside = np.zeros((height, width), dtype=bool)
    inside[reach : height - reach, reach : width - reach] = True
    return np.asarray(np.where(inside, again - native, np.nan), dtype=np.float32)
