"""Local regression of the coarse bands on the fine ones around every pixel, as far as the data support it.

The contrast of an edge in a coarse band depends on the place: chlorophyll in one field, moisture in the next. The
detail of a band is regressed on that of the fine bands in a neighbourhood of a few coarse pixels. The slopes found there
transfer the fine detail (the guided filter of He, Sun and Tang, IEEE TPAMI 35, 2013, between two resolutions). The fit
is in closed form and learns nothing; a gain or an offset of any band cancels out.

Slopes from few pixels also explain noise, and transfer detail that the coarse band never showed. So they are shrunk by
the energy that chance would explain (empirical Bayes; James and Stein, Proc. 4th Berkeley Symp. 1, 1961):
:func:`believed_slopes` in a wide neighbourhood, :func:`refined_slopes` where a narrow one gives more evidence.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from .planes import added_up

# Variance below which detail counts as rounding, reflectance²: (0.3 DN)².
_FLOOR = 1e-9
# Ridge of the first look, as a fraction of each predictor's variance.
_FIRST = 1e-3
# Least share of the variance that counts as explained.
_LEAST = 1e-6


@dataclass(frozen=True)
class Moments:
    """Local second moments of K predictors and B bands, (n, …, h, w).

    ``square`` (n, K, K): of pairs of predictors; ``cross`` (n, K, B): of predictors and bands; ``energy`` (n, B):
    of bands; ``fine`` (n, K): of each predictor's detail beyond the coarse grid, which slopes transfer.
    """

    square: Tensor
    cross: Tensor
    energy: Tensor
    fine: Tensor

    @property
    def variance(self) -> Tensor:
        """Variance of each predictor: (n, K, h, w)."""
        return self.square.diagonal(dim1=1, dim2=2).movedim(-1, 1)

    def told(self, slopes: Tensor) -> Tensor:
        """Return the part of ``cross`` that ``slopes`` (n, K, B, h, w) predict."""
        square = self.square[:, :, :, None]
        told = square[:, :, 0] * slopes[:, :1]
        for c in range(1, slopes.shape[1]):
            told.addcmul_(square[:, :, c], slopes[:, c : c + 1])
        return told

    def explained(self, slopes: Tensor) -> Tensor:
        """Return the energy of each band that ``slopes`` (n, K, B, h, w) explain: (n, B, h, w); negative if they harm."""
        return _energy(self.cross, self.cross - self.told(slopes), slopes)

    def without(self, slopes: Tensor) -> "Moments":
        """Return the moments of the bands' residual after ``slopes``."""
        rest = self.cross - self.told(slopes)
        left = (self.energy - _energy(self.cross, rest, slopes)).clamp_min_(0)
        return replace(self, cross=rest, energy=left)


def _energy(cross: Tensor, rest: Tensor, slopes: Tensor) -> Tensor:
    """Return what slopes explain that leave ``rest`` of ``cross``."""
    return added_up((cross + rest) * slopes)


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _places(k: int, device: torch.device) -> Tensor:
    """Return the index of each element of a symmetric matrix in its upper triangle, row by row: (k·k,)."""
    i, j = torch.triu_indices(k, k)
    at = torch.empty(k, k, dtype=torch.long)
    at[i, j] = at[j, i] = torch.arange(len(i))
    return at.flatten().to(device)


def moments(p: Tensor, y: Tensor, fine: Tensor) -> Tensor:
    """Return products that, once averaged, :func:`split` turns into moments: (n, channels, h, w).

    Parameters
    ----------
    p, y
        Details (n, K, h, w) of the predictors and (n, B, h, w) of the bands: high-passed, so that no intercept is needed.
    fine
        (n, K, h, w): mean square of each predictor's detail beyond the coarse grid.
    """
    k = p.shape[1]
    gram = [p[:, i : i + 1] * p[:, i:] for i in range(k)]
    cross = [p[:, i : i + 1] * y for i in range(k)]
    return torch.cat([*gram, *cross, y * y, fine], dim=1)


def split(averaged: Tensor, k: int, b: int) -> Moments:
    """Split averaged :func:`moments` by name."""
    gram, cross, energy, fine = averaged.split([k * (k + 1) // 2, k * b, b, k], dim=1)
    square = gram.index_select(1, _places(k, gram.device)).unflatten(1, (k, k))
    return Moments(square, cross.unflatten(1, (k, b)), energy, fine)


def solve_slopes(of: Moments, penalty: Tensor) -> Tensor:
    """Return the slopes of each band on the predictors, by ridge regression.

    Parameters
    ----------
    penalty
        Added to each predictor's variance: (n, K, 1, h, w), or (n, K, B, h, w) for a penalty by band.

    Returns
    -------
    Tensor
        (n, K, B, h, w)
    """
    k = penalty.shape[1]
    more = penalty + _FLOOR
    # L D Lᵀ by column, then the two substitutions.
    rest, right = of.square[:, :, :, None], of.cross
    lower: list[Tensor] = []
    solved: list[Tensor] = []
    for c in range(k):
        # The penalty makes pivots positive, and rounding must not change that.
        pivot = torch.maximum(rest[:, 0, 0] + more[:, c], 0.5 * more[:, c])
        below = rest[:, 1:, 0] / pivot[:, None]
        solved.append(right[:, :1] / pivot[:, None])
        right = torch.addcmul(right[:, 1:], below, right[:, :1], value=-1)
        rest = torch.addcmul(rest[:, 1:, 1:], below[:, :, None], rest[:, :1, 1:], value=-1)
        lower.append(below)
    slopes = solved[-1]
    for c in reversed(range(k - 1)):
        known = lower[c][:, :1] * slopes[:, :1]
        for i in range(1, slopes.shape[1]):
            known.addcmul_(lower[c][:, i : i + 1], slopes[:, i : i + 1])
        slopes = torch.cat([solved[c] - known, slopes], dim=1)
    return slopes


def believed_slopes(
    of: Moments, samples: float, doubt: float, reach: float, scarce: Tensor | None = None
) -> Tensor:
    """Return slopes in a neighbourhood of ``samples`` independent pixels, as far as they exceed chance.

    By chance, K predictors explain K / samples of the variance. The prior of the slopes is the energy explained beyond
    ``doubt`` times that, spread over the predictors (empirical Bayes). A predictor with much detail beyond the coarse grid
    needs more evidence: ``reach`` times that detail is added to its variance. ``scarce`` (n, 1, h, w): divisor of
    ``samples``, 1 or more.

    Returns
    -------
    Tensor
        (n, K, B, h, w)
    """
    chance = of.fine.shape[1] / samples
    least = (_FIRST * of.variance)[:, :, None]
    first = solve_slopes(of, least)
    # Slopes of ridge regression leave the penalty's share of the products.
    share = _energy(of.cross, (least + _FLOOR) * first, first) / (of.energy + _FLOOR * _LEAST)
    share = share.clamp_(0, 1 - _LEAST)
    rest = 1 - share if scarce is None else (1 - share) * scarce
    beyond = (share - doubt * chance * rest).clamp_min(_LEAST)
    ridge = (chance * rest / beyond)[:, None]
    stake = (of.variance + reach * of.fine)[:, :, None]
    return solve_slopes(of, ridge * stake + least)


def refined_slopes(
    of: Moments, wide: Tensor, samples: float, doubt: float, ridge: float, reach: float
) -> tuple[Tensor, Tensor]:
    """Return ``wide`` slopes (n, K, B, h, w), changed as far as a narrow neighbourhood shows more than chance, and the
    energy (n, B, h, w) that they explain there.

    This is the positive part of James and Stein's estimator, with ``doubt`` times the energy that chance would explain.
    """
    left = of.without(wide)
    penalty = (ridge * of.variance + reach * of.fine)[:, :, None]
    change = solve_slopes(left, penalty)
    rest = (penalty + _FLOOR) * change
    share = _energy(left.cross, rest, change) / (left.energy + _FLOOR * _LEAST)
    share = share.clamp_(_LEAST, 1)
    chance = of.fine.shape[1] / samples
    much = (1 - doubt * chance * (1 - share) / share).clamp_min_(0)[:, None]
    slopes = torch.addcmul(wide, much, change)
    # The residual of the wide slopes remains in the proportion in which the change was not made.
    rest = torch.addcmul(left.cross, much, rest - left.cross)
    return slopes, _energy(of.cross, rest, slopes)
