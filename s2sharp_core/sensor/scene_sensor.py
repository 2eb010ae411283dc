"""Measurement of the sensor of a scene in memory, on windows of that scene."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..bands import BY_GSD, COARSE
from ..errors import S2SharpError
from ..lattice import Box
from ..scene import locate, refuse_dn
from .estimation import INSTEAD, SIDES, SensorEstimate, estimate_sensor
from .response import Sensor
from .sample import windows_of


def sense_arrays(arrays: Mapping[str, np.ndarray], box: Box) -> SensorEstimate:
    """Measure as :func:`estimate_sensor`, for band → float32 reflectance (h, w) over ``box``, NaN as nodata."""
    fine = [band for band in BY_GSD[10] if band in arrays]
    if not fine or not any(band in arrays for band in COARSE):
        return SensorEstimate.unknown("it takes bands of 10 m and coarse ones")
    refuse_dn(arrays)
    sample = windows_of(arrays, box, SIDES)
    if sample is None:
        side = SIDES[-1]
        return SensorEstimate.unknown(
            f"no window without gaps of {side} × {side} cells ({60 * side} m)"
        )
    return estimate_sensor(sample)


def measure_scene(scene: xr.DataTree) -> Sensor:
    """Measure the relation of a scene's coarse bands to its 10 m bands: kernels, shifts, and the noise of every band.

    Parameters
    ----------
    scene
        As for :func:`~s2sharp_core.sharpen`. Lazy bands are read. Of a larger scene, up to 16 windows of 64
        cells without gaps are used.

    Returns
    -------
    Sensor
        An argument for :func:`~s2sharp_core.sharpen`, for this scene and others of the same datatake.

    Raises
    ------
    S2SharpError
        ``scene-malformed``, ``off-lattice``; ``not-measured`` if the scene is too small, too flat or full of gaps.
    """
    _, box, inputs = locate(scene)
    seen = sense_arrays({b: a.values.astype(np.float32) for b, a in inputs.items()}, box)
    if not seen.found:
        raise S2SharpError(
            "not-measured",
            seen.told[0].removesuffix(f" {INSTEAD}"),
            'Use the default kernels: sharpen(scene, sensor="default").',
        )
    return seen.sensor
