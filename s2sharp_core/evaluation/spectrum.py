"""Gain and coherence of an image against another of the same land, by spatial frequency."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

BINS = (0.01, *np.round(np.arange(0.03, 0.421, 0.03), 2).tolist())
"""Edges of the frequency rings, cycles per pixel; gains are relative to the first ring."""

JUDGED = ("B07", "B8A")
"""Coarse bands that show nearly the same as B08."""

# First frequency of the rings for the departure, cycles per pixel.
_FROM = 0.12
# Side of a tile in pixels for small and for large images, and the side from which an image is large.
_SMALL, _LARGE, _LARGE_FROM = 64, 128, 256
_RIM = 6


def gain_and_coherence(x: np.ndarray, fine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare the spectra of ``x`` and ``fine``, (y, x) both, ring by ring of :data:`BINS`.

    Tiles of 64 pixels (128 if both sides have 256 pixels or more) overlap by half, without the six outer pixels.
    The mean of each tile is subtracted, and the tile is multiplied with a Hann window.

    Returns
    -------
    tuple
        Gain, Re(Sxy) / Syy, divided by its value in the first ring; coherence, abs(Sxy) / √(Sxx Syy): each (rings,). NaN
        if an image is smaller than a tile.
    """
    side = _SMALL if min(x.shape) < _LARGE_FROM else _LARGE
    window = np.hanning(side + 2)[1:-1]
    window = np.outer(window, window)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    ring = np.digitize(frequency.ravel(), BINS)
    cross, own, theirs = (
        np.zeros((side, side), complex),
        np.zeros((side, side)),
        np.zeros((side, side)),
    )
    for a, b in zip(_tiles(x, side), _tiles(fine, side), strict=True):
        a, b = (np.fft.fft2((tile - tile.mean()) * window) for tile in (a, b))
        cross += a * b.conj()
        own += np.abs(a) ** 2
        theirs += np.abs(b) ** 2

    def summed(z: np.ndarray) -> np.ndarray:
        return np.array([z.ravel()[ring == i].sum() for i in range(1, len(BINS))])

    with np.errstate(invalid="ignore", divide="ignore"):
        gain = summed(cross.real) / summed(theirs)
        coherence = np.abs(summed(cross)) / np.sqrt(summed(own) * summed(theirs))
        return gain / gain[0], coherence


def _tiles(x: np.ndarray, side: int) -> Iterable[np.ndarray]:
    x = x.astype(np.float64)
    for row in range(_RIM, x.shape[0] - side - _RIM + 1, side // 2):
        for col in range(_RIM, x.shape[1] - side - _RIM + 1, side // 2):
            yield x[row : row + side, col : col + side]


def middle() -> list[float]:
    """Return the middles of the rings, cycles per pixel."""
    return [round((a + b) / 2, 3) for a, b in pairwise(BINS)]


def departure(gain: Sequence[float] | np.ndarray) -> float:
    """Return the largest distance of a gain by ring from 1, from 0.12 cycles per pixel on."""
    judged = [g for g, begin in zip(gain, BINS, strict=False) if begin >= _FROM]
    return float(np.max(np.abs(np.subtract(judged, 1))))
