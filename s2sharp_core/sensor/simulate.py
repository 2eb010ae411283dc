"""Synthetic landscapes with a known 10 m truth in all twelve bands, for the demo and for tests that need a truth.

Farmland, plains, forests, mountains, coasts, drylands and winters are drawn from spectra of real soils, canopies,
roofs and roads (:mod:`..landscapes.covers`), mixed within pixels as shares of ground, leaves and shadow. So bands vary
together as on the Earth: leaves over soil move red and infrared in opposite directions, and light and shade move them
together. Coarse bands are not functions of the 10 m ones.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy import ndimage

from ..bands import BY_GSD, GSDS, ratio, rows_of
from ..landscapes.canvas import Canvas
from ..landscapes.countryside import farms, open_land, roads, snow, woods
from ..landscapes.land_types import COUNTRIES
from ..landscapes.villages import towns
from ..landscapes.waters import waters
from .observation import degrade
from .response import SENTINEL2, Sensor

# Share of skylight in the light, bands in ESA's order; it makes shadows bluish.
_SKY = np.array([0.30, 0.25, 0.19, 0.14, 0.12, 0.11, 0.09, 0.08, 0.08, 0.07, 0.03, 0.02])
# Reflectance of the reference radiance, sun overhead, and signal over noise there (S2A in orbit: Gascon et al.,
# Remote Sens. 9, 584 (2017); radiances: ESA's radiometric uncertainty tool).
_NOISE = {
    "B01": (0.215, 1370.0),
    "B02": (0.205, 214.0),
    "B03": (0.221, 249.0),
    "B04": (0.224, 230.0),
    "B05": (0.164, 253.0),
    "B06": (0.167, 220.0),
    "B07": (0.180, 227.0),
    "B08": (0.311, 221.0),
    "B8A": (0.173, 161.0),
    "B09": (0.034, 222.0),
    "B11": (0.051, 159.0),
    "B12": (0.063, 167.0),
}
_INSTRUMENT = 200.0
# Standard deviation of a band's own texture, log reflectance.
_OWN = 0.02
# σ of the blur by a 10 m band's own optics and detector, in pixels (MTF 0.25 at Nyquist).
_BLUR = 0.53


def landscape(shape: tuple[int, int], seed: int = 0, country: str | None = None) -> np.ndarray:
    """Draw a landscape.

    Parameters
    ----------
    shape
        (height, width) in 10 m pixels.
    seed
        The same seed and shape give the same landscape.
    country
        One of :data:`~s2sharp_core.landscapes.land_types.COUNTRIES`; None draws it, too.

    Returns
    -------
    numpy.ndarray
        float32 reflectance (12, height, width), bands in ESA's order.
    """
    rng = np.random.default_rng([seed, *shape])
    often = [kind.often for kind in COUNTRIES.values()]
    drawn = list(COUNTRIES)[rng.choice(len(often), p=often)]
    canvas = Canvas(shape, COUNTRIES[country or drawn], rng)
    for paint in (open_land, farms, woods, towns, roads, waters, snow):
        paint(canvas)
    return _finished(canvas)


def _finished(canvas: Canvas) -> np.ndarray:
    """Light the land by its slopes, add the texture of each surface, and blur it with the optics."""
    gy, gx = np.gradient(canvas.relief * canvas.height)
    towards = gx * np.sin(canvas.sun[0]) + gy * np.cos(canvas.sun[0])
    lit = np.clip(1 - canvas.sun[1] * towards, 0.05, 1.8)
    lit = 1 + (1 - canvas.water) * (lit - 1)
    sky = _SKY[:, None, None].astype(np.float32)
    canvas.land *= sky + (1 - sky) * lit
    grain = 0.045 * canvas.rough(1.5) * (1 - canvas.water)
    for band in canvas.land:
        # Contrast of this band alone: chemistry, moisture, the viewing angle of the band.
        band *= np.exp(grain + _OWN * canvas.rough(1.6))
    land = ndimage.gaussian_filter(canvas.land, (0, _BLUR, _BLUR))
    return np.maximum(land, 0.001)


def noise_level(band: str, reflectance: np.ndarray, snr: float = _INSTRUMENT) -> np.ndarray:
    """Return the standard deviation of a band's noise for ``reflectance``: a constant and a shot part.

    Both parts are equal at ESA's reference radiance; ``snr`` scales them, and 200 is the instrument.
    """
    reference, there = _NOISE[band]
    level = reference / there * _INSTRUMENT / snr
    return np.asarray(level * np.sqrt(0.5 + 0.5 * np.maximum(reflectance, 0) / reference))


def observe(truth: np.ndarray, snr: float = 200.0, seed: int = 0) -> dict[int, np.ndarray]:
    """Return the bands that the satellite delivers of ``truth``.

    Parameters
    ----------
    truth
        float32 reflectance (12, 6h, 6w), bands in ESA's order.
    snr
        Signal over noise: 200 for the instrument's own noise of each band (:func:`noise_level`), 100 for twice as
        much; ``inf`` for none.

    Returns
    -------
    dict
        GSD → float32 reflectance: (4, 6h, 6w), (6, 3h, 3w), (2, h, w).
    """

    def level(gsd: int, y: np.ndarray) -> np.ndarray:
        return np.stack([noise_level(b, x, snr) for b, x in zip(BY_GSD[gsd], y, strict=True)])

    return noisy(seen(truth), level, [seed, 1])


def seen(truth: np.ndarray, sensor: Sensor = SENTINEL2) -> dict[int, np.ndarray]:
    """Degrade ``truth`` (12, 6h, 6w) with ``sensor``, without noise: GSD → float32 (bands, y, x)."""
    found = {}
    for gsd in GSDS:
        y = truth[rows_of(BY_GSD[gsd])]
        if gsd > 10:
            y = degrade(torch.from_numpy(y)[None], BY_GSD[gsd], ratio(gsd), sensor)[0].numpy()
        found[gsd] = y
    return found


def noisy(
    pictures: Mapping[int, np.ndarray],
    level: Callable[[int, np.ndarray], np.ndarray],
    seed: list[int],
) -> dict[int, np.ndarray]:
    """Add white noise of standard deviation ``level(gsd, y)`` to each GSD's bands (bands, y, x): float32."""
    rng = np.random.default_rng(seed)
    return {
        gsd: (y + level(gsd, y) * rng.standard_normal(y.shape)).astype(np.float32)
        for gsd, y in pictures.items()
    }
