"""Scenes at reduced resolution, with themselves as the truth: ``measured``, ``robust``, ``mtf`` and ``dsen2``."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from ..bands import BANDS, BY_GSD, GSDS, ratio
from ..learning.dsen2 import wald_pair
from ..sensor.observation import degrade
from ..sensor.response import MTF_TABLE, SENTINEL2, Response, Sensor
from .cases import (
    STEP,
    BenchScene,
    Case,
    Protocol,
    measured_sensor,
    native,
    observed,
    one_kernel,
    wanted,
)
from .no_fine_bands import from_20_alone

GROUPS: Mapping[str, tuple[str, ...]] = {
    "red edge": ("B05", "B06", "B07", "B8A"),
    "short-wave infrared": ("B11", "B12"),
    "60 m": BY_GSD[60],
}
"""Bands that share a kernel and are judged together."""

# Slope of the edge that only the 10 m bands show, in columns per row.
_SLOPE = 0.35
# Fewest cells along a scene that is degraded by six; fewer leave nothing to judge inside the border.
_FEWEST_FOR_60 = 36
# Trials of ``robust``: relative error of the coarse bands' blur, shifts in their pixels, noise.
_BLURS, _SHIFTS, _NOISE = (-0.12, 0.12), (0.1, 0.25), 1e-3


def _coarser(
    scene: Mapping[int, np.ndarray], times: int, kernels: Mapping[int, Response]
) -> dict[int, np.ndarray]:
    """Return a scene degraded by ``times``, the bands of each GSD with one kernel."""
    cells = [side // times for side in scene[60].shape[1:]]
    found = {}
    for gsd, y in scene.items():
        rows, cols = (60 // gsd * times * side for side in cells)
        x = torch.from_numpy(np.ascontiguousarray(y[:, :rows, :cols]))[None]
        found[gsd] = degrade(x, BY_GSD[gsd], times, one_kernel(kernels[gsd]))[0].numpy()
    return found


def _part(
    protocol: Protocol, scene: BenchScene, part: str, sensor: Sensor, coarse: Response | None = None
) -> Case:
    """Return the case of one group of bands; ``coarse``: another sensor for their coarse images.

    The finer bands are shifted as far as the group is shifted against them on the satellite. So the wanted detail
    lies where they show it.
    """
    bands, given = GROUPS[part], native(scene)
    gsd = BANDS[bands[0]].gsd
    kernel = sensor.mean(bands)
    still = replace(kernel, dy=0.0, dx=0.0)
    kernels = {
        g: replace(kernel, dy=kernel.dy * 10 / g, dx=kernel.dx * 10 / g) if g < gsd else still
        for g in GSDS
    }
    times = ratio(gsd)
    if coarse:
        kernels |= {g: coarse for g in GSDS if g >= gsd}
    inputs = _coarser(given, times, kernels)
    rows, cols = (side * 60 // 10 for side in inputs[60].shape[1:])
    truth = {gsd: np.asarray(given[gsd][:, :rows, :cols], dtype=np.float32)}
    return Case(
        scene.name,
        protocol,
        inputs,
        truth,
        (gsd,),
        times,
        judged=bands,
        part=part,
        seen_with=one_kernel(coarse or still),
    )


def measured(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Make a case for each group of bands, degraded with the kernel that is measured on the scene itself."""
    if scene.truth is not None:
        return _with_truth(protocol, scene)
    if not scene.fine:
        return (from_20_alone(protocol, scene),)
    given = native(scene)
    sensor = measured_sensor(given)
    large = min(given[60].shape[1:]) >= _FEWEST_FOR_60
    parts = [part for part in GROUPS if large or part != "60 m"]
    return tuple(_part(protocol, scene, part, sensor) for part in parts)


def _with_truth(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Make a case from the observed truth at 10 m, with this truth as the answer."""
    assert scene.truth is not None  # noqa: S101  (the callers saw to it)
    inputs = observed(scene, protocol.sensor)
    height, width = scene.truth.shape[1:]
    truth = wanted(scene.truth)
    return (Case(scene.name, protocol, inputs, truth, (20, 60), 1, _edge((height, width))),)


def _edge(shape: tuple[int, int]) -> np.ndarray:
    """Return a step along a slanted line through the middle, one pixel wide: float32 (y, x)."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across = (x - shape[1] / 2 - _SLOPE * (y - shape[0] / 2)) / np.hypot(1, _SLOPE)
    return np.asarray(STEP * np.clip(across + 0.5, 0, 1), dtype=np.float32)


def _reduced(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Make a case: with a truth, from its observation; otherwise from the scene degraded by the protocol's sensor,
    with the scene as the answer.
    """
    if scene.truth is not None:
        return _with_truth(protocol, scene)
    if not scene.fine:
        return ()
    return tuple(by_wald(protocol, scene.name, native(scene), gsd) for gsd in (20, 60))


def by_wald(protocol: Protocol, name: str, native: Mapping[int, np.ndarray], gsd: int) -> Case:
    """Make the case of a scene degraded by the protocol's sensor, with its native bands of ``gsd`` as the answer."""
    pair = wald_pair(native, gsd, protocol.sensor)
    inputs = {g: y.numpy() for g, y in pair.inputs.items()}
    return Case(name, protocol, inputs, {gsd: pair.truth.numpy()}, (gsd,), ratio(gsd))


def _trials(still: Response) -> dict[str, Response]:
    """Return by name the kernels that replace ``still`` for the coarse bands."""
    found = {
        f"blur {share:+.0%}": replace(still, blur=still.blur * (1 + share)) for share in _BLURS
    }
    for shift in _SHIFTS:
        found[f"shift {shift:g} px along an axis"] = replace(still, dx=still.dx + shift)
        found[f"shift {shift:g} px along both"] = replace(
            still, dy=still.dy + shift, dx=still.dx + shift
        )
    return found


def _robust(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    """Return the cases of ``measured`` for the 20 m bands, with each trial of them."""
    if scene.truth is not None:
        return _robust_with_truth(protocol, scene)
    if not scene.fine:
        return ()
    sensor, cases = measured_sensor(native(scene)), []
    for part in ("red edge", "short-wave infrared"):
        plain = _part(protocol, scene, part, sensor)
        still = replace(sensor.mean(GROUPS[part]), dy=0.0, dx=0.0)
        cases.append(plain)
        for trial, kernel in _trials(still).items():
            cases.append(replace(_part(protocol, scene, part, sensor, kernel), trial=trial))
        cases.append(_noised(plain))
    return tuple(cases)


def _robust_with_truth(protocol: Protocol, scene: BenchScene) -> tuple[Case, ...]:
    (plain,) = _with_truth(protocol, scene)
    plain = replace(plain, gsds=(20,), edge=None)
    each = {band: _trials(SENTINEL2.response(band)) for g in (20, 60) for band in BY_GSD[g]}
    cases = [plain]
    for trial in each["B05"]:
        sensor = Sensor(responses=tuple(kernels[trial] for kernels in each.values()))
        inputs = observed(scene, sensor)
        cases.append(replace(plain, inputs=inputs, seen_with=sensor, trial=trial))
    return (*cases, _noised(plain))


def _noised(case: Case) -> Case:
    random = np.random.default_rng(1)
    coarse = {
        g: (y + _NOISE * random.standard_normal(y.shape)).astype(np.float32)
        for g, y in case.inputs.items()
        if g > 10
    }
    return replace(case, inputs={**case.inputs, **coarse}, trial=f"noise {1e4 * _NOISE:.0f} DN")


_LOSS = {
    "border": "6 pixels of the result's grid left out at each edge",
    "SRE": "10·log10(Σx² / Σe²) in dB, per band, of the case of `measured`; x the truth, e the error",
    "SRE, trial": "the same after a trial: blur of the coarse bands 12 % more or less, a shift of 0.1 or 0.25 of their "
    "pixels along one axis or both, or noise of 10 DN in them",
    "loss, trial": "the first minus the second, dB, mean over the 20 m bands",
    "worst loss": "the largest of these",
}

REDUCED: tuple[Protocol, ...] = (
    Protocol(
        "measured",
        "The default. A real scene is degraded with the kernels that are measured on it at full resolution, and its "
        "native bands are the truth: 40→20 m with the mean kernel of the red edge and near infrared, and "
        "again with that of the short-wave infrared; 360→60 m with that of the 60 m bands (scenes of 36 cells and "
        "more); 180→60 m on a scene without 10 m bands. The finer bands are blurred with the kernel of the judged "
        'group, and shifted against it as on the satellite. "20 m" is the mean over '
        "all six bands. If the truth is known at 10 m, it is observed with the default sensor.",
        measured,
        quirks="A method is not told the sensor: it gets the one that can be measured on the inputs, as in a run. A "
        "degraded scene is easier than full resolution, because its images have less noise.",
        tells=False,
    ),
    Protocol(
        "robust",
        "The cases of `measured` for the 20 m bands, repeated with one unknown error each in the coarse bands: blur "
        "12 % more or less, a shift of 0.1 or 0.25 of their pixels along one axis or both, or noise of 10 DN.",
        _robust,
        quirks="A method may measure the error on the inputs. The blur changes only σ of the kernel, not its edge.",
        tells=False,
        headline="worst loss",
        metrics=_LOSS,
    ),
    Protocol(
        "mtf",
        "For comparison with papers. Each band is blurred with its MTF, centred on the coarse pixel, and "
        "decimated: a real scene by 2 for its 20 m bands (40→20 m) and by 6 for its 60 m bands "
        "(360→60 m), with the native bands as the truth. If the truth is known at 10 m (synthetic "
        "and airborne), it is observed at 20 and 60 m.",
        _reduced,
        quirks="A product already has the instrument's blur, so this blurs twice: a method that does well here "
        "sharpens real products too much. Methods are told the sensor.",
        sensor=MTF_TABLE,
    ),
    Protocol(
        "dsen2",
        "As Lanaras et al. (2018) do it: a Gaussian of σ = 1/d and the mean of d × d pixels.",
        _reduced,
        quirks="SRE is mean(x)² / MSE. The border is added here; it does not matter on the paper's large tiles. "
        "Methods are told the sensor.",
        sensor=Sensor(blur="dsen2"),
        sre="mean",
    ),
)
"""Protocols on scenes at reduced resolution, with various kernels."""
