"""``s2sharp train`` and ``finetune``: weights from real scenes if there are any, or else from synthetic ones."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.bands import GSDS
from s2sharp_core.learning.dsen2 import Pair, Recipe, synthetic_pairs, train, wald_pair
from s2sharp_core.learning.options import FitOptions, Tell
from s2sharp_core.learning.s2net import SIZES, S2Recipe, train_net
from s2sharp_core.sensor.estimation import estimate_sensor
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sharpeners.loading import unfitted_sharpener
from s2sharp_core.sharpeners.net import NetSharpener
from s2sharp_core.weights import PUBLISHED, save_net, weights_file

from ..execution.datatake_jobs import draw_sample
from ..planning.config import RunConfig
from ..planning.make import make_plan
from ..scenes.whole_scenes import real_scenes
from ..storage.location import on_this_machine

_WALD = "Wald: every band seen coarser through its MTF, the native band as truth"
_PLANES = (
    "Wald: a focal plane's bands and the 10 m bands seen twice as coarse through its kernel, with shifts and noise as "
    "products have them, the native band as truth; and synthetic landscapes"
)
# Cells along a window for a fit before a method sees its scene.
_WINDOW = 60


@dataclass(frozen=True)
class Training:
    """A training: the method, and its training data.

    ``out``: the folder for weights and cards. ``sources``: static catalogs of real scenes, each with its collection.
    ``synthetic``: number of added landscapes. ``steps``: None for the method's default.
    """

    out: Path
    method: str
    sources: tuple[tuple[Path, str], ...]
    steps: int | None
    synthetic: int
    seed: int

    def scenes(self) -> dict[str, dict[int, np.ndarray]]:
        """Return the real scenes, as :func:`real_scenes` does."""
        found: dict[str, dict[int, np.ndarray]] = {}
        for catalog, collection in self.sources:
            found |= real_scenes(catalog, collection)
        return found


def train_dsen2(
    training: Training,
    gsd: int,
    features: int | None,
    blocks: int | None,
    tell: Callable[[int, float], None],
) -> Path:
    """Train DSen2's or VDSen2's net for one GSD, write it with its card, and return the file.

    ``features`` and ``blocks`` are its width and depth, None for the published ones. Errors: ``bad-config`` for a method
    without these nets; those of :func:`real_scenes`.
    """
    method, synthetic, seed = training.method, training.synthetic, training.seed
    if method not in PUBLISHED:
        learning = [m.name for m in METHODS.values() if m.fit]
        raise S2SharpError(
            "bad-config",
            f"There is nothing to train in {method}.",
            f"Train one of: {', '.join([*PUBLISHED, *learning])}.",
        )
    wide, deep = PUBLISHED[method]
    recipe = Recipe(
        gsd,
        features=features or wide,
        blocks=blocks or deep,
        steps=training.steps or Recipe.steps,
        synthetic=synthetic,
        seed=seed,
    )
    scenes = training.scenes()
    real: list[Pair] = [wald_pair(scene, gsd) for scene in scenes.values()]
    net = train(recipe, real, synthetic_pairs(synthetic, gsd, seed=seed), tell)
    file = training.out / weights_file(method, gsd)
    save_net(net, file, _facts(method, recipe, scenes, _WALD))
    return file


def _facts(
    method: str, recipe: Recipe | S2Recipe, scenes: Iterable[str], protocol: str
) -> dict[str, Any]:
    """Return the facts of a training for the card of its weights."""
    names = sorted(scenes)
    licence = "Apache-2.0" + ("; contains modified Copernicus Sentinel data" if names else "")
    return {
        "method": method,
        "recipe": recipe.card(),
        "scenes": names,
        "protocol": protocol,
        "licence": licence,
    }


def train_s2net(training: Training, tell: Tell) -> Path:
    """Train an s2net, write it with its card and loss curve, and return the file.

    The same command continues a stopped training.
    """
    features, blocks = SIZES[training.method]
    recipe = S2Recipe(features, blocks, synthetic=training.synthetic, seed=training.seed)
    if training.steps:
        recipe = replace(recipe, steps=training.steps)
    scenes = training.scenes()
    facts = _facts(training.method, recipe, scenes, _PLANES)
    file = training.out / weights_file(training.method)
    mark = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    training.out.mkdir(parents=True, exist_ok=True)
    checkpoint = file.with_suffix(f".{mark[:12]}.checkpoint")
    net, curve = train_net(recipe, [scenes[name] for name in sorted(scenes)], checkpoint, tell)
    curve.write(file.with_suffix(".loss.csv"))
    save_net(net, file, {**facts, "result": curve.card()})
    checkpoint.unlink(missing_ok=True)
    return file


def finetune(config: RunConfig, tell: Tell) -> Path:
    """Train a net further on a sample of everything that a query finds, and return the file of weights.

    ``config`` is that of a run with ``adapt``. Its ``out`` keeps weights, card, loss curve and the drawn samples. The
    same configuration continues a stopped training. Errors: ``bad-config`` if ``out`` is not a local folder; the
    errors of :func:`make_plan` and :func:`draw_sample`.
    """
    out = config.out
    if not on_this_machine(out):
        raise S2SharpError(
            "bad-config",
            f"{out} is not a local folder, which training needs.",
            "Give a local folder, and copy it afterwards to where runs find it: --weights takes a URL.",
        )
    plan = make_plan(config)
    samples: list[Sample] = []
    names: set[str] = set()
    for datatake in plan.datatakes:
        sample, scenes = draw_sample(plan, datatake)
        samples.append(sample)
        names.update(scenes)
    # All windows have one size: the smallest of any datatake.
    side = min(min(sample.cells) for sample in samples)
    pooled = Sample(
        *(
            torch.cat([y[..., : n * side, : n * side] for y in each])
            for n, each in zip(
                (6, 3, 1),
                zip(*((s.y10, s.y20, s.y60) for s in samples), strict=True),
                strict=True,
            )
        )
    )
    method = METHODS[config.method]
    assert method.fit is not None  # noqa: S101  (an adapted method has one)
    protocol = f"{_WALD}; {len(pooled)} windows of {len(plan.datatakes)} datatakes, a quarter of them held out"
    options = replace(plan.options, scenes=tuple(sorted(names)), protocol=protocol)
    sensor = (
        estimate_sensor(pooled).sensor if plan.measures else plan.sensor(plan.datatakes[0].take)
    )
    method.fit(pooled, sensor, plan.coarse, options, out, plan.device, tell)
    return out / weights_file(config.method.removesuffix("-adapted"))


def train_start(training: Training, tell: Tell) -> list[Path]:
    """Fit a method that learns on the scene to many scenes at once, and return the files of weights.

    They are a start for its fits, not final weights, because what it learns belongs to a scene. Their cards name the
    real scenes among them.
    """
    known = METHODS[training.method]
    assert known.fit is not None  # noqa: S101  (the caller chose such a method)
    scenes = [
        {gsd: y.numpy() for gsd, y in pair.inputs.items()}
        for pair in synthetic_pairs(training.synthetic, 20, _WINDOW, training.seed)
    ]
    real = training.scenes()
    scenes += [part for scene in real.values() for part in _parts(scene)]
    if not scenes:
        raise S2SharpError(
            "no-data", "There is nothing to train on.", "Give --synthetic or --catalog."
        )
    sample = Sample(*(torch.from_numpy(np.stack([s[g] for s in scenes])) for g in GSDS))
    blank = unfitted_sharpener(training.method, device="cpu")
    assert isinstance(blank, NetSharpener)  # noqa: S101  (all that learns is made of networks)
    protocol = (
        f"fitted to {training.synthetic} synthetic landscapes and {len(real)} real scenes at once, without a "
        "reference: a start for fits, not an answer"
    )
    options = FitOptions(
        training.steps or known.steps, training.seed, scenes=tuple(sorted(real)), protocol=protocol
    )
    known.fit(sample, SENTINEL2, blank.bands, options, training.out, "cpu", tell)
    return [training.out / file for file in blank.files]


def _parts(scene: dict[int, np.ndarray]) -> Iterator[dict[int, np.ndarray]]:
    """Yield a scene in windows of ``_WINDOW`` cells, without the remainder at its edges."""
    rows, cols = (n // _WINDOW for n in scene[60].shape[1:])
    for row, col in itertools.product(range(rows), range(cols)):
        yield {
            gsd: y[
                :,
                row * _WINDOW * 60 // gsd : (row + 1) * _WINDOW * 60 // gsd,
                col * _WINDOW * 60 // gsd : (col + 1) * _WINDOW * 60 // gsd,
            ]
            for gsd, y in scene.items()
        }


def draw_losses(weights: Path) -> Path | None:
    """Draw the loss curve beside ``weights``; None if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    steps, losses = np.loadtxt(
        weights.with_suffix(".loss.csv"), delimiter=",", skiprows=1, ndmin=2
    ).T
    figure = Figure(figsize=(6, 3.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#1b6ca8")
    axes.set(xlabel="step", ylabel="loss", title=weights.stem)
    axes.spines[["top", "right"]].set_visible(False)
    file = weights.with_suffix(".loss.png")
    figure.savefig(file)
    return file
