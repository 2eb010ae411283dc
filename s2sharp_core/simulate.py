"""Synthetic landscapes with a known 10 m truth in all twelve bands: the demo, and tests that need truth.

Fields, woods, towns, roads, rivers and bare hills are drawn from endmember spectra and mixed; each
object varies in brightness and composition, so that coarse bands are not functions of the 10 m ones.
"""

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from .bands import BANDS, BY_GSD, GSDS, ratio
from .observation import degrade

__all__ = ["landscape", "observe"]

# Surface reflectance of typical covers, B01 … B12 in ESA's order (after the shapes of the USGS
# spectral library, Kokaly et al. 2017, rounded: a plausible world, not a reference).
_COVERS: dict[str, tuple[float, ...]] = {
    "water": (0.050, 0.045, 0.040, 0.025, 0.020, 0.015, 0.014, 0.012, 0.011, 0.010, 0.006, 0.005),
    "silty": (0.070, 0.085, 0.110, 0.120, 0.110, 0.060, 0.055, 0.045, 0.040, 0.030, 0.010, 0.008),
    "crop": (0.020, 0.028, 0.065, 0.030, 0.095, 0.330, 0.420, 0.450, 0.470, 0.460, 0.220, 0.100),
    "meadow": (0.030, 0.042, 0.080, 0.055, 0.125, 0.270, 0.320, 0.340, 0.360, 0.350, 0.270, 0.150),
    "conifer": (0.015, 0.018, 0.030, 0.020, 0.045, 0.140, 0.175, 0.190, 0.200, 0.200, 0.085, 0.040),
    "broadleaf": (
        0.018,
        0.022,
        0.048,
        0.025,
        0.080,
        0.280,
        0.370,
        0.390,
        0.410,
        0.400,
        0.190,
        0.080,
    ),
    "stubble": (0.070, 0.085, 0.120, 0.160, 0.190, 0.220, 0.240, 0.260, 0.280, 0.290, 0.380, 0.290),
    "dark soil": (
        0.045,
        0.055,
        0.075,
        0.095,
        0.110,
        0.125,
        0.140,
        0.155,
        0.170,
        0.180,
        0.240,
        0.210,
    ),
    "bright soil": (
        0.100,
        0.130,
        0.190,
        0.250,
        0.280,
        0.300,
        0.320,
        0.340,
        0.360,
        0.370,
        0.460,
        0.420,
    ),
    "asphalt": (0.080, 0.085, 0.095, 0.100, 0.105, 0.108, 0.112, 0.116, 0.120, 0.122, 0.135, 0.130),
    "concrete": (
        0.180,
        0.210,
        0.250,
        0.270,
        0.280,
        0.285,
        0.290,
        0.295,
        0.300,
        0.300,
        0.320,
        0.300,
    ),
    "roof": (0.060, 0.070, 0.095, 0.190, 0.230, 0.250, 0.270, 0.280, 0.300, 0.310, 0.350, 0.310),
    "metal": (0.350, 0.370, 0.390, 0.400, 0.400, 0.400, 0.410, 0.410, 0.410, 0.400, 0.360, 0.300),
}
_FIELD = ("crop", "meadow", "stubble", "dark soil", "bright soil", "broadleaf", "conifer")
_TOWN = ("asphalt", "concrete", "roof", "metal", "meadow", "broadleaf")


def _fractal(shape: tuple[int, int], slope: float, rng: np.random.Generator) -> np.ndarray:
    """A random surface with power spectrum ∝ 1/f^slope, mean 0, standard deviation 1."""
    fy = np.fft.fftfreq(shape[0])[:, None]
    fx = np.fft.rfftfreq(shape[1])[None, :]
    f = np.hypot(fy, fx)
    f[0, 0] = np.inf
    phase = rng.standard_normal(f.shape) + 1j * rng.standard_normal(f.shape)
    surface = np.fft.irfft2(phase * f ** (-slope / 2), s=shape)
    return np.asarray((surface - surface.mean()) / surface.std(), dtype=np.float32)


def _parcels(
    shape: tuple[int, int], side: float, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Voronoi parcels of about ``side`` pixels, stretched and turned as field patterns are."""
    count = max(4, int(shape[0] * shape[1] / side**2))
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 2.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    metric = turn @ np.diag([stretch, 1 / stretch])
    seeds = rng.uniform(0, 1, (count, 2)) * shape
    yx = np.indices(shape).reshape(2, -1).T
    _, nearest = cKDTree(seeds @ metric).query(yx @ metric)
    return np.asarray(nearest).reshape(shape), count


def _spectra(names: tuple[str, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` object spectra (count, bands): two covers mixed, brightness and shape varied."""
    library = np.array([_COVERS[name] for name in names], dtype=np.float32)
    pairs = library[rng.integers(len(names), size=(2, count))]
    first, second = pairs[0], pairs[1]
    mix = rng.beta(1, 3, (count, 1)).astype(np.float32)
    # A smooth factor along the spectrum: visible, red edge and infrared vary with some freedom.
    knots = rng.normal(0, 0.12, (count, 4))
    at = np.linspace(0, 3, library.shape[1])
    slopes = np.array([np.interp(at, np.arange(4), k) for k in knots])
    factor = np.exp(slopes + rng.normal(0, 0.12, (count, 1)))
    return np.asarray((first + mix * (second - first)) * factor, dtype=np.float32)


def _band_of(field: np.ndarray, width: float) -> np.ndarray:
    """Soft membership of a curve: where ``field`` crosses zero, about ``width`` pixels wide."""
    gy, gx = np.gradient(field)
    distance = np.abs(field) / np.maximum(np.hypot(gy, gx), 1e-6)
    return np.asarray(np.clip(width / 2 + 0.5 - distance, 0, 1), dtype=np.float32)


def landscape(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draw a landscape.

    Parameters
    ----------
    shape
        (height, width) in 10 m pixels.
    seed
        The same seed and shape give the same landscape.

    Returns
    -------
    numpy.ndarray
        float32 reflectance (12, height, width), bands in ESA's order.
    """
    rng = np.random.default_rng([seed, *shape])
    land = np.empty((len(BANDS), *shape), dtype=np.float32)

    parcels, count = _parcels(shape, rng.uniform(10, 28), rng)
    land[:] = _spectra(_FIELD, count, rng)[parcels].transpose(2, 0, 1)
    # Rows, growth and soil moisture inside parcels: a gradient towards another spectrum.
    other = _spectra(_FIELD, count, rng)[parcels].transpose(2, 0, 1)
    land += np.clip(0.12 * _fractal(shape, 2.2, rng) + 0.08, 0, 0.6) * (other - land)

    relief = _fractal(shape, 3.2, rng)
    woods = np.clip((relief - rng.uniform(0.3, 0.9)) * 6, 0, 1)
    canopy = _spectra(("conifer", "broadleaf"), 1, rng)[0][:, None, None]
    crowns = np.exp(0.16 * _fractal(shape, 0.8, rng))
    land += woods * (canopy * crowns - land)

    bare = np.clip((-relief - rng.uniform(1.0, 1.6)) * 5, 0, 1)
    rock = _spectra(("bright soil", "dark soil", "stubble"), 1, rng)[0][:, None, None]
    land += bare * (rock * np.exp(0.2 * _fractal(shape, 1.6, rng)) - land)

    blocks, count = _parcels(shape, rng.uniform(2.5, 5), rng)
    town = np.clip((_fractal(shape, 3.5, rng) - rng.uniform(0.8, 1.4)) * 8, 0, 1)
    land += town * (_spectra(_TOWN, count, rng)[blocks].transpose(2, 0, 1) - land)

    for cover, width, slope in (("asphalt", 1.0, 4.5), ("concrete", 1.4, 5.0), ("silty", 5.0, 4.6)):
        line = _band_of(
            _fractal(shape, slope, rng) - rng.normal(0, 0.5), width * rng.uniform(0.7, 1.6)
        )
        land += line * (_spectra((cover,), 1, rng)[0][:, None, None] - land)

    lakes = np.clip((-_fractal(shape, 3.4, rng) - rng.uniform(1.3, 2.0)) * 12, 0, 1)
    land += lakes * (_spectra(("water", "silty"), 1, rng)[0][:, None, None] - land)

    gy, gx = np.gradient(ndimage.gaussian_filter(relief, 2))
    land *= 1 + np.clip(3.0 * (gx - gy), -0.3, 0.3)
    # What no other band knows: a little texture of each band's own.
    land *= np.exp(0.01 * rng.standard_normal(land.shape).astype(np.float32))
    # 10 m pixels are not sharp either: the truth is what an instrument with this PSF would see.
    land = ndimage.gaussian_filter(land, (0, 0.45, 0.45))
    return np.maximum(land, 0.001)


def observe(truth: np.ndarray, snr: float = 200.0, seed: int = 0) -> dict[int, np.ndarray]:
    """What the satellite delivers of ``truth``.

    Parameters
    ----------
    truth
        float32 reflectance (12, 6h, 6w), bands in ESA's order.
    snr
        Mean signal over noise standard deviation of each band; ``inf`` for none.

    Returns
    -------
    dict
        GSD → float32 reflectance: (4, 6h, 6w), (6, 3h, 3w), (2, h, w).
    """
    rng = np.random.default_rng([seed, 1])
    names = list(BANDS)
    seen = {}
    for gsd in GSDS:
        bands = BY_GSD[gsd]
        y = truth[[names.index(b) for b in bands]]
        if gsd > 10:
            y = degrade(torch.from_numpy(y)[None], bands, ratio(gsd))[0].numpy()
        noise = rng.standard_normal(y.shape) * (y.mean(axis=(1, 2), keepdims=True) / snr)
        seen[gsd] = (y + noise).astype(np.float32)
    return seen
