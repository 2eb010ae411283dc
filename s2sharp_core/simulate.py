"""Synthetic landscapes with a known 10 m truth in all twelve bands: the demo, and tests that need truth.

Farmland, plains, forests, mountains, coasts, drylands and winters are drawn from spectra of real soils, canopies,
roofs and roads (:mod:`.covers`), mixed within pixels as shares of ground, leaves and shadow. So bands go together as
they do on the Earth: leaves over soil move red and infrared against each other, light and shade move them together,
and coarse bands are no functions of the 10 m ones.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.special import ndtri

from .bands import BANDS, BY_GSD, GSDS, ratio
from .covers import covers
from .observation import degrade
from .terrain import Parcels, edge, fractal, line, parcels, streaks, warped

__all__ = ["landscape", "noise_level", "observe"]

Shape = tuple[int, int]

# Logarithm of what water in a soil takes away, bands in ESA's order (after Lobell and Asner, Soil Sci. Soc. Am. J. 66,
# 722 (2002), rounded), and the share of skylight in the light: shadows are bluish.
_WET = np.array([0.50, 0.50, 0.50, 0.48, 0.47, 0.46, 0.45, 0.44, 0.44, 0.45, 0.62, 0.78])
_SKY = np.array([0.30, 0.25, 0.19, 0.14, 0.12, 0.11, 0.09, 0.08, 0.08, 0.07, 0.03, 0.02])

# Noise (ESA's Sentinel-2 data quality reports; radiances as in ESA's radiometric uncertainty tool): reflectance of the reference radiance, and
# signal over noise there.
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

# σ of what a 10 m band's own optics and detector blur, in pixels (MTF 0.25 at Nyquist).
_BLUR = 0.53


@dataclass(frozen=True)
class _Country:
    """A kind of land: shares and sizes that a landscape is drawn from, each (least, most)."""

    farmed: tuple[float, float]
    side: tuple[float, float]
    green: tuple[float, float]
    wooded: tuple[float, float]
    height: tuple[float, float]
    towns: float
    water: tuple[str, ...]
    snow: tuple[float, float] = (0, 0)


_COUNTRIES = {
    "farmland": _Country(
        (0.85, 1.0), (7, 15), (0.45, 0.8), (0.08, 0.35), (1, 6), 2.5, ("river", "lake", "")
    ),
    "plain": _Country(
        (0.95, 1.0), (14, 32), (0.2, 0.7), (0, 0.1), (0.3, 2), 1.2, ("river", "", "")
    ),
    "forest": _Country(
        (0.05, 0.3), (12, 24), (0.5, 0.8), (0.55, 0.85), (1.5, 7), 0.5, ("lake", "lake", "river")
    ),
    "mountain": _Country(
        (0, 0.1), (8, 14), (0.3, 0.7), (0.1, 0.4), (22, 50), 0.3, ("river", ""), (0, 0.3)
    ),
    "coast": _Country((0.2, 0.8), (9, 20), (0.3, 0.7), (0.05, 0.3), (1, 6), 1.5, ("sea",)),
    "dryland": _Country(
        (0, 0.3), (20, 40), (0.03, 0.3), (0, 0.05), (2, 10), 0.4, ("wadi", "wadi", "sea")
    ),
    "winter": _Country(
        (0.3, 0.8), (14, 26), (0.1, 0.4), (0.2, 0.6), (3, 12), 0.8, ("lake", "river"), (0.8, 1)
    ),
}
_OFTEN = {
    "farmland": 0.26,
    "plain": 0.14,
    "forest": 0.15,
    "mountain": 0.13,
    "coast": 0.15,
    "dryland": 0.1,
    "winter": 0.07,
}


def landscape(shape: Shape, seed: int = 0) -> np.ndarray:
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
    country = _COUNTRIES[rng.choice(list(_OFTEN), p=list(_OFTEN.values()))]
    painter = _Painter(shape, country, rng)
    painter.open_land()
    painter.farms()
    painter.woods()
    painter.towns()
    painter.roads()
    painter.waters()
    painter.snow()
    return painter.finished()


class _Painter:
    """Paints one landscape, from the ground up; each step covers a share of each pixel."""

    def __init__(self, shape: Shape, country: _Country, rng: np.random.Generator) -> None:
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
        # Where water stands, nothing is built nor does snow lie.
        self.water = np.zeros(shape, dtype=np.float32)

    def rough(self, slope: float) -> np.ndarray:
        """A surface of the landscape's size."""
        return fractal(self.shape, slope, self.rng)

    def cover(self, share: np.ndarray, picture: np.ndarray) -> None:
        """Cover ``share`` (h, w) of each pixel with ``picture`` (bands, h, w) or a spectrum (bands,)."""
        picture = picture if picture.ndim == 3 else picture[:, None, None]
        self.land += share * (picture - self.land)

    def one(self, cover: str) -> np.ndarray:
        """One spectrum (bands,)."""
        return covers()[cover].draw(1, self.rng)[0]

    def each(self, cover: str, of: Parcels, alike: float) -> np.ndarray:
        """A spectrum for each parcel of ``of``, painted: (bands, h, w)."""
        return of.paint(covers()[cover].draw(of.count, self.rng, alike))

    def soil(self, of: Parcels, alike: float = 0.94) -> np.ndarray:
        """Soils as fields show them, rougher and wetter than the library's sieved ones."""
        drawn = covers()["soil"].draw(of.count, self.rng, alike)
        wet = self.wet + 0.15 * self.rng.standard_normal((of.count, 1))
        return of.paint(drawn * np.exp(-np.clip(wet, 0.1, 1.8) * _WET))

    def open_land(self) -> None:
        """Paint grass, scrub and bare ground, thin and dense as the ground's own variety has it."""
        rng = self.rng
        damp = 0.5 * self.rough(2.4) + 0.35 * self.rough(1.6) - 0.6 * self.relief
        leaves = np.clip(self.green + 0.16 * damp, 0, 0.95)
        litter = np.clip(0.45 + 0.15 * self.rough(2.2), 0, 1) * (1 - leaves)
        dark = np.exp(-np.clip(self.wet + 0.3 * damp, 0.05, 2)[None] * _WET[:, None, None])
        soil = self.mixed("soil") * dark
        self.land += soil.astype(np.float32)
        self.cover(litter, self.mixed("dry"))
        self.cover(leaves, 0.85 * self.mixed("canopy"))
        rock = edge(self.relief + 0.2 * self.rough(2.0) - rng.uniform(0.6, 1.6), 12)
        if self.height > 20:
            self.cover(0.8 * rock, self.mixed("sand"))

    def mixed(self, cover: str) -> np.ndarray:
        """Two spectra of a region, one passing into the other across the land: (bands, h, w)."""
        first, second = covers()[cover].draw(2, self.rng, 0.6)
        share = np.clip(0.5 + 0.35 * self.rough(2.6), 0, 1)
        return first[:, None, None] + share * (second - first)[:, None, None]

    def farms(self) -> None:
        """Paint fields: leaves over litter over soil, each with rows, gradients and thin places."""
        rng, fields, n = self.rng, self.fields, self.fields.count
        # Bare, sprouting, grown, ripe and stubble, meadow: share of leaves, share of litter on the rest.
        stages = np.array([(0.04, 0.1), (0.4, 0.1), (0.9, 0.2), (0.08, 0.8), (0.75, 0.7)])
        often = np.array([1 - self.green, 0.5, 1.6 * self.green, 1 - self.green, 1.6 * self.green])
        stage = stages[rng.choice(len(stages), n, p=often / often.sum())]
        share = np.clip(stage + rng.normal(0, 0.07, stage.shape), 0.01, 0.97)
        uneven = rng.lognormal(-2.9, 0.6, n)
        rows = rng.lognormal(-4.2, 0.6, n)
        variety = fields.paint(uneven) * (self.rough(2.4) + 0.6 * self.rough(1.4))
        drift = fields.paint(rng.normal(0, 0.05, (n, 2)))
        y, x = np.indices(self.shape, dtype=np.float32) / 15
        variety += drift[0] * np.sin(y) + drift[1] * np.sin(x)
        variety += fields.paint(rows) * self.rows()
        leaves = np.clip(fields.paint(share[:, 0]) + variety, 0, 0.98)
        litter = np.clip(fields.paint(share[:, 1]) + 0.6 * variety, 0, 1)
        picture = self.soil(fields) * (1 - 0.5 * variety)
        picture += litter * (self.each("dry", fields, 0.9) - picture)
        picture += leaves * (self.each("canopy", fields, 0.88) - picture)
        farmed = rng.uniform(*self.country.farmed)
        good = fields.mean(-self.rough(3.4) - 0.4 * self.relief)
        self.farmed = fields.paint(good > _threshold(1 - farmed))
        self.cover(self.farmed, picture)
        hedge = fields.borders(fields.field, rng.uniform(0.1, 0.8))
        hedge *= fields.paint(rng.random(n) < rng.uniform(0, 0.9)) * self.farmed
        self.cover(hedge, 0.6 * self.one("canopy"))
        track = fields.borders(fields.block, rng.uniform(0.2, 0.5)) * self.farmed
        self.cover(track, self.one(rng.choice(["asphalt", "sand", "soil"])))

    def rows(self) -> np.ndarray:
        """Rows and tramlines, along each field's direction to within 15 degrees."""
        angles = np.arange(6) * np.pi / 6
        nearest = np.round(self.fields.angle / (np.pi / 6)).astype(int) % 6
        return np.sum(
            [
                self.fields.paint(nearest == i) * streaks(self.shape, angle, self.rng)
                for i, angle in enumerate(angles)
                if (nearest == i).any()
            ],
            axis=0,
        )

    def woods(self) -> None:
        """Paint trees: lit crowns and the shade between them, in stands of an age, with clearings."""
        rng = self.rng
        wooded = rng.uniform(*self.country.wooded)
        if wooded < 0.01:
            return
        stands = parcels(self.shape, rng.uniform(16, 34), rng)
        where = self.rough(3.9) + 0.05 * self.rough(2.2) - 0.2 * self.relief
        natural = edge(where - _threshold(1 - wooded), 1.5)
        # Between fields, woods end where fields do.
        straight = self.fields.mean(where) > _threshold(1 - 0.7 * wooded)
        alone = rng.random(self.fields.count) < 0.15 * wooded
        woods = np.maximum(natural, self.fields.paint(straight | alone) * self.farmed)
        conifers = rng.random(stands.count) < rng.uniform(0, 1)
        age = rng.normal(0, 0.12, stands.count)
        lit = np.where(conifers, 0.36, 0.66) * np.exp(age)
        crowns = np.exp(0.10 * self.rough(1.0) + 0.10 * self.rough(2.0))
        picture = self.each("canopy", stands, 0.8) * (stands.paint(lit) * crowns)
        cut = stands.paint((rng.random(stands.count) < 0.08).astype(float))
        bare = self.soil(stands)
        bare += np.clip(0.5 + 0.2 * self.rough(1.8), 0, 1) * (self.each("dry", stands, 0.8) - bare)
        picture += 0.8 * cut * (bare - picture)
        # Tall trees throw a shadow beside the wood, away from the sun, and lighten their own sunny edge.
        dy, dx = np.cos(self.sun[0]), np.sin(self.sun[0])
        thrown = ndimage.shift(woods, (-dy, -dx), order=1, mode="nearest")
        self.land *= 1 - 0.55 * np.clip(thrown - woods, 0, 1)
        self.cover(woods, picture)
        self.trees = woods * (1 - 0.9 * cut)

    def towns(self) -> None:
        """Paint villages: roofs of the region's kind along streets, gardens between, halls at the rim, lone farms."""
        rng = self.rng
        area = self.shape[0] * self.shape[1] / 288**2
        style = rng.choice(["tile", "tile", "slate", "shingle"])
        roofs = covers()[style].draw(64, rng, 0.7)
        roofs[:24] = np.concatenate(
            [covers()[k].draw(8, rng) for k in ("shingle", "slate", "metal")]
        )
        for _ in range(rng.poisson(self.country.towns * area)):
            middle, angle = rng.uniform(0, 1, 2) * self.shape, rng.uniform(0, np.pi)
            reach = float(np.clip(rng.lognormal(2.3, 0.55), 4, 40))
            self.village(middle, angle, reach, roofs)
            for _ in range(rng.poisson(reach / 6)):
                at = middle + rng.normal(0, reach, 2)
                kind = rng.choice(["metal", "concrete", "shingle"])
                self.building(at, angle, rng.uniform(2, 7), rng.uniform(1.5, 4), self.one(kind))
        for _ in range(rng.poisson(5 * self.country.towns * area)):
            at, angle = rng.uniform(0, 1, 2) * self.shape, rng.uniform(0, np.pi)
            self.building(at, angle, 4, 3, 0.6 * self.one("canopy"), 0.45)
            yard, house = at + rng.normal(0, 0.7, (2, 2))
            self.building(yard, angle, 2, 1.5, self.one("concrete"), 0.5)
            self.building(house, angle, rng.uniform(1, 2.5), 0.9, roofs[rng.integers(64)])

    def village(self, middle: np.ndarray, angle: float, reach: float, roofs: np.ndarray) -> None:
        """Paint one village of about ``reach`` pixels, with plots and streets along ``angle``."""
        rng = self.rng
        y, x, u, v = self.around(middle, angle, 3 * reach)
        if not u.size:
            return
        thin = rng.uniform(1, 2.2)
        dense = np.exp(-(u**2 + (thin * v) ** 2) / (2 * reach**2)) * np.exp(
            0.5 * fractal(u.shape, 2.6, rng)
        )
        built = np.clip(3 * dense - 1, 0, 1)
        bent = v + 3 * fractal(u.shape, 4.0, rng)
        u = u + 3 * fractal(u.shape, 4.0, rng)
        plot = rng.integers(len(roofs), size=4096)[_cells(u, bent, 1.9, 3.1, 4096)]
        share = rng.beta(1.6, 3.0, 4096)[_cells(u, bent, 1.9, 3.1, 4096)]
        roof = roofs[plot].transpose(2, 0, 1)
        garden = self.one("canopy")[:, None, None] * (0.55 + 0.1 * fractal(u.shape, 1.4, rng))
        garden += 0.35 * (self.one("dry")[:, None, None] - garden)
        town = garden + np.clip(share * (0.7 + 0.5 * dense), 0, 0.9) * (roof - garden)
        street = np.maximum(_stripes(bent, 6.2, 0.55), _stripes(u, 13.3, 0.5))
        town += street * (self.one("asphalt")[:, None, None] - town)
        land = self.land[:, y, x]
        land += built * (town - land)

    def around(
        self, middle: np.ndarray, angle: float, reach: float
    ) -> tuple[slice, slice, np.ndarray, np.ndarray]:
        """The window within ``reach`` of a place, and its coordinates along and across ``angle``."""
        low = np.clip(np.floor(middle - reach), 0, self.shape).astype(int)
        high = np.clip(np.ceil(middle + reach) + 1, 0, self.shape).astype(int)
        dy = np.arange(low[0], high[0], dtype=np.float32)[:, None] - middle[0]
        dx = np.arange(low[1], high[1], dtype=np.float32)[None, :] - middle[1]
        u = dx * np.cos(angle) + dy * np.sin(angle)
        v = dy * np.cos(angle) - dx * np.sin(angle)
        return slice(low[0], high[0]), slice(low[1], high[1]), u, v

    def building(
        self,
        middle: np.ndarray,
        angle: float,
        length: float,
        width: float,
        spectrum: np.ndarray,
        share: float = 0.9,
    ) -> None:
        """Paint a rectangle of ``length`` × ``width`` pixels."""
        y, x, u, v = self.around(middle, angle, length)
        inside = np.clip(length / 2 + 0.5 - np.abs(u), 0, min(length, 1))
        inside = inside * np.clip(width / 2 + 0.5 - np.abs(v), 0, min(width, 1))
        land = self.land[:, y, x]
        land += share * inside * (spectrum[:, None, None] - land)

    def roads(self) -> None:
        """Paint some roads across the land."""
        rng = self.rng
        for _ in range(rng.integers(0, 2 + int(2 * min(self.country.towns, 2)))):
            field = warped(self.shape, rng.uniform(5.0, 5.6), rng.uniform(0.03, 0.12), rng)
            width = rng.choice([0.45, 0.7, 1.2], p=[0.5, 0.35, 0.15])
            self.cover(line(field, 2.2 * width) * 0.4, 0.8 * self.one("canopy"))
            self.cover(line(field, width), self.one(rng.choice(["asphalt", "asphalt", "concrete"])))

    def waters(self) -> None:
        """Paint a river, lakes, a wadi or the sea, with banks."""
        rng = self.rng
        kind = rng.choice(self.country.water)
        if kind in ("river", "wadi"):
            field = self.stream
            width = rng.uniform(0.8, 5) * np.exp(0.25 * self.rough(3.0))
            bank = line(field, 2.2 * width + 1.5)
            lush = kind == "river"
            self.cover(0.6 * bank, 0.7 * self.one("canopy") if lush else self.one("sand"))
            self.cover(0.7 * line(field + 0.6 * width, 0.8 * width), self.one("sand"))
            if lush or rng.random() < 0.4:
                self.pour(line(field, width), field)
        elif kind == "lake":
            depth = -self.rough(4.0) - 0.03 * self.rough(2.4)
            depth -= _threshold(rng.uniform(0.82, 0.97)) * depth.std()
            self.cover(0.5 * edge(depth + 0.06, 2), 0.6 * self.one("canopy"))
            self.pour(edge(depth), 40 * depth)
        elif kind == "sea":
            self.sea()

    def sea(self) -> None:
        """Paint the sea with its beach, flats and shallows."""
        rng = self.rng
        depth = warped(self.shape, rng.uniform(3.5, 4.4), rng.uniform(0.08, 0.2), rng)
        flats = rng.choice([4.0, 12.0, 40.0])
        wet = np.exp(-np.clip(1.0 + depth / flats, 0, 2)[None] * _WET[:, None, None])
        self.cover(
            0.9 * edge(depth + flats + flats / 3 * self.rough(2.0), 2), self.mixed("sand") * wet
        )
        creeks = line(self.rough(2.8), 1.6) * edge(depth + 1.5 * flats, 4)
        self.cover(0.8 * creeks, self.one("turbid"))
        self.pour(edge(depth), depth)
        surf = line(depth - 1.5, 1.2) * np.clip(0.3 * self.rough(1.8), 0, 0.5)
        self.cover(surf, np.full(len(BANDS), 0.3, dtype=np.float32))

    def pour(self, share: np.ndarray, depth: np.ndarray) -> None:
        """Cover ``share`` with water, turbid where it is shallow (``depth`` in pixels from the shore)."""
        rng = self.rng
        reach = rng.uniform(3, 60)
        cloudy = np.exp(-np.clip(depth, 0, None) / reach) * np.exp(0.3 * self.rough(3.4))
        cloudy = np.clip(rng.uniform(0.1, 1) * cloudy, 0, 1)
        clear, turbid = self.one("water"), self.one("turbid")
        picture = clear[:, None, None] + cloudy * (turbid - clear)[:, None, None]
        swell = streaks(self.shape, rng.uniform(0, np.pi), rng) + self.rough(1.0)
        picture = picture + 0.0012 * swell
        self.cover(share, picture.astype(np.float32))
        self.water = np.maximum(self.water, share)

    def snow(self) -> None:
        """Lay snow on high or on all open land; trees stand out of it, wind and thaw make it thin."""
        share = self.rng.uniform(*self.country.snow)
        if share < 0.02:
            return
        high = self.relief + 0.25 * self.rough(2.0) - _threshold(1 - share)
        lies = edge(high, 4) * np.clip(0.9 + 0.12 * self.rough(1.6), 0, 1) * (1 - self.water)
        thin = 1 - 0.85 * getattr(self, "trees", 0.0)
        self.cover(lies * thin, self.one("snow"))

    def finished(self) -> np.ndarray:
        """Light the land by its slopes, add the grain that each surface has, and see it through the optics."""
        gy, gx = np.gradient(self.relief * self.height)
        towards = gx * np.sin(self.sun[0]) + gy * np.cos(self.sun[0])
        lit = np.clip(1 - self.sun[1] * towards, 0.05, 1.8)
        lit = 1 + (1 - self.water) * (lit - 1)
        sky = _SKY[:, None, None].astype(np.float32)
        self.land *= sky + (1 - sky) * lit
        grain = 0.045 * self.rough(1.5) * (1 - self.water)
        for band in self.land:
            # What no other band knows: chemistry, moisture, the angle that each band looks from.
            band *= np.exp(grain + _OWN * self.rough(1.6))
        land = ndimage.gaussian_filter(self.land, (0, _BLUR, _BLUR))
        return np.maximum(land, 0.001)


def _cells(u: np.ndarray, v: np.ndarray, long: float, wide: float, kinds: int) -> np.ndarray:
    """A number below ``kinds`` for each cell of a grid, as if drawn by chance."""
    i, j = np.floor(u / long).astype(np.int64), np.floor(v / wide).astype(np.int64)
    return np.asarray((i * 73856093 ^ j * 19349663) % kinds)


def _stripes(u: np.ndarray, apart: float, width: float) -> np.ndarray:
    """Share of each pixel that lines of ``width`` pixels cover, ``apart`` pixels from each other."""
    distance = np.abs((u / apart + 0.5) % 1 - 0.5) * apart
    return np.asarray(np.clip(width / 2 + 0.5 - distance, 0, width), dtype=np.float32)


def _threshold(share: float) -> float:
    """The value below which ``share`` of a standard normal surface lies."""
    return float(ndtri(np.clip(share, 0.001, 0.999)))


def noise_level(band: str, reflectance: np.ndarray, snr: float = _INSTRUMENT) -> np.ndarray:
    """Standard deviation of a band's noise where it sees ``reflectance``: a constant and a shot part.

    Both are alike at ESA's reference radiance; ``snr`` scales them, and 200 is the instrument.
    """
    reference, there = _NOISE[band]
    level = reference / there * _INSTRUMENT / snr
    return np.asarray(level * np.sqrt(0.5 + 0.5 * np.maximum(reflectance, 0) / reference))


def observe(truth: np.ndarray, snr: float = 200.0, seed: int = 0) -> dict[int, np.ndarray]:
    """What the satellite delivers of ``truth``.

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
    rng = np.random.default_rng([seed, 1])
    names = list(BANDS)
    seen = {}
    for gsd in GSDS:
        bands = BY_GSD[gsd]
        y = truth[[names.index(b) for b in bands]]
        if gsd > 10:
            y = degrade(torch.from_numpy(y)[None], bands, ratio(gsd))[0].numpy()
        level = np.stack([noise_level(b, x, snr) for b, x in zip(bands, y, strict=True)])
        seen[gsd] = (y + rng.standard_normal(y.shape) * level).astype(np.float32)
    return seen
