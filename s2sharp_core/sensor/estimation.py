"""The sensor for sharpening a product: measured on its own windows if they suffice, or else the known one.

A scene in memory (:mod:`.scene_sensor`) and a datatake in a run both call :func:`estimate_sensor`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..bands import BANDS
from ..errors import S2SharpError
from .measurement import Measured, believed, measure, measured_noise, one_thread_each
from .response import LARGEST_SHIFT, NAMED, SENTINEL2, Response, Sensor, checked
from .sample import SIDE, Sample

SensorChoice = Literal["measured", "default", "table"]
"""Sources of a sensor: measured on the product, known of the instrument, or assumed by papers."""


SIDES = (SIDE, SIDE // 2, 22, 14)
"""Sides in cells of the measured windows; in the smallest, a 20 m band has four tiles, and a 60 m band none."""


@dataclass(frozen=True)
class SensorEstimate:
    """The sensor for sharpening, and the figures that it follows from.

    Attributes
    ----------
    sensor
        Kernels, shifts and noise; known values for bands that could not be measured.
    found
        Coarse band → measurement, with uncertainties.
    noise
        Band → standard deviation of its noise, reflectance.
    told
        Messages for the user: reasons for known kernels where a measurement was wanted.
    """

    sensor: Sensor
    found: Mapping[str, Measured]
    noise: Mapping[str, float]
    told: tuple[str, ...] = ()

    @classmethod
    def unknown(cls, why: str) -> "SensorEstimate":
        """Return the known sensor, because nothing could be measured."""
        return cls(SENTINEL2, {}, {}, (f"The sensor was not measured: {why}. {INSTEAD}",))


INSTEAD = "The default kernels are used."
"""Message for a measurement that was wanted and not possible."""


def estimate_sensor(sample: Sample) -> SensorEstimate:
    """Measure a sample, and combine the result with the known values of the instrument.

    A band with a shift larger than one of its pixels keeps the known response, without a shift. A shift of that size
    is a fault of the data, and is reported. This takes seconds to a minute on two cores, and some hundred MB.
    """
    found, noise = measure(sample), one_thread_each().submit(measured_noise, sample).result()
    if not found:
        return SensorEstimate.unknown("its windows are too few, too small or too flat")
    sensor = believed(found, noise)
    # The measured shift decides, because the combined one is smaller.
    shown = [(found[r.band].response, found[r.band].shift_error) for r in sensor.responses]
    far = [r for r, error in shown if max(abs(r.dy), abs(r.dx)) - error > LARGEST_SHIFT]
    told = tuple(
        f"{r.band} seems to be shifted by ({r.dy:+.2f}, {r.dx:+.2f}) px of {BANDS[r.band].gsd} m (down, right); more "
        f"than one pixel is not corrected. The default kernel is used for it. Check where the arrays were cut."
        for r in far
    )
    if far:
        bands = {r.band for r in far}
        kept = tuple(Response.default(r.band) if r.band in bands else r for r in sensor.responses)
        sensor = replace(sensor, responses=kept)
    return SensorEstimate(sensor, found, noise, told)


def named(choice: Any) -> Sensor:
    """Return the sensor of a name, or the given one.

    Raises
    ------
    S2SharpError
        ``bad-config`` for anything else, or for a sensor that :func:`checked` refuses.
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
