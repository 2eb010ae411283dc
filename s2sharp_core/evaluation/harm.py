"""Protocol ``harm``: places where a method is worse than interpolation, and values that nothing around explains."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from ..bands import BY_GSD, ratio
from ..sensor.upsampling import upsample
from .cases import BenchScene, Case, Protocol
from .full_resolution import as_delivered
from .metrics import DN, Value, inside, rmse
from .reduced import measured

HARMED_BY = 20
"""DN by which the error of a harmed pixel exceeds that of interpolation."""

# The range of the surrounding coarse pixels is widened by this share, and by this many DN.
_WIDER, _AT_LEAST = 0.2, 20


def _harm(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Return a drawn scene as observed, or the reduced images of another scene and the scene itself."""
    if scene.drawn:
        (case,) = measured(protocol, scene)
        return (replace(case, edge=None, against="bicubic"),)
    if not scene.fine:
        return ()
    reduced = [replace(case, edge=None, against="bicubic") for case in measured(protocol, scene)]
    return (*reduced, as_delivered(protocol, scene, "range"))


HARM = Protocol(
    "harm",
    "Drawn scenes on which sharpening has done harm, each with its truth: flat land with noise, swell, stripes, checkerboards, "
    "edges and texture in the 10 m bands alone, bright points and an edge in the coarse bands alone. And scenes of "
    "land: pixels with a larger error than interpolation at reduced resolution, as in `measured`, and values at full "
    "resolution that nothing around them explains.",
    _harm,
    quirks="Drawn land is observed with the default sensor and noise of 3 DN in every band. Methods get the sensor "
    "that can be measured on it, which is little.",
    tells=False,
    border=12,
    headline="× bicubic",
    metrics={
        "border": "12 pixels of the result's grid left out at each edge, because interpolation reads that far beyond the image",
        "× bicubic": "RMSE of the result over that of bicubic interpolation, per band; of several bands, the largest",
        "harmed": f"share of pixels whose error is larger than bicubic's by more than {HARMED_BY} DN",
        "beyond": "full resolution: share of pixels outside the range of the 3 × 3 coarse pixels around them, widened on both "
        "sides by 20 % of it and 20 DN",
        "beyond by": "largest distance outside, DN",
    },
)
"""The protocol of this module."""


def _coarse(case: Case, band: str, gsd: int) -> torch.Tensor:
    return torch.from_numpy(case.inputs[gsd][BY_GSD[gsd].index(band)])[None, None]


def against_bicubic(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[Value]:
    """Compare errors with those of bicubic interpolation: the ratio of RMSE, and pixels that lose."""
    for gsd in case.gsds:
        ratios, shares = [], []
        for band in (b for b in case.bands if b in pictures and b in BY_GSD[gsd]):
            plain = upsample(_coarse(case, band, gsd), ratio(gsd))[0, 0].numpy()
            truth, x, plain = (
                inside(picture, case.protocol.border)
                for picture in (case.truth[gsd][BY_GSD[gsd].index(band)], pictures[band], plain)
            )
            ratios.append(float((rmse(x[None], truth[None]) / rmse(plain[None], truth[None]))[0]))
            worse = DN * (np.abs(x - truth) - np.abs(plain - truth)) > HARMED_BY
            shares.append(100 * float(worse.mean()))
            yield band, "× bicubic", ratios[-1]
            yield band, "harmed", shares[-1]
        if ratios:
            group = case.part or f"{gsd} m"
            yield group, "× bicubic", max(ratios)
            yield group, "harmed", float(np.mean(shares))


def beyond_range(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[Value]:
    """Find values outside the range of the 3 × 3 coarse pixels around a pixel, and their distance from it."""
    for gsd in case.gsds:
        shares, most = [], []
        for band in (b for b in BY_GSD[gsd] if b in pictures):
            y = F.pad(_coarse(case, band, gsd), [1] * 4, mode="replicate")
            high, low = F.max_pool2d(y, 3, stride=1), -F.max_pool2d(-y, 3, stride=1)
            margin = _WIDER * (high - low) + _AT_LEAST / DN
            upper, lower = (
                z[0, 0].numpy().repeat(ratio(gsd), 0).repeat(ratio(gsd), 1)
                for z in (high + margin, low - margin)
            )
            x = pictures[band]
            excess = inside(np.maximum(x - upper, lower - x), case.protocol.border)
            shares.append(100 * float((excess > 0).mean()))
            most.append(DN * max(0.0, float(np.nanmax(excess))))
            yield band, "beyond", shares[-1]
            yield band, "beyond by", most[-1]
        if shares:
            yield f"{gsd} m", "beyond", float(np.mean(shares))
            yield f"{gsd} m", "beyond by", max(most)
