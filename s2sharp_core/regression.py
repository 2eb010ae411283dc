"""Local regression: how the coarse bands follow the fine ones, around every pixel anew.

What a coarse band shows of an edge in the fine ones is a matter of the place: chlorophyll in one field, moisture in
the next. Where a band's detail is regressed on theirs in a neighbourhood of a few coarse pixels, the slopes found
there carry the fine detail over (the guided filter of He, Sun and Tang, IEEE TPAMI 35, 2013, between two
resolutions). The fit is in closed form and has nothing to learn; a gain or an offset of any band cancels out.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["local_slopes", "smooth"]

# Variance below which detail counts as noise, reflectance²: (0.3 DN)².
_FLOOR = 1e-9


def smooth(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel of (n, c, h, w) with ``kernel`` ⊗ ``kernel``, (odd,); replicated at its edges."""
    c, half = x.shape[1], kernel.numel() // 2
    k = kernel.to(x)
    x = F.pad(x, [half] * 4, mode="replicate")
    x = F.conv2d(x, k.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)
    return F.conv2d(x, k.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)


def local_slopes(p: Tensor, y: Tensor, window: Tensor, ridge: float) -> Tensor:
    """Slopes of ``y`` on ``p`` in the neighbourhood of each pixel, by ridge regression.

    Parameters
    ----------
    p, y
        Details (n, K, h, w) of the predictors and (n, B, h, w) of what they predict: high-passed, so that
        no intercept is needed.
    window
        Weights of the neighbourhood along one axis, (odd,), sum 1.
    ridge
        Added to each predictor's variance, as a fraction of it: the same whatever the bands' gains.

    Returns
    -------
    Tensor
        (n, K, B, h, w)
    """
    n, k, h, w = p.shape
    b = y.shape[1]
    i, j = torch.triu_indices(k, k)
    products = torch.cat([p[:, i] * p[:, j], (p[:, :, None] * y[:, None]).flatten(1, 2)], dim=1)
    moments = smooth(products.contiguous(memory_format=torch.channels_last), window)
    # A plane each from here on: what follows is arithmetic between planes.
    moments = moments.contiguous(memory_format=torch.contiguous_format)
    of = {pair: m for m, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
    right = moments[:, len(of) :].reshape(n, k, b, h, w)
    # L D Lᵀ, row by row, and the two substitutions.
    lower: dict[tuple[int, int], Tensor] = {}
    inverse: list[Tensor] = []
    solved: list[Tensor] = []
    for c in range(k):
        variance = moments[:, of[c, c]] * (1 + ridge) + _FLOOR
        rest = variance - sum(lower[c, m] ** 2 / inverse[m] for m in range(c))
        # Rounding must not turn what the ridge keeps positive.
        inverse.append(1 / torch.maximum(rest, 0.5 * ridge * variance))
        for row in range(c + 1, k):
            value = moments[:, of[c, row]] - sum(
                lower[row, m] * lower[c, m] / inverse[m] for m in range(c)
            )
            lower[row, c] = value * inverse[c]
        solved.append(right[:, c] - sum(lower[c, m][:, None] * solved[m] for m in range(c)))
    slopes = [s * d[:, None] for s, d in zip(solved, inverse, strict=True)]
    for c in reversed(range(k - 1)):
        slopes[c] = slopes[c] - sum(lower[m, c][:, None] * slopes[m] for m in range(c + 1, k))
    return torch.stack(slopes, dim=1)
