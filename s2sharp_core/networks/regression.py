"""Local regression: how the coarse bands follow the fine ones, around every pixel anew, as far as they show it.

What a coarse band shows of an edge in the fine ones is a matter of the place: chlorophyll in one field, moisture in
the next. Where a band's detail is regressed on theirs in a neighbourhood of a few coarse pixels, the slopes found
there carry the fine detail over (the guided filter of He, Sun and Tang, IEEE TPAMI 35, 2013, between two
resolutions). The fit is in closed form and has nothing to learn; a gain or an offset of any band cancels out.

Slopes from few pixels explain noise, too, and carry detail over that the coarse band never showed. So they are trusted
as far as chance would not have explained as much (empirical Bayes; James and Stein, Proc. 4th Berkeley Symp. 1, 1961):
:func:`believed_slopes` in a wide neighbourhood, :func:`refined_slopes` where a narrow one says more.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Moments",
    "believed_slopes",
    "moments",
    "refined_slopes",
    "smooth",
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

    ``gram`` (n, K·(K+1)/2): of pairs of predictors; ``cross`` (n, K, B): of predictors and bands; ``energy`` (n, B):
    of bands; ``fine`` (n, K): of each predictor's detail beyond the coarse grid, which slopes carry over.
    """

    gram: Tensor
    cross: Tensor
    energy: Tensor
    fine: Tensor

    @property
    def variance(self) -> Tensor:
        """Variance of each predictor: (n, K, h, w)."""
        k = self.fine.shape[1]
        i, j = torch.triu_indices(k, k)
        return self.gram[:, (i == j).nonzero()[:, 0]]

    def explained(self, slopes: Tensor) -> Tensor:
        """Energy that ``slopes`` (n, K, B, h, w) explain of each band: (n, B, h, w); negative where they harm."""
        k = slopes.shape[1]
        total = 2 * (slopes * self.cross).sum(dim=1)
        m = 0
        for a in range(k):
            for b in range(a, k):
                times = 1.0 if a == b else 2.0
                total = total - times * self.gram[:, m, None] * slopes[:, a] * slopes[:, b]
                m += 1
        return total

    def without(self, slopes: Tensor) -> "Moments":
        """The moments of what ``slopes`` leave of the bands."""
        k = slopes.shape[1]
        i, j = torch.triu_indices(k, k)
        of = {pair: m for m, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
        told = torch.zeros_like(self.cross)
        for a in range(k):
            for b in range(k):
                told[:, a] += self.gram[:, of[min(a, b), max(a, b)], None] * slopes[:, b]
        left = (self.energy - self.explained(slopes)).clamp_min(0)
        return Moments(self.gram, self.cross - told, left, self.fine)


def smooth(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of (n, c, h, w) with ``kernel`` ⊗ ``kernel``, (odd,); replicated at its edges."""
    c, half = x.shape[1], kernel.numel() // 2
    k = kernel.to(x)
    x = F.pad(x, [half] * 4, mode="replicate")
    x = F.conv2d(x, k.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)
    return F.conv2d(x, k.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)


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
    i, j = torch.triu_indices(k, k)
    cross = (p[:, :, None] * y[:, None]).flatten(1, 2)
    return torch.cat([p[:, i] * p[:, j], cross, y * y, fine], dim=1)


def split(averaged: Tensor, k: int, b: int) -> Moments:
    """Averages of :func:`moments` by name."""
    # A plane each from here on: what follows is arithmetic between planes.
    x = averaged.contiguous(memory_format=torch.contiguous_format)
    gram, cross, energy, fine = x.split([k * (k + 1) // 2, k * b, b, k], dim=1)
    return Moments(gram, cross.unflatten(1, (k, b)), energy, fine)


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
    i, j = torch.triu_indices(k, k)
    at = {pair: m for m, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
    # L D Lᵀ, row by row, and the two substitutions.
    lower: dict[tuple[int, int], Tensor] = {}
    inverse: list[Tensor] = []
    solved: list[Tensor] = []
    for c in range(k):
        more = penalty[:, c] + _FLOOR
        rest = of.gram[:, at[c, c], None] + more
        for m in range(c):
            rest = rest - lower[c, m] ** 2 / inverse[m]
        # Rounding must not turn what the penalty keeps positive.
        inverse.append(1 / torch.maximum(rest, 0.5 * more))
        for row in range(c + 1, k):
            value = of.gram[:, at[c, row], None]
            for m in range(c):
                value = value - lower[row, m] * lower[c, m] / inverse[m]
            lower[row, c] = value * inverse[c]
        right = of.cross[:, c]
        for m in range(c):
            right = right - lower[c, m] * solved[m]
        solved.append(right)
    slopes = [s * d for s, d in zip(solved, inverse, strict=True)]
    for c in reversed(range(k - 1)):
        for m in range(c + 1, k):
            slopes[c] = slopes[c] - lower[m, c] * slopes[m]
    return torch.stack(slopes, dim=1)


def believed_slopes(of: Moments, samples: float, doubt: float, reach: float) -> Tensor:
    """Slopes in a neighbourhood of so many independent ``samples``, as far as they are more than chance.

    What K predictors explain by chance is K / samples of the variance; the prior of the slopes is what is explained
    beyond ``doubt`` times that, spread over the predictors (empirical Bayes). A predictor that has much detail beyond the
    coarse grid has to show for it: ``reach`` times that detail stands beside its variance.

    Returns
    -------
    Tensor
        (n, K, B, h, w)
    """
    chance = of.fine.shape[1] / samples
    first = solve_slopes(of, (_FIRST * of.variance)[:, :, None])
    share = (of.explained(first) / (of.energy + _FLOOR * _LEAST)).clamp(0, 1 - _LEAST)
    beyond = (share - doubt * chance * (1 - share)).clamp_min(_LEAST)
    ridge = (chance * (1 - share) / beyond)[:, None]
    stake = (of.variance + reach * of.fine)[:, :, None]
    return solve_slopes(of, ridge * stake + (_FIRST * of.variance)[:, :, None])


def refined_slopes(
    of: Moments, wide: Tensor, samples: float, doubt: float, ridge: float, reach: float
) -> Tensor:
    """``wide`` slopes (n, K, B, h, w), changed where a narrow neighbourhood shows that it is more than chance.

    The positive part of James and Stein's estimator, with ``doubt`` times what chance would explain.
    """
    left = of.without(wide)
    change = solve_slopes(left, (ridge * of.variance + reach * of.fine)[:, :, None])
    share = (left.explained(change) / (left.energy + _FLOOR * _LEAST)).clamp(_LEAST, 1)
    chance = of.fine.shape[1] / samples
    return wide + (1 - doubt * chance * (1 - share) / share).clamp_min(0)[:, None] * change
