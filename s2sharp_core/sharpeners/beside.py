"""A sharpener that gives layers beside the bands of another one."""

from ..sensor.observation import Sensor
from .base import Sharpener

__all__ = ["Beside"]


class Beside(Sharpener):
    """Give all that the other one gives, and more bands.

    Parameters
    ----------
    layers
        Names of the bands that come beside.
    reach
        Cells around a cell that these depend on, of what the other one gives.
    """

    def __init__(self, inner: Sharpener, layers: tuple[str, ...], reach: int) -> None:
        self.inner = inner
        self.name = inner.name
        self.bands = (*inner.bands, *layers)
        self.reads = inner.reads
        self.period = inner.period
        self.weights = inner.weights
        self.device = inner.device
        self.tolerance = inner.tolerance
        self.arithmetic = inner.arithmetic
        self.abreast = inner.abreast
        self.sensor = inner.sensor
        self.halo = -(-(inner.halo + reach) // self.period) * self.period

    def compute_in(self, precision: str) -> None:
        self.inner.compute_in(precision)
        self.arithmetic = self.inner.arithmetic

    def see_with(self, sensor: Sensor) -> None:
        self.inner.see_with(sensor)
        self.sensor = sensor
