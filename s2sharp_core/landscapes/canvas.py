"""Canvas of a landscape: the painted land, its relief, its fields, and the light and soils of the region."""

import numpy as np
from scipy.special import ndtri

from ..bands import BANDS
from .covers import covers
from .land_types import LandType
from .shapes import Parcels, Shape, fractal, parcels, warped

WET = np.array(
    [0.50, 0.50, 0.50, 0.48, 0.47, 0.46, 0.45, 0.44, 0.44, 0.45, 0.62, 0.78], dtype=np.float32
)
"""Log factor of reflectance by which water darkens a soil, bands in ESA's order (after Lobell and Asner, Soil Sci.
Soc. Am. J. 66, 722 (2002), rounded)."""


class Canvas:
    """Land that is painted from the ground up; each coat covers a share of each pixel.

    Attributes
    ----------
    land
        float32 reflectance (12, h, w) so far.
    relief, stream
        Height with mean 0 and standard deviation 1, and a surface whose zeros wind through the main valley: (h, w).
    fields
        The land's parcels, farmed or not.
    water, farmed, trees
        Share of each pixel under them: (h, w).
    """

    def __init__(self, shape: Shape, country: LandType, rng: np.random.Generator) -> None:
        self.shape, self.country, self.rng = shape, country, rng
        smooth = fractal(shape, rng.uniform(4.2, 4.8), rng)
        ridges = np.abs(fractal(shape, rng.uniform(4.0, 4.4), rng))
        # Land rises from its main stream.
        self.stream = warped(shape, rng.uniform(4.2, 4.6), rng.uniform(0.06, 0.14), rng)
        valley = 1.5 * np.tanh(np.abs(self.stream) / (0.2 * max(shape)))
        relief = 0.85 * smooth - 0.5 * ridges + valley
        self.relief = (relief - relief.mean()) / relief.std()
        self.height = rng.uniform(*country.height)
        self.green = rng.uniform(*country.green)
        self.sun = rng.uniform(0.3, 1.1), rng.uniform(0.6, 1.6)  # direction, cotangent of height
        self.wet = rng.uniform(0.5, 1.5)
        self.fields: Parcels = parcels(shape, rng.uniform(*country.side), rng)
        self.land = np.zeros((len(BANDS), *shape), dtype=np.float32)
        # Shares of each pixel under water, fields and trees.
        self.water, self.farmed, self.trees = np.zeros((3, *shape), dtype=np.float32)

    def rough(self, slope: float) -> np.ndarray:
        """Return a random surface of the landscape's size."""
        return fractal(self.shape, slope, self.rng)

    def cover(self, share: np.ndarray, picture: np.ndarray) -> None:
        """Cover ``share`` (h, w) of each pixel with ``picture`` (bands, h, w) or a spectrum (bands,)."""
        picture = picture if picture.ndim == 3 else picture[:, None, None]
        self.land += share * (picture - self.land)

    def one(self, cover: str) -> np.ndarray:
        """Return one spectrum (bands,)."""
        return covers()[cover].draw(1, self.rng)[0]

    def each(self, cover: str, of: Parcels, alike: float) -> np.ndarray:
        """Return the image of one spectrum for each parcel of ``of``: (bands, h, w)."""
        return of.paint(covers()[cover].draw(of.count, self.rng, alike))

    def mixed(self, cover: str) -> np.ndarray:
        """Return two spectra of a region that blend into each other across the land: (bands, h, w)."""
        first, second = covers()[cover].draw(2, self.rng, 0.6)
        share = np.clip(0.5 + 0.35 * self.rough(2.6), 0, 1)
        return first[:, None, None] + share * (second - first)[:, None, None]

    def soil(self, of: Parcels, alike: float = 0.94) -> np.ndarray:
        """Return soils as in fields, rougher and wetter than the sieved ones of the library."""
        drawn = covers()["soil"].draw(of.count, self.rng, alike)
        wet = self.wet + 0.15 * self.rng.standard_normal((of.count, 1))
        return of.paint(drawn * np.exp(-np.clip(wet, 0.1, 1.8) * WET))


def threshold(share: float) -> float:
    """Return the value below which ``share`` of a standard normal surface lies."""
    return float(ndtri(np.clip(share, 0.001, 0.999)))
