"""Pictures of many kinds with a known truth, on which errors are calibrated: `tests.benchmarks.error90`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from s2sharp_core.bands import BANDS, BY_GSD, COARSE, GSDS, ratio
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.learning.uncertainty import error_clues
from s2sharp_core.sensor.measurement import believed, measure, measured_noise
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import Sharpener
from s2sharp_core.sharpeners.loading import load_sharpener
from s2sharp_core.sharpeners.methods import METHODS
from tests.benchmarks.error90_fit import Witness
from tests.data import L2A_CHIPS, SCENES, by_gsd, l2a_chip, real_scene, shared_data

__all__ = ["KINDS", "Picture", "Seen", "pictures", "witnesses"]

KINDS = ("twice as coarse", "hidden", "hidden, twice as coarse", "six times as coarse", "landscape")

# Bands of one kernel, by which the 10 m bands are blurred, too, so that they are as sharp as these would be.
_PLANES = (("B8A", ("B05", "B06", "B07", "B8A")), ("B11", ("B11", "B12")))
# Hidden 10 m band, and the coarse band that it plays.
_PLAYS = (
    ("B08", "B8A"),
    ("B04", "B05"),
    ("B04", "B11"),
    ("B08", "B12"),
    ("B02", "B01"),
    ("B08", "B09"),
)
# Seeds that no net was trained on, and sides of landscapes, in cells.
_SEEDS, _CELLS = range(3_000_001, 3_000_009), 48
# Pixels at the edge that do not count, and those of a band of a picture that do, at most.
_EDGE, _PIXELS = 12, 4000
# Cells of the smallest scene that is worth seeing six times as coarse.
_LARGE = 60


@dataclass(frozen=True)
class Picture:
    """A scene as a method gets it, and band → its truth on the grid of the finest bands, reflectance."""

    scene: str
    kind: str
    inputs: dict[int, Tensor]
    truth: dict[str, Tensor]
    sensor: Sensor


@dataclass(frozen=True)
class Seen:
    """A witness, of which kind of picture it is, and the reflectance of the 10 m bands there (4, pixels)."""

    witness: Witness
    kind: str
    fine: np.ndarray


def _scenes() -> Iterator[tuple[str, dict[int, Tensor]]]:
    trees = [(name, real_scene(name)) for name in SCENES]
    trees += [(_brief(name), l2a_chip(name)) for name in L2A_CHIPS]
    for name, tree in trees:
        yield name, {g: torch.from_numpy(np.ascontiguousarray(y)) for g, y in by_gsd(tree).items()}


def _brief(chip: str) -> str:
    """Satellite, date and place of a chip's name: S2A 20170613 87_48."""
    _, satellite, _, when, place = chip.split("_", 4)
    return f"{satellite} {when[:8]} {place}"


def _seen_with(inputs: dict[int, Tensor]) -> Sensor:
    """The sensor as a run would measure it."""
    sample = Sample(*(inputs[g][None] for g in GSDS))
    return believed(measure(sample), measured_noise(sample))


def _coarser(scene: dict[int, Tensor], times: int, like: str) -> dict[int, Tensor]:
    """All bands so many times coarser, those of 10 m through the kernel of the band ``like``."""
    cells = [side // times for side in scene[60].shape[1:]]
    seen = {}
    for g in GSDS:
        n = 60 // g * times
        own = scene[g][:, : cells[0] * n, : cells[1] * n]
        seen[g] = degrade(own[None], [like] * 4 if g == 10 else BY_GSD[g], times)[0]
    return seen


def _truth(scene: dict[int, Tensor], bands: tuple[str, ...], like: Tensor) -> dict[str, Tensor]:
    height, width = like.shape[1:]
    gsd = BANDS[bands[0]].gsd
    return {b: scene[gsd][BY_GSD[gsd].index(b), :height, :width] for b in bands}


def _hidden(scene: dict[int, Tensor], band: str, plays: str) -> tuple[dict[int, Tensor], Tensor]:
    """At full resolution a 10 m band plays a coarse one, and nothing is in its own place."""
    gsd, at = BANDS[plays].gsd, BY_GSD[10].index(band)
    inputs = {g: y.clone() for g, y in scene.items()}
    truth = scene[10][at]
    inputs[gsd][BY_GSD[gsd].index(plays)] = degrade(truth[None, None], [plays], ratio(gsd))[0, 0]
    inputs[10][at] = truth.mean()
    return inputs, truth


def pictures() -> Iterator[Picture]:
    """Real scenes seen coarser, and at full resolution with a band hidden, where they are at hand; landscapes."""
    for name, scene in _scenes() if shared_data() else ():
        for like, bands in _PLANES:
            inputs = _coarser(scene, 2, like)
            truth = _truth(scene, bands, inputs[10])
            yield Picture(name, KINDS[0], inputs, truth, _seen_with(inputs))
        noise = Sensor(noise=tuple(measured_noise(Sample(*(scene[g][None] for g in GSDS))).items()))
        for band, plays in _PLAYS:
            inputs, answer = _hidden(scene, band, plays)
            yield Picture(name, KINDS[1], inputs, {plays: answer}, noise)
            if BANDS[plays].gsd == 20:
                inputs, answer = _hidden(_coarser(scene, 2, plays), band, plays)
                yield Picture(name, KINDS[2], inputs, {plays: answer}, noise)
        if min(scene[60].shape[1:]) >= _LARGE:
            inputs = _coarser(scene, 6, "B09")
            truth = _truth(scene, BY_GSD[60], inputs[10])
            yield Picture(name, KINDS[3], inputs, truth, noise)
    for seed in _SEEDS:
        land = landscape((6 * _CELLS, 6 * _CELLS), seed)
        inputs = {g: torch.from_numpy(y) for g, y in observe(land, seed=seed).items()}
        noise = measured_noise(Sample(*(inputs[g][None] for g in GSDS)))
        truth = {b: torch.from_numpy(land[list(BANDS).index(b)]) for b in COARSE}
        yield Picture(
            f"landscape {seed % 10}", KINDS[4], inputs, truth, Sensor(noise=tuple(noise.items()))
        )


def _sharpener(method: str, picture: Picture, weights: Path | None) -> Sharpener:
    bands, sensor = tuple(picture.truth), picture.sensor
    known = METHODS[method]
    if known.fit is None:
        return load_sharpener(method, bands, weights, "cpu", "float32", sensor)
    with TemporaryDirectory() as folder:
        sample = Sample(*(picture.inputs[g][None] for g in GSDS))
        options = FitOptions(known.steps, 0, None)
        known.fit(sample, sensor, bands, options, Path(folder), "cpu", lambda *_: None)
        return load_sharpener(method, bands, folder, "cpu", "float32", sensor)


@torch.inference_mode()
def witnesses(method: str, picture: Picture, weights: Path | None = None) -> Iterator[Seen]:
    """What ``method`` makes of a picture, beside the truth, at pixels drawn evenly."""
    sharpener = _sharpener(method, picture, weights)
    out = sharpener.sharpen(*_read(picture, sharpener))
    for band, truth in picture.truth.items():
        gsd = BANDS[band].gsd
        y = picture.inputs[gsd][BY_GSD[gsd].index(band)][None, None]
        x = out[band][:, None].float()
        inner = np.s_[_EDGE:-_EDGE, _EDGE:-_EDGE]
        squares = [
            c[0, 0][inner].flatten().numpy() for c in error_clues(x, y, [band], picture.sensor)
        ]
        error = (x[0, 0] - truth)[inner].flatten().numpy()
        fine = picture.inputs[10][:, inner[0], inner[1]].flatten(1).numpy()
        some = np.random.default_rng(0).permutation(error.size)[:_PIXELS]
        witness = Witness(picture.scene, band, np.stack(squares)[:, some], error[some])
        yield Seen(witness, picture.kind, fine[:, some])


def _read(picture: Picture, sharpener: Sharpener) -> list[Tensor]:
    """The inputs that a sharpener reads, (1, bands, h, w) by GSD."""
    rows = {g: [BY_GSD[g].index(b) for b in BY_GSD[g] if b in sharpener.reads] for g in GSDS}
    return [picture.inputs[g][None, rows[g]] for g in GSDS]
