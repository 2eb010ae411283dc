"""Protocols at full resolution: ``hidden`` with a real truth, ``spectrum`` and ``consistency`` without a reference."""

from dataclasses import replace

import numpy as np
import torch

from ..bands import BY_GSD
from ..sensor.observation import degrade
from ..sensor.response import Sensor
from .cases import (
    Against,
    BenchScene,
    Case,
    Protocol,
    measured_sensor,
    observed,
    one_kernel,
)
from .reduced import GROUPS
from .spectrum import BINS, JUDGED

# 10 m band → the coarse band whose part it plays, and the band that takes its place.
_HIDDEN = {"B08": ("B8A", "B04"), "B04": ("B05", "B03")}

AGAIN = {
    "RMSE": "between the degraded result and the input; DN (1/10 000 of "
    "reflectance); pixels whose PSF reaches beyond the image are left out",
    "RMSE / noise": "the same, over the measured noise of the band",
}
"""Definitions of the measures of consistency."""


def as_delivered(protocol: Protocol, scene: BenchScene, against: Against) -> Case:
    """Make a case of the scene itself, without a truth.

    Its sensor has known kernels if the scene's truth is known, or else measured ones; the noise is measured.
    """
    inputs = observed(scene, protocol.sensor)
    sensor = measured_sensor(inputs)
    if scene.truth is not None:
        sensor = replace(protocol.sensor, noise=sensor.noise)
    return Case(scene.name, protocol, inputs, {}, (20, 60), seen_with=sensor, against=against)


def _whole(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    against: Against = "spectrum" if protocol.headline == "departure" else "input"
    return (as_delivered(protocol, scene, against),) if scene.fine else ()


def _hidden(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Make a case for each hidden band."""
    if not scene.fine:
        return ()
    whole = as_delivered(protocol, scene, "truth")
    kernel = replace(whole.sensor.mean(GROUPS["red edge"]), dy=0.0, dx=0.0)
    return tuple(_hiding(whole, band, one_kernel(kernel)) for band in _HIDDEN)


def _hiding(whole: Case, band: str, sensor: Sensor) -> Case:
    """Make a case with a 10 m band at 20 m in place of a coarse one. Another band takes its own place, so nothing
    shows it.
    """
    inputs = whole.inputs
    played, other = _HIDDEN[band]
    fine, coarse = inputs[10].copy(), inputs[20].copy()
    at, row = BY_GSD[10].index(band), BY_GSD[20].index(played)
    hidden = inputs[10][at]
    fine[at] = inputs[10][BY_GSD[10].index(other)]
    coarse[row] = degrade(torch.from_numpy(hidden)[None, None], [played], 2, sensor)[0, 0].numpy()
    truth = np.full((len(BY_GSD[20]), *hidden.shape), np.nan, dtype=np.float32)
    truth[row] = hidden
    return replace(
        whole,
        inputs={10: fine, 20: coarse, 60: inputs[60]},
        truth={20: truth},
        gsds=(20,),
        judged=(played,),
        part=f"{band} hidden",
        seen_with=sensor,
    )


_FROM, _TO = BINS[0], BINS[-1]

FULL: tuple[Protocol, ...] = (
    Protocol(
        "hidden",
        "Full resolution, with a real truth. B08, and then B04, is degraded to 20 m with the red-edge kernel measured on "
        "the scene. It stands in for B8A or B05, is sharpened from the other bands and compared with the original. Another "
        "band (B04 for B08, B03 for B04) takes its place among the 10 m bands, so that nothing of it leaks.",
        _hidden,
        quirks="Harder than the satellite's own bands: B8A has its neighbour B08 at 10 m, which is hidden "
        "here. A method is not told the sensor: it gets the one that can be measured on the inputs.",
        tells=False,
        metrics={
            "border": "6 pixels of the result's grid left out at each edge",
            "RMSE": "DN (1/10 000 of reflectance)",
            "SRE": "10·log10(Σx² / Σe²) in dB; x the hidden band, e the error",
            "UIQI": "windows of 8 × 8 pixels, one pixel apart",
            "SSIM": "11 × 11 pixels, Gaussian of σ = 1.5; K1 = 0.01, K2 = 0.03; L = the truth's max - min",
        },
    ),
    Protocol(
        "spectrum",
        f"Full resolution, without a reference. Sharpened {' and '.join(JUDGED)} are compared with B08, which shows the same "
        f"land in a neighbouring colour, by frequency from {_FROM:.2f} to {_TO:.2f} cycles per pixel: the strength of their "
        "detail, and the share of it that agrees with B08.",
        _whole,
        quirks="A copy of B08 passes; `hidden` and `measured` detect it. Methods get the sensor that "
        "is measured on the scene.",
        tells=False,
        border=6,
        headline="departure",
        metrics={
            "gain": "real part of the cross-spectrum of the result with B08 over the power of B08, "
            "1 at the lowest frequency; rings 0.03 cycles per pixel wide, tiles of 64 pixels (128 in scenes of 256 and "
            "more), half overlapping, Hann window",
            "coherence": "absolute value of the cross-spectrum over the root of both powers, in the same rings; the "
            "minimum",
            "departure": "largest distance of the gain from 1 at 0.12 to 0.42 cycles per pixel",
            **AGAIN,
        },
    ),
    Protocol(
        "consistency",
        "Full resolution, without a reference. The result, degraded with the kernels measured on the scene, is compared "
        "with the input. A good result passes, and so do wrong ones: detail that the sensor's blur removes costs "
        "nothing here.",
        _whole,
        tells=False,
        border=0,
        headline="RMSE",
        metrics=AGAIN,
    ),
)
"""Protocols on scenes as delivered."""
