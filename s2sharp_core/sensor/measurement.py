"""Measurement of the sensor on a product at full resolution: blur, shift and noise of each band, with uncertainties.

A coarse band is regressed on the finer bands of the same product, tile by tile, with one kernel for the whole sample.
The slopes of each tile and the kernel (two numbers, :class:`~s2sharp_core.sensor.observation.Response`, and the
shift) are estimated together. Gauss-Newton steps are used from which the slopes are projected out (variable
projection: Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973). Tiles are independent observations: the covariance is
the sandwich over them.

If the finer bands explain a coarse one badly, the unexplained part differs between frequencies. The blur then comes
out too wide: on the short-wave infrared by up to 1.2 pixels of 20 m per unit of the unexplained share of the
variance. This is part of the uncertainty (:attr:`Measured.blur_error`). :func:`believed` weighs it against the known
values of the instrument.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BANDS, BY_GSD
from ..threads import compute_with, threads_for
from .observation import degrade_alike
from .response import FARTHEST_BLUR, FARTHEST_EDGE, SENTINEL2, Response, Sensor
from .sample import Sample

# Side of a tile in coarse pixels (320 m for 20 m bands), and in a small sample; pixels left out at edges; side of the
# high-pass filter.
_TILE, _SMALL_TILE, _RIM, _HIGH_PASS = 16, 10, 3, 7
# Number of Gauss-Newton steps, and changes of the kernel for the numerical derivative.
_STEPS = 8
_MOVES = (0.005, 5.0, 0.01, 0.01)
# Prior spread of edge⁻⁶, because a small sample alone cannot tell a steep edge from a narrow blur.
_EDGE_WITHIN = 30.0
# Noise, in reflectance, below which a tile gets no more weight.
_QUIET = 1e-4
# Bias per unexplained share of the variance: of the blur, in pixels of the band, and of the shift.
_BLUR_BIAS, _SHIFT_BIAS = 1.2, 0.3
# Least uncertainty of a shift in pixels of the band: bands of a product lie a few hundredths of a pixel apart.
_SHIFT_FLOOR = 0.02
# Fewest tiles of a measurement; fewer give only a guess.
_FEWEST = 4
# Number of tiles at which the error is twice what their spread suggests.
_FEW = 8.0
# Largest number of pixels of 10 m in a measurement, all windows together.
_PIXELS = 1_000_000
# Known spread among products: of blur and edge, and of the shift in pixels of the band.
_SPREAD_BLUR, _SPREAD_EDGE, _SPREAD_SHIFT = 0.05, 0.03, 0.2
# Side of the squares for the noise, and the share of the quietest that are used.
_SQUARE, _QUIETEST = 8, 0.1
# Number of second differences along both axes that are worth one independent value.
_TOGETHER = (70 / 36) ** 2
# Limits for the noise of a band, reflectance; and noise below which a square shows a single value.
_NOISE_RANGE, _STILL = (1e-4, 2e-2), 1e-6


@dataclass(frozen=True)
class Measured:
    """Measurement of one coarse band of a product, against the finer bands of the same product.

    Attributes
    ----------
    response
        Blur, edge and shift, in pixels of the band.
    blur_error, edge_error, shift_error
        One standard deviation of each, including the expected bias; that of the shift along one axis.
    unexplained
        Share of the variance of the high-passed band that the finer bands leave unexplained.
    tiles
        Number of tiles in the regression.
    """

    response: Response
    blur_error: float
    edge_error: float
    shift_error: float
    unexplained: float
    tiles: int


def measure(sample: Sample) -> dict[str, Measured]:
    """Measure every coarse band of a sample against its 10 m bands.

    Parameters
    ----------
    sample
        Windows without gaps. More than 1 000 000 pixels of 10 m are thinned out evenly.

    Returns
    -------
    dict
        Coarse band → measurement. Bands that cannot be measured are left out (flat, or too few tiles).
    """
    sample = _thinned(sample)
    fine = sample.y10.double()
    coarse = {
        band: sample.by_gsd[gsd][:, i : i + 1]
        for gsd in (20, 60)
        for i, band in enumerate(BY_GSD[gsd])
    }

    def one(band: str) -> Measured | None:
        return measure_band(fine, BY_GSD[10], coarse[band], band)

    found = zip(coarse, one_thread_each().map(one, coarse), strict=True)
    return {band: told for band, told in found if told}


def one_thread_each() -> Executor:
    """Return two threads in which torch has one each: a band's small sums gain nothing from more, and their order must not
    depend on the machine.
    """
    return threads_for("sensor", 2, compute_with, 1)


def _thinned(sample: Sample) -> Sample:
    """Return every so many of the windows, so that they have the most pixels that are used."""
    every = max(1, -(-len(sample) * sample.y10[0, 0].numel() // _PIXELS))
    return Sample(*(y[::every] for y in sample.by_gsd.values()))


def measure_band(
    fine: Tensor, fine_bands: Sequence[str], coarse: Tensor, band: str
) -> Measured | None:
    """Measure one band against finer ones.

    Parameters
    ----------
    fine
        (n, bands, r·h, r·w), reflectance without gaps; r is the ratio of the pixel sizes.
    coarse
        (n, 1, h, w), reflectance without gaps.

    Returns
    -------
    Measured or None
        None if fewer than four tiles have detail. Against finer bands of 20 m, ``blur`` is relative to those.
    """
    times = BANDS[band].gsd // BANDS[fine_bands[0]].gsd
    sides = [int(n) - 2 * _RIM for n in coarse.shape[-2:]]
    many = len(coarse) * (sides[0] // _TILE) * (sides[1] // _TILE) >= _FEWEST
    side = _TILE if many else _SMALL_TILE
    target = _tiles(_high_passed(coarse.double()), side)[:, 0]
    if len(target) < _FEWEST:
        return None
    x = fine.double()

    def seen(at: np.ndarray) -> Tensor:
        response = Response(band, *_shape(at), dy=float(at[2]), dx=float(at[3]))
        sensor = Sensor(responses=(response,))
        # One window at a time, because allocating memory for all at once would take longer than the sums.
        each = (degrade_alike(window, band, times, sensor)[None] for window in x)
        return torch.cat([_tiles(_high_passed(one), side) for one in each])

    start = Response.default(band)
    at = np.array([start.blur**2, start.edge**-6, 0.0, 0.0])
    for _ in range(_STEPS):
        p = seen(at)
        slopes, rest, gram = _regressed(p, target)
        variance, energy = rest.square().mean(dim=1), target.square().mean(dim=1)
        weight = 1 / (variance + _QUIET**2) * (energy > _QUIET**2)
        jacobian = _jacobian(seen, at, p, slopes, gram)
        normal = torch.einsum("tpn,tqn,t->pq", jacobian, jacobian, weight)
        pulls = torch.einsum("tpn,tn,t->tp", jacobian, rest, weight)
        if int((weight > 0).sum()) < _FEWEST or not float(torch.diagonal(normal).min()) > 0:
            return None
        known = (_MOVES[1] / _EDGE_WITHIN) ** 2
        normal[1, 1] += known
        pull = pulls.sum(dim=0)
        pull[1] += known * (start.edge**-6 - at[1]) / _MOVES[1]
        inverse = torch.linalg.inv(normal)
        step = (inverse @ pull).numpy().clip(-20, 20)
        at = at + step * _MOVES
        at[0], at[1] = max(at[0], 1e-3), float(np.clip(at[1], 1.0, 600.0))
        at[2:] = at[2:].clip(-1.5, 1.5)
        if np.abs(step).max() < 0.05:
            break
    spread = torch.einsum("pq,tq->tp", inverse, pulls).square().sum(dim=0).sqrt().numpy()
    # The spread of few tiles underestimates their error.
    errors = spread * _MOVES * (1 + _FEW / len(target))
    unexplained = float((variance * weight).sum() / (energy * weight).sum())
    blur, edge = _shape(at)
    return Measured(
        Response(band, blur, edge, float(at[2]), float(at[3])),
        blur_error=float(np.hypot(errors[0] / (2 * blur), _BLUR_BIAS * unexplained)),
        edge_error=float(errors[1] * edge**7 / 6),
        shift_error=float(
            np.linalg.norm([max(errors[2:]), _SHIFT_BIAS * unexplained, _SHIFT_FLOOR])
        ),
        unexplained=unexplained,
        tiles=int((weight > 0).sum()),
    )


def _jacobian(
    seen: Callable[[np.ndarray], Tensor], at: np.ndarray, p: Tensor, slopes: Tensor, gram: Tensor
) -> Tensor:
    """Return the changes of the prediction by each of ``_MOVES``, less what new slopes would absorb: (tiles, 4, pixels)."""
    moved = []
    for step in np.diag(_MOVES):
        change = (slopes[:, None] @ (seen(at + step) - p))[:, 0]
        back = torch.linalg.solve(gram, p @ change[..., None])
        moved.append(change - (back.transpose(1, 2) @ p)[:, 0])
    return torch.stack(moved, dim=1)


def _shape(at: np.ndarray) -> tuple[float, float]:
    """Return blur and edge for the coordinates of the search, blur² and edge⁻⁶, in which the logarithm is linear."""
    return float(np.sqrt(at[0])), float(at[1] ** (-1 / 6))


def _high_passed(x: Tensor) -> Tensor:
    mean = F.pad(x, [_HIGH_PASS // 2] * 4, mode="replicate")
    for dim in (-2, -1):
        n = mean.shape[dim] - _HIGH_PASS + 1
        first, *more = (mean.narrow(dim, i, n) for i in range(_HIGH_PASS))
        mean = reduce(torch.add, more, first)
    return x - mean / _HIGH_PASS**2


def _tiles(x: Tensor, side: int) -> Tensor:
    """Cut (n, c, h, w) → (tiles, c, pixels), without the rim, where blurs read beyond the window."""
    return _squares(x[..., _RIM : x.shape[-2] - _RIM, _RIM : x.shape[-1] - _RIM], side)


def _squares(x: Tensor, side: int) -> Tensor:
    """Cut (n, c, h, w) → (squares, c, pixels)."""
    rows, cols = x.shape[-2] // side, x.shape[-1] // side
    x = x[..., : rows * side, : cols * side]
    x = x.reshape(*x.shape[:2], rows, side, cols, side).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(-1, x.shape[3], side**2)


def _regressed(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return slopes (tiles, bands), residuals (tiles, pixels) and normal matrices, with a small ridge."""
    gram = p @ p.transpose(1, 2)
    ridge = 1e-4 * torch.diagonal(gram, dim1=1, dim2=2) + 1e-10
    gram = gram + torch.diag_embed(ridge)
    slopes = torch.linalg.solve(gram, p @ y[..., None])[..., 0]
    return slopes, y - (slopes[:, None] @ p)[:, 0], gram


def believed(found: Mapping[str, Measured], noise: Mapping[str, float]) -> Sensor:
    """Combine the measured sensor with the known values of the instrument.

    Each number is the mean of the measured and the known one, weighted by the inverse of their variances. So an uncertain
    measurement changes little.
    """
    responses = []
    for band in BANDS:
        if band not in found:
            continue
        one, known = found[band], SENTINEL2.response(band)

        def weighed(new: float, old: float, error: float, spread: float) -> float:
            share = spread**2 / (spread**2 + error**2)
            return round(old + share * (new - old), 4)

        r = one.response
        blur = weighed(r.blur, known.blur, one.blur_error, _SPREAD_BLUR)
        edge = weighed(r.edge, known.edge, one.edge_error, _SPREAD_EDGE)
        responses.append(
            replace(
                known,
                blur=min(max(blur, known.blur - FARTHEST_BLUR), known.blur + FARTHEST_BLUR),
                edge=min(max(edge, known.edge - FARTHEST_EDGE), known.edge + FARTHEST_EDGE),
                dy=weighed(r.dy, known.dy, 2 * one.shift_error, _SPREAD_SHIFT),
                dx=weighed(r.dx, known.dx, 2 * one.shift_error, _SPREAD_SHIFT),
            )
        )
    levels = tuple((band, round(noise[band], 6)) for band in BANDS if band in noise)
    return replace(SENTINEL2, responses=tuple(responses), noise=levels)


def measured_noise(sample: Sample) -> dict[str, float]:
    """Measure the standard deviation of each band's noise, in reflectance: an upper limit, from the quietest squares.

    Each band is regressed on the others of its resolution in squares of 8 × 8 pixels, both high-passed. The tenth of the
    squares with the smallest residual is taken as noise. Its square is raised for the degrees of freedom of the regression
    and for the choice of the quietest. Squares of one value, which was clipped or masked, show no noise and do not count. A
    band with only such squares is left out.
    """
    found = {}
    for gsd, y in _thinned(sample).by_gsd.items():
        bands = BY_GSD[gsd]
        x = _checked(y.double())
        squares = _squares(x, _SQUARE)
        if not len(squares):
            continue
        for i, band in enumerate(bands):
            others = [k for k in range(len(bands)) if k != i]
            rest = _regressed(squares[:, others], squares[:, i])[1]
            free = _SQUARE**2 - len(others) - 1
            level = (rest.square().sum(dim=1) / free).sqrt()
            # The mean of a normal variable's lowest tenth lies 1.755 standard deviations below its mean. Neighbouring
            # differences are correlated, so fewer are independent.
            raised = 1 / (1 - 1.755 / np.sqrt(2 * free / _TOGETHER))
            level = level[level > _STILL]
            if not len(level):
                continue
            count = max(1, round(_QUIETEST * len(level)))
            quiet = float(level.sort().values[:count].mean()) * raised
            found[band] = float(np.clip(quiet, *_NOISE_RANGE))
    return found


def _checked(x: Tensor) -> Tensor:
    """Return second differences along both axes, with unit variance for white noise; edges and slopes vanish first."""
    k = torch.tensor([1.0, -2.0, 1.0]).to(x) / np.sqrt(6)
    c = x.shape[1]
    x = F.conv2d(x, k.view(1, 1, 3, 1).expand(c, 1, 3, 1), groups=c)
    return F.conv2d(x, k.view(1, 1, 1, 3).expand(c, 1, 1, 3), groups=c)
