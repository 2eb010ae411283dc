"""Reach of a sensor's filters, whichever is measured: halos are declared before that."""

from dataclasses import replace

from ..bands import BANDS, COARSE
from ..sensor.observation import FARTHEST_BLUR, FARTHEST_EDGE, LARGEST_SHIFT, Response, Sensor

__all__ = ["farthest"]


def farthest(sensor: Sensor) -> Sensor:
    """The sensor whose filters reach farthest of those that a product may be measured to have in place of ``sensor``.

    A narrow blur is undone by a filter that decays slowly, and a shift moves what is read. Papers' sensors are what
    they are.
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
