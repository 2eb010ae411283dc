"""Measures of a result, by the definitions of its protocol: values without a table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..bands import BANDS, BY_GSD, ratio
from ..sensor.observation import degrade, psf
from ..sensor.upsampling import upsample
from .cases import Case
from .harm import against_bicubic, beyond_range
from .metrics import (
    DN,
    INDICES,
    Value,
    ergas,
    index,
    inside,
    q2n,
    rmse,
    sam,
    sre,
    sre_of_mean,
    ssim,
    uiqi,
)
from .spectrum import JUDGED, departure, gain_and_coherence, middle

# Pixels on both sides of the edge that only the 10 m bands show.
_EDGE_ZONE = 6


@dataclass(frozen=True)
class Measure:
    """A metric: unit, meaningful decimals, and whether more or less is better."""

    unit: str
    decimals: int
    better: int


METRICS: dict[str, Measure] = {
    "SRE": Measure("dB", 2, 1),
    "RMSE": Measure("DN", 1, -1),
    "SAM": Measure("°", 3, -1),
    "ERGAS": Measure("", 3, -1),
    "UIQI": Measure("", 4, 1),
    "SSIM": Measure("", 4, 1),
    "Q2n": Measure("", 4, 1),
    "index RMSE": Measure("", 4, -1),
    "invention": Measure("", 3, -1),
    "departure": Measure("", 3, -1),
    "coherence": Measure("", 3, 1),
    "RMSE / noise": Measure("", 2, -1),
    "worst loss": Measure("dB", 2, -1),
    "× bicubic": Measure("", 2, -1),
    "harmed": Measure("%", 2, -1),
    "beyond": Measure("%", 3, -1),
    "beyond by": Measure("DN", 0, -1),
    "seconds": Measure("", 1, -1),
    "fit seconds": Measure("", 1, -1),
    "multiply-adds": Measure("per px", 0, -1),
}
"""All metrics, in the order of display."""

Again = Callable[[Mapping[int, np.ndarray]], Mapping[str, np.ndarray]]
"""The method on other inputs of the same case: GSD → (bands, y, x) to band → (6h, 6w)."""


def group_name(gsds: tuple[int, ...]) -> str:
    """Return the common name of the bands of some GSDs: "20 m", "20+60 m"."""
    return "+".join(map(str, gsds)) + " m"


def score(case: Case, pictures: Mapping[str, np.ndarray], again: Again | None) -> Iterator[Value]:
    """Yield all scores of a method's result by the protocol of a case.

    Parameters
    ----------
    pictures
        Band → float32 reflectance (6h, 6w); bands that are not judged are left out.
    again
        The method, for scores that need more than its result; None if it is not available.
    """
    if case.against in _SPECIAL:
        for measure in _SPECIAL[case.against]:
            yield from measure(case, pictures)
        return
    if case.trial:
        yield from _under_trial(case, pictures)
        return
    pairs = {gsd: pair for gsd in case.gsds if (pair := _pair(case, pictures, gsd))[0]}
    every: dict[str, list[float]] = {}
    for gsd, (bands, x, truth) in pairs.items():
        group = case.part or group_name((gsd,))
        for metric, each in _by_band(case, x, truth).items():
            yield from ((b, metric, v) for b, v in zip(bands, each, strict=True))
            yield group, metric, float(np.mean(each))
            every.setdefault(metric, []).extend(each)
        if len(bands) > 1:
            yield group, "ERGAS", ergas(x, truth, ratio(gsd))
            yield from _together(group, x, truth)
    if len(pairs) > 1:
        group = group_name(tuple(pairs))
        for metric, values in every.items():
            yield group, metric, float(np.mean(values))
        x, truth = (np.concatenate([pair[i] for pair in pairs.values()]) for i in (1, 2))
        yield from _together(group, x, truth)
    yield from _indices(pairs)
    if case.edge is not None and again:
        yield from _invention(case, pictures, again, case.edge)


_Pair = tuple[tuple[str, ...], np.ndarray, np.ndarray]


def _pair(case: Case, pictures: Mapping[str, np.ndarray], gsd: int) -> _Pair:
    """Return the bands of ``gsd`` that are judged and present, with their images and their truth, without the
    border.
    """
    bands = tuple(band for band in BY_GSD[gsd] if band in pictures and band in case.bands)
    which = [BY_GSD[gsd].index(band) for band in bands]
    x = np.stack([pictures[band] for band in bands]) if bands else case.truth[gsd][:0]
    if bands and case.lens:
        x = degrade(torch.from_numpy(x)[None], bands, 2, case.lens)[0].numpy()
    return (
        bands,
        inside(x, case.protocol.border),
        inside(case.truth[gsd][which], case.protocol.border),
    )


def _by_band(case: Case, x: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    signal = sre if case.protocol.sre == "squares" else sre_of_mean
    return {
        "RMSE": DN * rmse(x, truth),
        "SRE": signal(x, truth),
        "UIQI": uiqi(x, truth),
        "SSIM": ssim(x, truth),
    }


def _together(group: str, x: np.ndarray, truth: np.ndarray) -> Iterator[Value]:
    yield group, "SAM", sam(x, truth)
    yield group, "Q2n", q2n(x, truth)


def _indices(pairs: Mapping[int, _Pair]) -> Iterator[Value]:
    if 20 not in pairs:
        return
    bands, x, truth = pairs[20]
    sharp, known = (dict(zip(bands, y, strict=True)) for y in (x, truth))
    for name, wanted in INDICES.items():
        if set(wanted) <= set(bands):
            error = rmse(index(name, sharp)[None], index(name, known)[None])
            yield name, "index RMSE", float(error[0])


def _invention(
    case: Case, pictures: Mapping[str, np.ndarray], again: Again, edge: np.ndarray
) -> Iterator[Value]:
    """Compute how far an edge in the 10 m bands alone moves each coarse band, as a share of a full copy.

    Both are root mean squares within some pixels of the edge. A full copy adds everything that the coarse band cannot
    show: the edge minus its own interpolation.
    """
    moved = again({**case.inputs, 10: case.inputs[10] + edge})
    step = edge.max() - edge.min()
    rising = np.abs(np.gradient(edge, axis=1)) > step / 1e3
    near = np.zeros_like(rising)
    for shift in range(-_EDGE_ZONE, _EDGE_ZONE + 1):
        near |= np.roll(rising, shift, axis=1)
    near = inside(near, case.protocol.border)
    shares: dict[int, list[float]] = {}
    for band in pictures:
        gsd = BANDS[band].gsd
        fine = torch.from_numpy(edge)[None, None]
        coarse = degrade(fine, [band], ratio(gsd), case.sensor)
        copied = (fine - upsample(coarse, ratio(gsd)))[0, 0].numpy()
        change = inside(moved[band] - pictures[band], case.protocol.border)[near]
        whole = inside(copied, case.protocol.border)[near]
        share = float(np.sqrt(np.nanmean(change**2) / np.mean(whole**2)))
        shares.setdefault(gsd, []).append(share)
        yield band, "invention", share
    for gsd, some in shares.items():
        yield group_name((gsd,)), "invention", float(np.mean(some))


def _under_trial(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[Value]:
    """Yield only SRE, under the name of the trial."""
    for gsd in case.gsds:
        bands, x, truth = _pair(case, pictures, gsd)
        yield from ((b, f"SRE, {case.trial}", v) for b, v in zip(bands, sre(x, truth), strict=True))


def _inconsistency(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[Value]:
    """Yield RMSE in DN between the degraded result and the input, and the same over the band's noise, if it was
    measured.
    """
    noise = dict(case.sensor.noise)
    for gsd in case.gsds:
        bands = tuple(band for band in BY_GSD[gsd] if band in pictures)
        errors, shares = [], []
        for band in bands:
            r = ratio(gsd)
            x = torch.from_numpy(pictures[band])[None, None]
            # A NaN spreads as far as the PSF reaches, so the rest depends on valid pixels alone.
            again = degrade(x, [band], r, case.sensor)[0].numpy()
            native = case.inputs[gsd][BY_GSD[gsd].index(band)][None]
            taps = max(psf(band, r, case.sensor, axis).numel() for axis in (0, 1))
            reach = -(-max(0, taps - r) // (2 * r)) + case.protocol.border
            errors.append(DN * float(rmse(inside(again, reach), inside(native, reach))[0]))
            yield band, "RMSE", errors[-1]
            if band in noise:
                shares.append(errors[-1] / (DN * noise[band]))
                yield band, "RMSE / noise", shares[-1]
        for metric, some in (("RMSE", errors), ("RMSE / noise", shares)):
            if some:
                yield group_name((gsd,)), metric, float(np.mean(some))


def _by_frequency(case: Case, pictures: Mapping[str, np.ndarray]) -> Iterator[Value]:
    """Yield gain and coherence of bands by ring, their worst values, and the worst value of the mean over bands."""
    fine = case.inputs[10][BY_GSD[10].index("B08")]
    every = {b: gain_and_coherence(pictures[b], fine) for b in JUDGED if b in pictures}
    every = {b: found for b, found in every.items() if np.isfinite(found[0]).all()}
    for band, (gain, coherence) in every.items():
        for f, g, c in zip(middle(), gain, coherence, strict=True):
            yield band, f"gain, {f:g}", float(g)
            yield band, f"coherence, {f:g}", float(c)
        yield band, "departure", departure(gain)
        yield band, "coherence", float(coherence.min())
    if every:
        gain, coherence = np.mean(list(every.values()), axis=0)
        yield "20 m", "departure", departure(gain)
        yield "20 m", "coherence", float(coherence.min())


_SPECIAL: Mapping[str, tuple[Callable[[Case, Mapping[str, np.ndarray]], Iterator[Value]], ...]] = {
    "input": (_inconsistency,),
    "spectrum": (_by_frequency, _inconsistency),
    "bicubic": (against_bicubic,),
    "range": (beyond_range,),
}
