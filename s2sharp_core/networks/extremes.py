"""Largest reach of a measured sensor's filters, because halos are declared before the measurement."""

from dataclasses import replace

from ..bands import BANDS, COARSE
from ..sensor.known import FARTHEST_BLUR, FARTHEST_EDGE, LARGEST_SHIFT, Response, Sensor


def farthest(sensor: Sensor) -> Sensor:
    """Return the sensor with the widest filters of all that a product may be measured to have.

    The inverse of a narrow blur is a filter that decays slowly, and a shift moves the pixels that are read. A sensor from
    a paper is not measured, so it is returned unchanged.
    """
    if sensor.blur != "measured":
        return sensor
    responses = tuple(
        Response(
            band,
            BANDS[band].blur - FARTHEST_BLUR,
            BANDS[band].edge - FARTHEST_EDGE,
            LARGEST_SHIFT,
            LARGEST_SHIFT,
        )
        for band in COARSE
    )
    return replace(sensor, responses=responses)
