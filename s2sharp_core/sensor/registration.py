"""Registration of the bands of a scene, measured on the pixels, because the corners of files can be wrong.

Degraded by :func:`~s2sharp_core.sensor.observation.degrade`, the finest bands predict most of the detail of every
other band by a linear combination. The prediction is best where the bands lie on each other. So the shift between
them is the peak of the multiple correlation of their high-passed images. A new fit at every shift needs no first
guess, and differences in contrast do not matter.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..bands import BANDS, BY_GSD, CELL, GSDS
from .observation import degrade
from .response import SENTINEL2, Sensor

# Side of the used central part in cells: 600 px of 10 m are plenty to correlate.
_PART = 100
# Fewest valid pixels, and least predicted share of a band's detail, for a result.
_ENOUGH = 256
_PREDICTED = 0.1
# Blocks of at least 8 px vote, at most 8 × 8 of them.
_BLOCK, _BLOCKS = 8, 8
# Smaller shifts are not a fault: ESA guarantees 0.3 px of the coarser band (Sentinel-2 mission requirements).
_TOLERATED = 0.35
_SURE = 0.5
# Largest tried shift in each direction, in pixels of the coarser grid.
_REACH = 4
# Side of the high-pass filter in pixels of the coarser grid, nearly twice the largest shift.
_HIGH_PASS = 7


@dataclass(frozen=True)
class Shift:
    """Shift of a band with respect to the finest bands of its scene.

    ``dy``, ``dx``: shift of the image in the band, down and right, in pixels of the band. ``confidence``: certainty,
    from 0 to 1, that the band is shifted by about this much and not in place; 0 for a band in place.
    """

    band: str
    dy: float
    dx: float
    confidence: float

    @property
    def off(self) -> bool:
        """Return whether this is worth a warning: certainly more than ESA allows."""
        return self.confidence >= _SURE and bool(np.hypot(self.dy, self.dx) > _TOLERATED)


@dataclass(frozen=True)
class _Picture:
    """High-passed bands (bands, h, w), 0 without data, and where there is data (h, w)."""

    detail: np.ndarray
    known: np.ndarray


def _picture(x: np.ndarray, known: np.ndarray) -> _Picture:
    from scipy.ndimage import uniform_filter  # loaded here, because few units look for shifts

    weight = np.maximum(uniform_filter(known.astype(np.float32), _HIGH_PASS), 1e-3)
    mean = uniform_filter(x * known, (0, _HIGH_PASS, _HIGH_PASS)) / weight
    return _Picture((x - mean) * known, known)


def _gapless(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bands minus their mean, 0 in gaps, and where all of them are known."""
    known = np.isfinite(stack)
    count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
    mean = np.where(known, stack, 0).sum(axis=(1, 2), keepdims=True, dtype=np.float64) / count
    return np.where(known, stack - mean, 0).astype(np.float32), known.all(axis=0)


class _Predictors:
    """The finest bands, degraded to the coarser grid and shifted by any number of their own pixels."""

    def __init__(self, fine: np.ndarray, bands: tuple[str, ...], ratio: int) -> None:
        self.ratio = ratio
        self.bands = bands
        margin = ratio * (_REACH + 1)
        x, known = _gapless(fine)
        self.shape = known.shape[0] // ratio, known.shape[1] // ratio
        self._x = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
        self._known = np.pad(known, margin)
        self._phases: dict[tuple[int, int], _Picture] = {}

    def _phase(self, py: int, px: int) -> _Picture:
        """Return the bands shifted by 0 ≤ py, px < ratio fine pixels, down and right."""
        if (py, px) not in self._phases:
            x, known = (np.roll(a, (py, px), axis=(-2, -1)) for a in (self._x, self._known))
            if self.ratio > 1:
                seen = degrade(torch.from_numpy(x)[None], self.bands, self.ratio)[0].numpy()
                ok = torch.from_numpy(known.astype(np.float32))[None, None]
                known = degrade(ok, self.bands[:1], self.ratio)[0, 0].numpy() > 0.999
                x = seen
            self._phases[py, px] = _picture(x, known)
        return self._phases[py, px]

    def at(self, ty: int, tx: int) -> _Picture:
        """Return the bands shifted down and right by ty, tx fine pixels, on the coarser grid."""
        (ay, py), (ax, px) = divmod(ty, self.ratio), divmod(tx, self.ratio)
        whole = self._phase(py, px)
        top, left = _REACH + 1 - ay, _REACH + 1 - ax
        cut = np.s_[top : top + self.shape[0], left : left + self.shape[1]]
        return _Picture(whole.detail[(slice(None), *cut)], whole.known[cut])


def _fit(
    predictors: _Picture, target: _Picture, uses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Fit each target band by least squares to the predictors that it ``uses`` (targets, predictors).

    Returns the squared multiple correlations (targets,), the coefficients (targets, predictors) and the number of
    pixels.
    """
    x = (predictors.detail * target.known).reshape(len(predictors.detail), -1)
    y = (target.detail * predictors.known).reshape(len(target.detail), -1)
    # This is not x @ x.T, because BLAS spreads such thin products over threads, which then wait for each other.
    gram, cross = np.einsum("pn,rn->pr", x, x), np.einsum("pn,qn->pq", x, y)
    energy = np.einsum("qn,qn->q", y, y)
    gram[np.diag_indices(len(gram))] += 1e-6 * np.trace(gram) / len(gram) + 1e-30
    coefficients = np.zeros((len(y), len(x)))
    for q, use in enumerate(uses):
        coefficients[q, use] = np.linalg.solve(gram[np.ix_(use, use)], cross[use, q])
    explained = np.einsum("qp,pq->q", coefficients, cross)
    squared = np.divide(explained, energy, out=np.zeros(len(y)), where=energy > 0)
    return squared, coefficients, int((predictors.known & target.known).sum())


def _vertex(before: float, here: float, after: float) -> float:
    """Return the position of the top of the parabola through three points at -1, 0, 1."""
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def _sureness(
    predictors: _Predictors, target: _Picture, use: np.ndarray, at: tuple[int, int]
) -> float:
    """Return the share above one half of the scene's blocks that are predicted better with the shift than without.

    Blocks vote with the strength of their detail, so water counts little. The lower end of Wilson's 95 % interval of
    the share counts, so a few blocks prove nothing.
    """
    rows, cols = (min(_BLOCKS, side // _BLOCK) for side in target.known.shape)
    if not rows or not cols:
        return 0.0
    step = target.known.shape[0] // rows, target.known.shape[1] // cols

    def blocks(x: np.ndarray) -> np.ndarray:
        cut = x[: rows * step[0], : cols * step[1]]
        return np.asarray(cut.reshape(rows, step[0], cols, step[1]).sum(axis=(1, 3)))

    known = target.known & predictors.at(0, 0).known & predictors.at(*at).known
    error = []
    for shift in ((0, 0), at):
        moved = predictors.at(*shift)
        _, coefficients, _ = _fit(moved, target, use[None])
        rest = target.detail[0] - np.tensordot(coefficients[0], moved.detail, 1)
        error.append(blocks(known * rest**2))
    full = blocks(known) >= step[0] * step[1] / 2
    weight = np.sqrt(blocks(known * target.detail[0] ** 2)) * full
    if not weight.any():
        return 0.0
    share = (weight * (error[1] < error[0])).sum() / weight.sum()
    count = weight.sum() ** 2 / (weight**2).sum()
    z2 = 1.96**2
    spread = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2)))
    lower = (share + z2 / (2 * count) - spread) / (1 + z2 / count)
    return float(np.clip(2 * lower - 1, 0, 1))


def _search(
    fine: np.ndarray, fine_bands: tuple[str, ...], coarse: np.ndarray, bands: tuple[str, ...]
) -> dict[Shift, float]:
    """Return the shifts of ``bands``, all of one GSD, with respect to ``fine_bands`` (other than themselves).

    Each has the gain in the predicted share of the band's detail, compared with the band in place.
    """
    ratio = BANDS[bands[0]].gsd // BANDS[fine_bands[0]].gsd
    predictors = _Predictors(fine, fine_bands, ratio)
    y, known = _gapless(coarse)
    target = _picture(y, known)
    uses = np.array([[p != q for p in fine_bands] for q in bands])
    step = max(1, ratio // 3)
    score: dict[tuple[int, int], np.ndarray] = {}

    def look(ty: int, tx: int) -> np.ndarray:
        if (ty, tx) not in score:
            score[ty, tx], _, count = _fit(predictors.at(ty, tx), target, uses)
            if count < _ENOUGH:
                score[ty, tx] = np.zeros(len(bands))
        return score[ty, tx]

    whole = [ratio * a for a in range(-_REACH, _REACH + 1)]
    for ty in whole:
        for tx in whole:
            look(ty, tx)
    found = {}
    for q, band in enumerate(bands):
        ty, tx = max(((ty, tx) for ty in whole for tx in whole), key=lambda t: score[t][q])
        if score[ty, tx][q] < _PREDICTED:
            continue
        limit = ratio * _REACH
        near = range(-ratio, ratio + 1, step)
        around = [(ty + i, tx + j) for i in near for j in near]
        around = [t for t in around if max(map(abs, t)) <= limit]
        for t in around:
            look(*t)
        ty, tx = best = max(around, key=lambda t: score[t][q])
        if max(map(abs, best)) == limit:
            continue  # no peak within reach, so no result
        here = score[best][q]
        dy = ty + step * _vertex(look(ty - step, tx)[q], here, look(ty + step, tx)[q])
        dx = tx + step * _vertex(look(ty, tx - step)[q], here, look(ty, tx + step)[q])
        alone = _Picture(target.detail[q : q + 1], target.known)
        sure = _sureness(predictors, alone, uses[q], best) if best != (0, 0) else 0.0
        found[Shift(band, dy / ratio, dx / ratio, sure)] = float(here - look(0, 0)[q])
    return found


def _among(finest: np.ndarray, bands: tuple[str, ...]) -> tuple[list[int], list[Shift]]:
    """Choose which of the finest bands may judge others, and return the shifts of all of them.

    A shifted band makes the bands that it predicts seem shifted. So the band that gains most from a shift is removed
    until the rest agrees. If two disagree, nothing shows which one is wrong.
    """
    good = list(range(len(bands)))
    while len(good) > 1:
        trusted = tuple(bands[i] for i in good)
        found = _search(finest[good], trusted, finest, bands)
        off = {s: gain for s, gain in found.items() if s.off and s.band in trusted}
        if not off or len(good) == 2:
            return good, list(found)
        good.remove(bands.index(max(off, key=off.__getitem__).band))
    return good, []


def shifts(arrays: Mapping[str, np.ndarray]) -> list[Shift]:
    """Measure the shift of each band with respect to the finest bands of its scene.

    Parameters
    ----------
    arrays
        Band → float32 (h, w) at its native resolution, NaN as nodata, any unit; all cover the same cells. Of a large
        scene, only the central 600 × 600 pixels of 10 m are used.

    Returns
    -------
    list of Shift
        Shifts of all bands with a result, in ESA's order. Bands are left out if the finest ones do not predict their
        detail, or if they have too few valid pixels or a shift of 4 pixels or more.

    Notes
    -----
    The precision is some hundredths of a pixel for bands that resemble each other, and a tenth for the short-wave
    infrared. Bands are taken up to 2.6 s apart and from slightly different angles. So waves and sun glint on water,
    and clouds (by parallax, up to some ten metres), do lie apart in a well-registered scene. A scene with nothing
    else in it gives these shifts.
    """
    names = tuple(band for band in BANDS if band in arrays)
    gsds = [gsd for gsd in GSDS if any(b in names for b in BY_GSD[gsd])]
    if not gsds:
        return []
    height, width = (side * BANDS[names[0]].gsd // CELL for side in arrays[names[0]].shape)
    rows, cols = (slice(max(0, (n - _PART) // 2), (n + _PART + 1) // 2) for n in (height, width))
    stacks = {}
    for gsd in gsds:
        n = CELL // gsd
        cut = np.s_[rows.start * n : rows.stop * n, cols.start * n : cols.stop * n]
        stacks[gsd] = np.stack([arrays[b][cut] for b in names if b in BY_GSD[gsd]])
    groups = {gsd: tuple(b for b in BY_GSD[gsd] if b in names) for gsd in gsds}
    finest, group = stacks[gsds[0]], groups[gsds[0]]
    good, found = _among(finest, group)
    trusted = tuple(group[i] for i in good)
    for gsd in gsds[1:]:
        found += _search(finest[good], trusted, stacks[gsd], groups[gsd])
    return sorted(found, key=lambda shift: names.index(shift.band))


def _alike(off: list[Shift]) -> list[list[Shift]]:
    """Group bands of one GSD with the same shift."""
    groups: list[list[Shift]] = []
    for s in off:
        for group in groups:
            apart = np.hypot(s.dy - group[0].dy, s.dx - group[0].dx)
            if BANDS[s.band].gsd == BANDS[group[0].band].gsd and apart < 0.25:
                group.append(s)
                break
        else:
            groups.append([s])
    return groups


def _in_words(group: list[Shift]) -> str:
    gsd = BANDS[group[0].band].gsd
    dy, dx = (float(np.median([getattr(s, axis) for s in group])) for axis in ("dy", "dx"))
    return (
        f"{', '.join(s.band for s in group)} by ({dy:+.2f}, {dx:+.2f}) px of {gsd} m = "
        f"({dy * gsd:+.0f}, {dx * gsd:+.0f}) m, {max(s.confidence for s in group):.0%} sure"
    )


def _beyond(shift: Shift, sensor: Sensor) -> float:
    """Return the distance of a band's shift from that of the sensor, in pixels of the band."""
    known = sensor.response(shift.band)
    return float(np.hypot(shift.dy - known.dy, shift.dx - known.dx))


def warn_of_shifts(arrays: Mapping[str, np.ndarray], sensor: Sensor = SENTINEL2) -> None:
    """Warn (``UserWarning``) if bands of a scene seem not to lie on each other; see :func:`shifts`.

    Shifts that ``sensor`` has are corrected by sharpening, so they are not a fault.
    """
    off = [s for s in shifts(arrays) if s.confidence >= _SURE and _beyond(s, sensor) > _TOLERATED]
    if not off:
        return
    warnings.warn(
        "Bands of this scene seem to be shifted against the finest ones (down, right): "
        f"{'; '.join(map(_in_words, _alike(off)))}. Check where the arrays were cut: all must begin at "
        "the corner of one 60 m cell, 3×3 px of 20 m and 6×6 px of 10 m. A scene with only waves "
        "or clouds may look shifted, too; then ignore this.",
        UserWarning,
        stacklevel=3,
    )
