"""Harm: pixels with a larger error than interpolation, and values that nothing around explains."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch.nn import functional as F

from ..bands import BY_GSD, ratio
from ..sensor.upsampling import upsample
from .cases import Case
from .harm import HARMED_BY
from .metrics import rmse

_DN = 10_000
# The range of the surrounding coarse pixels is widened by this share, and by this many DN.
_WIDER, _AT_LEAST = 0.2, 20
_Value = tuple[str, str, float]


def _coarse(case: Case, band: str, gsd: int) -> torch.Tensor:
    return torch.from_numpy(case.inputs[gsd][BY_GSD[gsd].index(band)])[None, None]


def _inside(x: np.ndarray, border: int) -> np.ndarray:
    return x[border : x.shape[0] - border, border : x.shape[1] - border]


def against_bicubic(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[_Value]:
    """Compare errors with those of bicubic interpolation: the ratio of RMSE, and pixels that lose."""
    for gsd in case.gsds:
        ratios, shares = [], []
        for band in (b for b in case.bands if b in pictures and b in BY_GSD[gsd]):
            plain = upsample(_coarse(case, band, gsd), ratio(gsd))[0, 0].numpy()
            truth, x, plain = (
                _inside(picture, case.protocol.border)
                for picture in (case.truth[gsd][BY_GSD[gsd].index(band)], pictures[band], plain)
            )
            ratios.append(float((rmse(x[None], truth[None]) / rmse(plain[None], truth[None]))[0]))
            worse = _DN * (np.abs(x - truth) - np.abs(plain - truth)) > HARMED_BY
            shares.append(100 * float(worse.mean()))
            yield band, "× bicubic", ratios[-1]
            yield band, "harmed", shares[-1]
        if ratios:
            group = case.part or f"{gsd} m"
            yield group, "× bicubic", max(ratios)
            yield group, "harmed", float(np.mean(shares))


def beyond_range(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[_Value]:
    """Find values outside the range of the 3 × 3 coarse pixels around a pixel, and their distance from it."""
    for gsd in case.gsds:
        shares, most = [], []
        for band in (b for b in BY_GSD[gsd] if b in pictures):
            y = F.pad(_coarse(case, band, gsd), [1] * 4, mode="replicate")
            high, low = F.max_pool2d(y, 3, stride=1), -F.max_pool2d(-y, 3, stride=1)
            margin = _WIDER * (high - low) + _AT_LEAST / _DN
            upper, lower = (
                z[0, 0].numpy().repeat(ratio(gsd), 0).repeat(ratio(gsd), 1)
                for z in (high + margin, low - margin)
            )
            x = pictures[band]
            excess = _inside(np.maximum(x - upper, lower - x), case.protocol.border)
            shares.append(100 * float((excess > 0).mean()))
            most.append(_DN * max(0.0, float(np.nanmax(excess))))
            yield band, "beyond", shares[-1]
            yield band, "beyond by", most[-1]
        if shares:
            yield f"{gsd} m", "beyond", float(np.mean(shares))
            yield f"{gsd} m", "beyond by", max(most)
