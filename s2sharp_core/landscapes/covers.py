"""Spectra of land covers in the twelve bands: soils, canopies, litter, roofs, roads, water, snow.

`covers.json` holds, for each kind of cover, mean and principal components of the log reflectance of the spectra of a
public library (earthlib, C. Anderson, MIT): ``python -m tests.benchmarks.spectra``. So bands of drawn spectra vary
together as those of real surfaces do.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from ..bands import BANDS

# Largest number of standard deviations of a component: a library has errors, and land has few extremes.
_MOST = 2.0


@dataclass(frozen=True)
class Cover:
    """One kind of cover.

    Attributes
    ----------
    mean
        Reflectance, bands in ESA's order: the exponential of the mean logarithm.
    components
        Principal components of log reflectance (n, bands), each as long as its standard deviation.
    left
        Standard deviation of log reflectance not explained by the components, by band.
    """

    mean: np.ndarray
    components: np.ndarray
    left: np.ndarray

    def draw(self, count: int, rng: np.random.Generator, alike: float = 0.0) -> np.ndarray:
        """Draw spectra of objects of one region.

        Parameters
        ----------
        count
            Number of objects.
        alike
            Share of the variance that they have in common: 0 for the variety of the world, 1 for one material.

        Returns
        -------
        numpy.ndarray
            float32 reflectance (count, bands).
        """
        n, bands = self.components.shape
        region = rng.standard_normal((1, n + bands))
        own = rng.standard_normal((count, n + bands))
        z = np.clip(np.sqrt(alike) * region + np.sqrt(1 - alike) * own, -_MOST, _MOST)
        logs = np.log(self.mean) + z[:, :n] @ self.components + z[:, n:] * self.left
        return np.exp(logs).astype(np.float32)


@lru_cache
def covers() -> dict[str, Cover]:
    """Return all kinds of cover by name."""
    table = json.loads(resources.files(__package__).joinpath("covers.json").read_text())
    order = [table["bands"].index(band) for band in BANDS]
    return {
        name: Cover(*(np.array(facts[key])[..., order] for key in ("mean", "components", "left")))
        for name, facts in table["covers"].items()
    }
