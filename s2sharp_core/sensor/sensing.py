"""The sensor that a product is sharpened with: measured on its own windows where they tell enough, else the known one.

One way for all: a scene in memory (:func:`measure_scene`), and a datatake in a run, call :func:`sense`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..bands import BANDS, BY_GSD, COARSE
from ..errors import S2SharpError
from ..lattice import Box
from ..scene import locate, refuse_dn
from .known import LARGEST_SHIFT, NAMED, SENTINEL2, Response, Sensor, checked
from .measurement import Measured, believed, measure, measured_noise
from .sample import Sample
from .sampling import SIDE, windows_of

__all__ = [
    "NAMED",
    "SIDES",
    "Sensed",
    "SensorChoice",
    "checked",
    "measure_scene",
    "sense",
    "sense_arrays",
]

SensorChoice = Literal["measured", "default", "table"]
"""How the sensor is come by: from the product, as known of the instrument, or as the papers assume it."""


SIDES = (SIDE, SIDE // 2, 22, 14)
"""Sides in cells of the windows measured on; in the smallest, a 20 m band has four tiles, and a 60 m band none."""


@dataclass(frozen=True)
class Sensed:
    """The sensor to compute with, and the figures that it follows from.

    Attributes
    ----------
    sensor
        Kernels, shifts and noise; the known ones for bands of which nothing could be measured.
    found
        Coarse band → what was measured, with uncertainties.
    noise
        Band → standard deviation of its noise, reflectance.
    told
        What a user should know: why the known kernels are used where a measurement was wanted.
    """

    sensor: Sensor
    found: Mapping[str, Measured]
    noise: Mapping[str, float]
    told: tuple[str, ...] = ()

    @classmethod
    def unknown(cls, why: str) -> "Sensed":
        """The known sensor, since nothing could be measured."""
        return cls(SENTINEL2, {}, {}, (f"The sensor was not measured: {why}. {_INSTEAD}",))


_INSTEAD = "The default kernels are used."


def sense(sample: Sample) -> Sensed:
    """Measure a sample and weigh what was found against what is known of the instrument.

    A band whose shift is larger than one of its pixels keeps the known response, in place: so large a shift is a
    fault of the data, and is told. Seconds to a minute of two cores, some hundred MB.
    """
    found, noise = measure(sample), measured_noise(sample)
    if not found:
        return Sensed.unknown("its windows are too few, too small or too flat")
    sensor = believed(found, noise)
    # By what was found: what is believed of it is less.
    shown = [(found[r.band].response, found[r.band].shift_error) for r in sensor.responses]
    far = [r for r, error in shown if max(abs(r.dy), abs(r.dx)) - error > LARGEST_SHIFT]
    told = tuple(
        f"{r.band} seems to lie ({r.dy:+.2f}, {r.dx:+.2f}) px of {BANDS[r.band].gsd} m off (down, right); more than "
        f"one pixel is not taken out. The default kernel is used for it. Check where the arrays were cut."
        for r in far
    )
    if far:
        bands = {r.band for r in far}
        kept = tuple(Response.default(r.band) if r.band in bands else r for r in sensor.responses)
        sensor = replace(sensor, responses=kept)
    return Sensed(sensor, found, noise, told)


def sense_arrays(arrays: Mapping[str, np.ndarray], box: Box) -> Sensed:
    """As :func:`sense`, of band → float32 reflectance (h, w) over ``box``, NaN where there is none."""
    fine = [band for band in BY_GSD[10] if band in arrays]
    if not fine or not any(band in arrays for band in COARSE):
        return Sensed.unknown("it takes bands of 10 m and coarse ones")
    refuse_dn(arrays)
    sample = windows_of(arrays, box, SIDES)
    if sample is None:
        side = SIDES[-1]
        return Sensed.unknown(f"no window without gaps of {side} × {side} cells ({60 * side} m)")
    return sense(sample)


def measure_scene(scene: xr.DataTree) -> Sensor:
    """Measure how a scene's coarse bands relate to its 10 m bands: kernels, shifts, and the noise of every band.

    Parameters
    ----------
    scene
        As for :func:`~s2sharp_core.sharpen`. What is lazy in it is read; of a larger scene, up to 16 windows of 64
        cells without gaps are looked at.

    Returns
    -------
    Sensor
        To be given to :func:`~s2sharp_core.sharpen`, for this scene and others of the same datatake.

    Raises
    ------
    S2SharpError
        ``scene-malformed``, ``off-lattice``; ``not-measured`` where the scene is too small, too flat or full of gaps.
    """
    _, box, inputs = locate(scene)
    seen = sense_arrays({b: a.values.astype(np.float32) for b, a in inputs.items()}, box)
    if not seen.found:
        raise S2SharpError(
            "not-measured",
            seen.told[0].removesuffix(f" {_INSTEAD}"),
            'Use the default kernels: sharpen(scene, sensor="default").',
        )
    return seen.sensor


def named(choice: Any) -> Sensor:
    """The sensor of a name, or the one given.

    Raises
    ------
    S2SharpError
        ``bad-config`` for what is neither, or what :func:`checked` refuses.
    """
    if isinstance(choice, Sensor):
        return checked(choice)
    if choice not in NAMED:
        raise S2SharpError(
            "bad-config",
            f"There is no sensor {choice!r}.",
            f"Give measured, {', '.join(NAMED)} or a Sensor.",
        )
    return NAMED[choice]
