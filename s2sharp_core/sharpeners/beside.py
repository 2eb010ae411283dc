"""A sharpener that adds layers to the bands of another one."""

from ..sensor.known import Sensor
from .base import Sharpener


class Beside(Sharpener):
    """A sharpener that returns all bands of another one, and more layers.

    Parameters
    ----------
    layers
        Names of the added layers.
    reach
        Cells around a cell of the other's result that the layers depend on.
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
        self.results = inner.results
        self.sensor = inner.sensor
        self.halo = -(-(inner.halo + reach) // self.period) * self.period

    def compute_in(self, precision: str) -> None:
        self.inner.compute_in(precision)
        self.arithmetic = self.inner.arithmetic

    def see_with(self, sensor: Sensor) -> None:
        self.inner.see_with(sensor)
        self.sensor = sensor
