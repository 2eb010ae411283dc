"""Drawn scenes on which sharpening has done harm: detail in only one kind of band, and detail near the noise."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..bands import BANDS, BY_GSD
from .cases import BenchScene

_NAMES = list(BANDS)
_TEN = [_NAMES.index(band) for band in BY_GSD[10]]
_COARSE = [i for i in range(len(_NAMES)) if i not in _TEN]
# DN of the first band and of the last; DN of noise if a kind states nothing else.
_FIRST, _LAST, _NOISE = 600, 2600, 3.0
# DN of steps, swell and texture; slope of edges in columns per row.
_STEP, _STRIPE, _SWELL, _TEXTURE, _SLOPE = 500, 300, 100, 200, 0.35
# Number of bright points, and their least distance from the edge in pixels of 10 m.
_POINTS, _AWAY = 12, 24
_Draw = Callable[[np.ndarray, np.random.Generator], None]


def _grid(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.mgrid[: truth.shape[1], : truth.shape[2]]
    return rows, cols


def _flat(truth: np.ndarray, _: np.random.Generator) -> None:
    """Draw nothing, so that only noise remains."""


def _swell(truth: np.ndarray, _: np.random.Generator) -> None:
    rows, cols = _grid(truth)
    along = (0.9 * cols + 0.3 * rows) / np.hypot(0.9, 0.3)
    truth += _SWELL * np.sin(2 * np.pi * along / 4)


def _stripes(truth: np.ndarray, _: np.random.Generator) -> None:
    truth[_TEN] += _STRIPE * np.sign(np.sin(2 * np.pi * _grid(truth)[1] / 3 + 0.3))


def _checked(bands: list[int], truth: np.ndarray, _: np.random.Generator) -> None:
    rows, cols = _grid(truth)
    truth[bands] += _STEP * (-1.0) ** (rows + cols)


def _points(truth: np.ndarray, random: np.random.Generator) -> None:
    """Draw squares of 20 m, ten times as bright as their surroundings."""
    places = random.integers(_AWAY // 2, (truth.shape[1] - _AWAY) // 2, (_POINTS, 2)) * 2
    for row, col in {(int(row), int(col)) for row, col in places}:
        truth[_COARSE, row : row + 2, col : col + 2] *= 10


def _edge(bands: list[int], truth: np.ndarray, _: np.random.Generator) -> None:
    rows, cols = _grid(truth)
    side = truth.shape[1]
    truth[bands] += _STEP * (cols > side / 2 + _SLOPE * (rows - side / 2))


def _textured(truth: np.ndarray, random: np.random.Generator) -> None:
    """Draw texture in each 10 m band, with an amplitude of 1 over the frequency."""
    shape = truth.shape[1:]
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    f[0, 0] = 1
    for band in _TEN:
        white = np.fft.rfft2(random.standard_normal(shape))
        z = np.fft.irfft2(white / f, s=shape)
        truth[band] += _TEXTURE * z / z.std()


KINDS: Mapping[str, tuple[_Draw, float]] = {
    "flat, noise 5 DN": (_flat, 5.0),
    "flat, noise 30 DN": (_flat, 30.0),
    "swell of 40 m": (_swell, _NOISE),
    "stripes at 10 m only": (_stripes, _NOISE),
    "checkerboard at 10 m only": (partial(_checked, _TEN), _NOISE),
    "checkerboard in all": (partial(_checked, [*range(len(_NAMES))]), _NOISE),
    "bright points in coarse bands only": (_points, _NOISE),
    "edge at 10 m only": (partial(_edge, _TEN), _NOISE),
    "edge in coarse bands only": (partial(_edge, _COARSE), _NOISE),
    "texture at 10 m only": (_textured, _NOISE),
}
"""Name → the function that draws it, and the noise of every band in DN."""


def drawn_scenes(cells: int = 40) -> list[BenchScene]:
    """Draw a scene of each of :data:`KINDS`, ``cells`` × ``cells``, with its truth at 10 m."""
    scenes = []
    for seed, (name, (draw, noise)) in enumerate(KINDS.items()):
        base = np.linspace(_FIRST, _LAST, len(_NAMES))[:, None, None]
        truth = np.broadcast_to(base, (len(_NAMES), 6 * cells, 6 * cells)).copy()
        draw(truth, np.random.default_rng(seed))
        dn = truth.astype(np.float32)
        scenes.append(
            BenchScene(name, truth=dn / 10_000, noise=noise / 10_000, seed=seed, drawn=True)
        )
    return scenes
