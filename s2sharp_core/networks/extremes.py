"""How far a sensor's filters may reach, whichever is measured: halos are declared before that."""

from dataclasses import replace

from ..bands import BANDS, COARSE
from ..observation import LARGEST_SHIFT, Response, Sensor

__all__ = ["farthest"]

# No product has been seen with a coarse band narrower by more than this.
_NARROWER, _STEEPER = 0.1, 0.05


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
            BANDS[band].blur - _NARROWER,
            BANDS[band].edge - _STEEPER,
            LARGEST_SHIFT,
            LARGEST_SHIFT,
        )
        for band in COARSE
    )
    return replace(sensor, responses=responses)
