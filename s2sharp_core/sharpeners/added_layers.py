"""A sharpener that adds layers to the bands of another one."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..bands import BY_GSD
from ..sensor.response import Sensor
from .base import Sharpener


class WithLayers(Sharpener):
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
        for name in Sharpener.__annotations__:
            setattr(self, name, getattr(inner, name))
        # Layers are sums of a library, which may choose their order by the shape.
        self.any_shape = False
        self.bands = (*inner.bands, *layers)
        self.halo = -(-(inner.halo + reach) // self.period) * self.period

    def compared(
        self, out: Mapping[str, Tensor], y20: Tensor, y60: Tensor
    ) -> Iterator[tuple[int, list[str], Tensor, Tensor]]:
        """Yield GSD, bands of ``out``, their result (n, bands, 6h, 6w), and their measured pixels (n, bands, y, x)."""
        for gsd, y in ((20, y20), (60, y60)):
            read = [band for band in BY_GSD[gsd] if band in self.reads]
            bands = [band for band in read if band in out]
            if bands:
                x = torch.stack([out[band] for band in bands], dim=1).float()
                # A list as an index would be sent to the device, and waited for.
                yield gsd, bands, x, torch.stack([y[:, read.index(band)] for band in bands], dim=1)

    def compute_in(self, precision: str) -> None:
        self.inner.compute_in(precision)
        self.arithmetic = self.inner.arithmetic

    def see_with(self, sensor: Sensor) -> None:
        self.inner.see_with(sensor)
        self.sensor = sensor
