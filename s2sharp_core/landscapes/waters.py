"""Rivers, lakes and the sea, with their banks and beaches."""

import numpy as np

from ..bands import BANDS
from .canvas import WET, Canvas, threshold
from .shapes import edge, line, streaks, warped


def waters(canvas: Canvas) -> None:
    """Paint a river, lakes, a wadi or the sea, with banks."""
    rng = canvas.rng
    kind = rng.choice(canvas.country.water)
    if kind in ("river", "wadi"):
        field = canvas.stream
        width = rng.uniform(0.8, 5) * np.exp(0.25 * canvas.rough(3.0))
        bank = line(field, 2.2 * width + 1.5)
        lush = kind == "river"
        canvas.cover(0.6 * bank, 0.7 * canvas.one("canopy") if lush else canvas.one("sand"))
        canvas.cover(0.7 * line(field + 0.6 * width, 0.8 * width), canvas.one("sand"))
        if lush or rng.random() < 0.4:
            _pour(canvas, line(field, width), field)
    elif kind == "lake":
        depth = -canvas.rough(4.0) - 0.03 * canvas.rough(2.4)
        depth -= threshold(rng.uniform(0.82, 0.97)) * depth.std()
        canvas.cover(0.5 * edge(depth + 0.06, 2), 0.6 * canvas.one("canopy"))
        _pour(canvas, edge(depth), 40 * depth)
    elif kind == "sea":
        _sea(canvas)


def _sea(canvas: Canvas) -> None:
    """Paint the sea with its beach, flats and shallows."""
    rng = canvas.rng
    depth = warped(canvas.shape, rng.uniform(3.5, 4.4), rng.uniform(0.08, 0.2), rng)
    flats = rng.choice([4.0, 12.0, 40.0])
    wet = np.exp(-np.clip(1.0 + depth / flats, 0, 2)[None] * WET[:, None, None])
    canvas.cover(
        0.9 * edge(depth + flats + flats / 3 * canvas.rough(2.0), 2), canvas.mixed("sand") * wet
    )
    creeks = line(canvas.rough(2.8), 1.6) * edge(depth + 1.5 * flats, 4)
    canvas.cover(0.8 * creeks, canvas.one("turbid"))
    _pour(canvas, edge(depth), depth)
    surf = line(depth - 1.5, 1.2) * np.clip(0.3 * canvas.rough(1.8), 0, 0.5)
    canvas.cover(surf, np.full(len(BANDS), 0.3, dtype=np.float32))


def _pour(canvas: Canvas, share: np.ndarray, depth: np.ndarray) -> None:
    """Cover ``share`` with water, turbid where it is shallow (``depth`` in pixels from the shore)."""
    rng = canvas.rng
    reach = rng.uniform(3, 60)
    cloudy = np.exp(-np.clip(depth, 0, None) / reach) * np.exp(0.3 * canvas.rough(3.4))
    cloudy = np.clip(rng.uniform(0.1, 1) * cloudy, 0, 1)
    clear, turbid = canvas.one("water"), canvas.one("turbid")
    picture = clear[:, None, None] + cloudy * (turbid - clear)[:, None, None]
    swell = streaks(canvas.shape, rng.uniform(0, np.pi), rng) + canvas.rough(1.0)
    picture = picture + 0.0012 * swell
    canvas.cover(share, picture.astype(np.float32))
    canvas.water = np.maximum(canvas.water, share)
