"""Villages, halls and single farms."""

import numpy as np

from .canvas import Canvas
from .covers import covers
from .shapes import fractal


def towns(canvas: Canvas) -> None:
    """Paint villages: roofs of the region's kind along streets, gardens between, halls at the rim, single farms."""
    rng = canvas.rng
    area = canvas.shape[0] * canvas.shape[1] / 288**2
    style = rng.choice(["tile", "tile", "slate", "shingle"])
    roofs = covers()[style].draw(64, rng, 0.7)
    roofs[:24] = np.concatenate([covers()[k].draw(8, rng) for k in ("shingle", "slate", "metal")])
    for _ in range(rng.poisson(canvas.country.towns * area)):
        middle, angle = rng.uniform(0, 1, 2) * canvas.shape, rng.uniform(0, np.pi)
        reach = float(np.clip(rng.lognormal(2.3, 0.55), 4, 40))
        _village(canvas, middle, angle, reach, roofs)
        for _ in range(rng.poisson(reach / 6)):
            at = middle + rng.normal(0, reach, 2)
            kind = rng.choice(["metal", "concrete", "shingle"])
            _building(canvas, at, angle, rng.uniform(2, 7), rng.uniform(1.5, 4), canvas.one(kind))
    for _ in range(rng.poisson(5 * canvas.country.towns * area)):
        at, angle = rng.uniform(0, 1, 2) * canvas.shape, rng.uniform(0, np.pi)
        _building(canvas, at, angle, 4, 3, 0.6 * canvas.one("canopy"), 0.45)
        yard, house = at + rng.normal(0, 0.7, (2, 2))
        _building(canvas, yard, angle, 2, 1.5, canvas.one("concrete"), 0.5)
        _building(canvas, house, angle, rng.uniform(1, 2.5), 0.9, roofs[rng.integers(64)])


def _village(
    canvas: Canvas, middle: np.ndarray, angle: float, reach: float, roofs: np.ndarray
) -> None:
    """Paint one village of about ``reach`` pixels, with plots and streets along ``angle``."""
    rng = canvas.rng
    y, x, u, v = _around(canvas, middle, angle, 3 * reach)
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
    garden = canvas.one("canopy")[:, None, None] * (0.55 + 0.1 * fractal(u.shape, 1.4, rng))
    garden += 0.35 * (canvas.one("dry")[:, None, None] - garden)
    town = garden + np.clip(share * (0.7 + 0.5 * dense), 0, 0.9) * (roof - garden)
    street = np.maximum(_stripes(bent, 6.2, 0.55), _stripes(u, 13.3, 0.5))
    town += street * (canvas.one("asphalt")[:, None, None] - town)
    land = canvas.land[:, y, x]
    land += built * (town - land)


def _around(
    canvas: Canvas, middle: np.ndarray, angle: float, reach: float
) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Return the window within ``reach`` of a place, and its coordinates along and across ``angle``."""
    low = np.clip(np.floor(middle - reach), 0, canvas.shape).astype(int)
    high = np.clip(np.ceil(middle + reach) + 1, 0, canvas.shape).astype(int)
    dy = np.arange(low[0], high[0], dtype=np.float32)[:, None] - middle[0]
    dx = np.arange(low[1], high[1], dtype=np.float32)[None, :] - middle[1]
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = dy * np.cos(angle) - dx * np.sin(angle)
    return slice(low[0], high[0]), slice(low[1], high[1]), u, v


def _building(
    canvas: Canvas,
    middle: np.ndarray,
    angle: float,
    length: float,
    width: float,
    spectrum: np.ndarray,
    share: float = 0.9,
) -> None:
    """Paint a rectangle of ``length`` × ``width`` pixels."""
    y, x, u, v = _around(canvas, middle, angle, length)
    inside = np.clip(length / 2 + 0.5 - np.abs(u), 0, min(length, 1))
    inside = inside * np.clip(width / 2 + 0.5 - np.abs(v), 0, min(width, 1))
    land = canvas.land[:, y, x]
    land += share * inside * (spectrum[:, None, None] - land)


def _cells(u: np.ndarray, v: np.ndarray, long: float, wide: float, kinds: int) -> np.ndarray:
    """Return a pseudo-random number below ``kinds`` for each cell of a grid."""
    i, j = np.floor(u / long).astype(np.int64), np.floor(v / wide).astype(np.int64)
    return np.asarray((i * 73856093 ^ j * 19349663) % kinds)


def _stripes(u: np.ndarray, apart: float, width: float) -> np.ndarray:
    """Return the share of each pixel that lines of ``width`` pixels cover, ``apart`` pixels from each other."""
    distance = np.abs((u / apart + 0.5) % 1 - 0.5) * apart
    return np.asarray(np.clip(width / 2 + 0.5 - distance, 0, width), dtype=np.float32)
