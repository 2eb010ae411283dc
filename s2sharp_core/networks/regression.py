"""Local regression: how the coarse bands follow the fine ones, around every pixel anew, as far as they show it.

What a coarse band shows of an edge in the fine ones is a matter of the place: chlorophyll in one field, moisture in
the next. Where a band's detail is regressed on theirs in a neighbourhood of a few coarse pixels, the slopes found
there carry the fine detail over (the guided filter of He, Sun and Tang, IEEE TPAMI 35, 2013, between two
resolutions). The fit is in closed form and has nothing to learn; a gain or an offset of any band cancels out.

Slopes from few pixels explain noise, too, and carry detail over that the coarse band never showed. So they are trusted
as far as chance would not have explained as much (empirical Bayes; James and Stein, Proc. 4th Berkeley Symp. 1, 1961):
:func:`believed_slopes` in a wide neighbourhood, :func:`refined_slopes` where a narrow one says more.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from .planes import added_up

__all__ = [
    "Moments",
    "believed_slopes",
    "moments",
    "refined_slopes",
    "solve_slopes",
    "split",
]

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
    of bands; ``fine`` (n, K): of each predictor's detail beyond the coarse grid, which slopes carry over.
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
        """Return what ``slopes`` (n, K, B, h, w) tell of ``cross``."""
        square = self.square[:, :, :, None]
        told = square[:, :, 0] * slopes[:, :1]
        for c in range(1, slopes.shape[1]):
            told.addcmul_(square[:, :, c], slopes[:, c : c + 1])
        return told

    def explained(self, slopes: Tensor) -> Tensor:
        """Energy that ``slopes`` (n, K, B, h, w) explain of each band: (n, B, h, w); negative where they harm."""
        return _energy(self.cross, self.cross - self.told(slopes), slopes)

    def without(self, slopes: Tensor) -> "Moments":
        """The moments of what ``slopes`` leave of the bands."""
        rest = self.cross - self.told(slopes)
        left = (self.energy - _energy(self.cross, rest, slopes)).clamp_min_(0)
        return replace(self, cross=rest, energy=left)


def _energy(cross: Tensor, rest: Tensor, slopes: Tensor) -> Tensor:
    """Return what slopes explain that leave ``rest`` of ``cross``."""
    return added_up((cross + rest) * slopes)


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)
def _places(k: int, device: torch.device) -> Tensor:
    """Return where each element of a symmetric matrix lies in its upper triangle, row by row: (k·k,)."""
    i, j = torch.triu_indices(k, k)
    at = torch.empty(k, k, dtype=torch.long)
    at[i, j] = at[j, i] = torch.arange(len(i))
    return at.flatten().to(device)


def moments(p: Tensor, y: Tensor, fine: Tensor) -> Tensor:
    """Products that :func:`split` makes moments of once they are averaged: (n, channels, h, w).

    Parameters
    ----------
    p, y
        Details (n, K, h, w) of the predictors and (n, B, h, w) of what they predict: high-passed, so that
        no intercept is needed.
    fine
        (n, K, h, w): mean square of each predictor's detail beyond the coarse grid.
    """
    k = p.shape[1]
    gram = [p[:, i : i + 1] * p[:, i:] for i in range(k)]
    cross = [p[:, i : i + 1] * y for i in range(k)]
    return torch.cat([*gram, *cross, y * y, fine], dim=1)


def split(averaged: Tensor, k: int, b: int) -> Moments:
    """Averages of :func:`moments` by name."""
    gram, cross, energy, fine = averaged.split([k * (k + 1) // 2, k * b, b, k], dim=1)
    square = gram.index_select(1, _places(k, gram.device)).unflatten(1, (k, k))
    return Moments(square, cross.unflatten(1, (k, b)), energy, fine)


def solve_slopes(of: Moments, penalty: Tensor) -> Tensor:
    """Slopes of each band on the predictors, by ridge regression.

    Parameters
    ----------
    penalty
        Added to each predictor's variance: (n, K, 1, h, w), or (n, K, B, h, w) for one of each band.

    Returns
    -------
    Tensor
        (n, K, B, h, w)
    """
    k = penalty.shape[1]
    more = penalty + _FLOOR
    # L D Lᵀ, a column at a time of all that is left, and the two substitutions.
    rest, right = of.square[:, :, :, None], of.cross
    lower: list[Tensor] = []
    solved: list[Tensor] = []
    for c in range(k):
        # Rounding must not turn what the penalty keeps positive.
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
    """Slopes in a neighbourhood of so many independent ``samples``, as far as they are more than chance.

    What K predictors explain by chance is K / samples of the variance; the prior of the slopes is what is explained
    beyond ``doubt`` times that, spread over the predictors (empirical Bayes). A predictor that has much detail beyond the
    coarse grid has to show for it: ``reach`` times that detail stands beside its variance. ``scarce`` (n, 1, h, w): how many
    times fewer the samples are than that, 1 or more.

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
    """``wide`` slopes (n, K, B, h, w), changed where a narrow neighbourhood shows that it is more than chance, and the
    energy (n, B, h, w) that they explain there.

    The positive part of James and Stein's estimator, with ``doubt`` times what chance would explain.
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
    # As much of what the wide ones left is left as of the change was not made.
    rest = torch.addcmul(left.cross, much, rest - left.cross)
    return slopes, _energy(of.cross, rest, slopes)
