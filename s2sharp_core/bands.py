"""The Multi-Spectral Instrument of Sentinel-2 as a table.

Wavelengths: ESA, Sentinel-2 User Handbook. MTF at Nyquist: the values used by SupReME (Lanaras et al. 2017), S2Sharp
(Ulfarsson et al. 2019) and S2S-UCNN (Nguyen et al. 2021). These papers give one set for all platforms, and so does
this table.

Blur and edge describe the relation of a coarse band of a product to its 10 m bands. They were measured at full
resolution (:mod:`.measurement`) on four Level-1C scenes and six Level-2A chips of 2015-2018, S2A and S2B: ``python -m
tests.benchmarks.sensor``. For the short-wave infrared, places were used where the 10 m bands explain it best.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

CELL = 60
"""Side of a cell, the coarsest pixel, in metres."""

GSDS = (10, 20, 60)

NO_DATA = -32768
"""Stored DN of a pixel without data; the least of the others is one more."""


@dataclass(frozen=True)
class Band:
    """One spectral band.

    Attributes
    ----------
    gsd
        Ground sampling distance in metres.
    wavelength, bandwidth
        Centre and width in nm.
    mtf
        Modulation transfer function at the band's Nyquist frequency, of instrument and ground together.
    blur, edge
        Frequency response relative to the 10 m bands of the same product, exp(-2π²·blur²·f² - (f/edge)⁶), f in
        cycles per pixel of this band. A 10 m band has the values of the red edge, for when it plays a coarse one.
    """

    name: str
    gsd: int
    wavelength: float
    bandwidth: float
    mtf: float
    blur: float
    edge: float
    common_name: str


BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        Band("B01", 60, 442.7, 20, 0.32, 0.447, 0.535, "coastal"),
        Band("B02", 10, 492.7, 65, 0.26, 0.36, 0.545, "blue"),
        Band("B03", 10, 559.8, 35, 0.28, 0.36, 0.545, "green"),
        Band("B04", 10, 664.6, 30, 0.24, 0.36, 0.545, "red"),
        Band("B05", 20, 704.1, 14, 0.38, 0.37, 0.545, "rededge071"),
        Band("B06", 20, 740.5, 14, 0.34, 0.35, 0.545, "rededge075"),
        Band("B07", 20, 782.8, 19, 0.34, 0.35, 0.545, "rededge078"),
        Band("B08", 10, 832.8, 105, 0.26, 0.36, 0.545, "nir"),
        Band("B8A", 20, 864.7, 21, 0.33, 0.37, 0.545, "nir08"),
        Band("B09", 60, 945.1, 19, 0.26, 0.447, 0.535, "nir09"),
        Band("B11", 20, 1613.7, 90, 0.22, 0.53, 0.545, "swir16"),
        Band("B12", 20, 2202.4, 174, 0.23, 0.525, 0.545, "swir22"),
    )
}
"""The twelve bands that show the surface, in ESA's order. B10 (cirrus) shows the upper atmosphere."""

CIRRUS = Band("B10", 60, 1373.5, 30, math.nan, math.nan, math.nan, "cirrus")
"""Band of Level-1C alone, never sharpened, so it has no response here. Water vapour hides the ground from it, and no
10 m band sees the cirrus that it sees. So no 10 m band has detail that belongs in it."""

MEASURED: dict[str, Band] = {**BANDS, CIRRUS.name: CIRRUS}
"""All bands that the instrument measures."""

BY_GSD: dict[int, tuple[str, ...]] = {
    gsd: tuple(band.name for band in BANDS.values() if band.gsd == gsd) for gsd in GSDS
}
SIZES = [len(names) for names in BY_GSD.values()]
"""Number of bands of each GSD."""

COARSE: tuple[str, ...] = tuple(band.name for band in BANDS.values() if band.gsd > 10)


ERROR90 = "_error90"
"""Suffix to a band's name for the half-width of the interval around it."""

TRUST = ("residual", "detail")
"""Layers that rank places by trust (:mod:`.sharpeners.trust`): root mean square over the pixels of a cell, then over
the coarse bands; reflectance."""


def error_of(band: str) -> str:
    """Return the name of the half-width of the interval around ``band``."""
    return f"{band}{ERROR90}"


def ratio(gsd: int) -> int:
    """Return the number of 10 m pixels along one pixel of ``gsd`` metres."""
    return gsd // 10


def in_order(bands: object) -> tuple[str, ...]:
    """Return ``bands`` in ESA's order, without repetitions."""
    wanted = set(bands)  # type: ignore[call-overload]
    return tuple(name for name in BANDS if name in wanted)


def rows_of(bands: Iterable[str]) -> list[int]:
    """Return the places of ``bands`` in ESA's order, as in an array of all twelve."""
    names = list(BANDS)
    return [names.index(band) for band in bands]


GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(BANDS),
    **{f"{gsd}m": names for gsd, names in BY_GSD.items()},
    "visible": ("B02", "B03", "B04"),
    "rededge": ("B05", "B06", "B07"),
    "swir": ("B11", "B12"),
}
"""Words for several bands; those of a resolution follow the native GSD."""


def names_of(words: str | Iterable[str]) -> list[str]:
    """Return the bands that words stand for: ``B8A``, ``b8a``, ``B5``, ``red``, ``swir``, ``20m``.

    Unknown words are returned unchanged. Text is split at commas and spaces.
    """
    parts = re.findall(r"[^\s,\[\]\"']+", words) if isinstance(words, str) else words
    return [name for word in parts for name in _named(str(word))]


def _named(word: str) -> tuple[str, ...]:
    low = word.lower()
    if low in GROUPS:
        return GROUPS[low]
    padded = f"b0{low[1:]}" if len(low) == 2 and low[0] == "b" else low
    found = (b.name for b in MEASURED.values() if padded in (b.name.lower(), b.common_name))
    return tuple(found) or (word,)


class SceneClass(IntEnum):
    """Classes of the scene classification (SCL) of Level-2A products."""

    NO_DATA = 0
    SATURATED_OR_DEFECTIVE = 1
    DARK_AREA = 2
    CLOUD_SHADOW = 3
    VEGETATION = 4
    NOT_VEGETATED = 5
    WATER = 6
    UNCLASSIFIED = 7
    CLOUD_MEDIUM_PROBABILITY = 8
    CLOUD_HIGH_PROBABILITY = 9
    THIN_CIRRUS = 10
    SNOW_OR_ICE = 11


CLOUDS = (SceneClass.CLOUD_MEDIUM_PROBABILITY, SceneClass.CLOUD_HIGH_PROBABILITY)
"""Classes that are certainly cloud."""

HIDING = (SceneClass.CLOUD_SHADOW, *CLOUDS, SceneClass.THIN_CIRRUS)
"""Classes that hide the ground or its light. Snow, dark areas and unclassified pixels count as ground."""


def native_gsd(band: str) -> int:
    """Return the pixel size, in metres, of a band, or of the scene classification ("SCL")."""
    return MEASURED[band].gsd if band in MEASURED else 20
