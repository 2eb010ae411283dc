"""Protocols of papers: their arrays, operators, references and borders.

Methods are fitted to the inputs, as everywhere in the bench. The papers' own fitting and stopping are in ``python -m
tests.benchmarks.papers``.
"""

from functools import partial

import numpy as np

from ..bands import GSDS
from ..errors import S2SharpError
from ..sensor.response import Sensor
from ..sensor.simulate import noisy, seen
from .cases import BenchScene, Case, Protocol, wanted
from .reduced import by_wald


def _arrays(scene: BenchScene) -> dict[str, np.ndarray]:
    """Return a paper's arrays as float32 reflectance, (bands, y, x)."""
    if scene.published is None:
        raise S2SharpError(
            "bad-config",
            f"{scene.name} does not hold the arrays that a paper published.",
            "Judge it by mtf, dsen2 or consistency.",
        )
    return {
        name: np.ascontiguousarray(y.transpose(2, 0, 1), dtype=np.float32) / 10_000
        for name, y in scene.published.items()
    }


def _coastal(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    arrays = _arrays(scene)
    rows, cols = (side // 6 for side in arrays["y10"].shape[1:])
    inputs = {
        10: arrays["y10"],
        20: arrays["y20"],
        60: np.full((2, rows, cols), np.nan, dtype=np.float32),
    }
    return (Case(scene.name, protocol, inputs, {20: arrays["truth20"]}, (20,), 2),)


def _iceland(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    arrays = _arrays(scene)
    native = {gsd: arrays[f"y{gsd}"] for gsd in GSDS}
    return (by_wald(protocol, scene.name, native, 20),)


def _apex(decibels: int, protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    truth = _arrays(scene)["truth"]

    def level(_: int, y: np.ndarray) -> np.ndarray:
        power = (y**2).mean(axis=(1, 2), keepdims=True)
        return np.asarray(np.sqrt(power / 10 ** (decibels / 10)))

    inputs = noisy(seen(truth, protocol.sensor), level, [scene.seed, decibels])
    return (Case(scene.name, protocol, inputs, wanted(truth), (20, 60)),)


_OWN_FITS = (
    "Data, operator, reference and border are the paper's. Methods are fitted to the inputs as everywhere "
    "in the bench. The paper's own fitting and stopping: python -m tests.benchmarks.papers"
)
_APEX = Sensor("mtf", centre="corner", taps=15, edge="circular")
_APEX_QUIRKS = (
    "Kernels of 15 taps, circular edges, and `x[::d]` after an odd kernel, so a 60 m pixel lies "
    "2.5 pixels of 10 m off its cell, and a 20 m pixel half a pixel. All twelve bands get noise of σ = "
    f"√(mean(y²) / SNR), the 10 m bands too. No border. {_OWN_FITS}"
)

PAPERS: tuple[Protocol, ...] = (
    Protocol(
        "papers/coastal",
        "SSC-CNN (Nguyen et al. 2020), table 1: the reduced-resolution arrays of the Coastal scene as "
        "they were published, 40→20 m.",
        _coastal,
        quirks="The arrays are DSen2's blur of `scenes/coastal` (found by trial: 0.1 DN RMSE), so "
        "a method that learns on them is told that sensor. There are no 60 m bands, and "
        f"methods that read them cannot be run. No border. {_OWN_FITS}",
        sensor=Sensor(blur="dsen2"),
        border=0,
        file="coastal_rr",
    ),
    Protocol(
        "papers/iceland",
        "S2S-UCNN (Nguyen et al. 2021), table III: the Iceland scene degraded by 2, 40→20 m.",
        _iceland,
        quirks="Kernels of 7 taps, circular edges and `x[::2]`: a coarse pixel lies on the first of its "
        "four, half a pixel off. The published crop's own grids lie 5 (10 m) and 2 (20 m) pixels off its "
        f"60 m grid. Two pixels of border, after S2Sharp's code. {_OWN_FITS}",
        sensor=Sensor("mtf", centre="corner", taps=7, edge="circular"),
        border=2,
        file="iceland_raw",
    ),
    *(
        Protocol(
            f"papers/apex-{decibels}",
            f"Deep SURE (Nguyen et al. 2022), table III, and the unrolled ADMM (2023): the airborne "
            f"APEX image observed with a signal-to-noise ratio of {decibels} dB, 20 and 60→10 m.",
            partial(_apex, decibels),
            quirks=_APEX_QUIRKS,
            sensor=_APEX,
            border=0,
            file="apex",
        )
        for decibels in (30, 40)
    ),
)
"""A protocol for each published table of figures."""
