"""``s2sharp train``: weights from real scenes where there are any, from synthetic ones otherwise."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from s2sharp_core import BANDS, METHODS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.fitting import FitOptions, Sample, Tell
from s2sharp_core.observation import SENTINEL2
from s2sharp_core.sharpeners import NetSharpener, unfitted_sharpener
from s2sharp_core.sharpeners.dsen2 import PUBLISHED, weights_file
from s2sharp_core.training import Pair, Recipe, synthetic_pairs, train, wald_pair
from s2sharp_core.weights import save_net

from .acquisitions import Acquisition, group
from .load import Files, load_block
from .search import search

__all__ = ["Training", "learn", "prefit", "real_scenes"]

# Cells along a window that a method is fitted to before it sees its scene.
_WINDOW = 60


@dataclass(frozen=True)
class Training:
    """What is to be trained, and on what.

    ``out``: the folder for weights and cards. ``catalog``, ``collection``: a static catalogue of real
    scenes, if there is one; ``synthetic``: how many landscapes beside them.
    """

    out: Path
    method: str
    catalog: Path | None
    collection: str
    steps: int
    synthetic: int
    seed: int

    def scenes(self) -> dict[str, dict[int, np.ndarray]]:
        """The real ones, as :func:`real_scenes`."""
        return real_scenes(self.catalog, self.collection) if self.catalog else {}


def real_scenes(catalog: Path, collection: str) -> dict[str, dict[int, np.ndarray]]:
    """Every acquisition of a static catalogue, whole: id → GSD → float32 reflectance (bands, y, x).

    Raises
    ------
    S2SharpError
        ``nothing-found``; ``scene-malformed`` for one with gaps.
    """
    items = search(str(catalog.resolve()), collection, (-180, -90, 180, 90), "2015/..")
    acquisitions, refused = group(items, tuple(BANDS), str(catalog))
    if not acquisitions:
        why = f": {refused[0].message}" if refused else ""
        raise S2SharpError("nothing-found", f"{catalog} holds no scene of {collection}{why}.")
    return {a.scenes[0].id: _whole(a) for a in acquisitions}


def _whole(acquisition: Acquisition) -> dict[int, np.ndarray]:
    block = load_block(Files(acquisition), acquisition, tuple(BANDS), acquisition.box, 0)
    if any(np.isnan(y).any() for y in block.data.values()):
        raise S2SharpError(
            "scene-malformed",
            f"{acquisition.id} has gaps.",
            "Train on scenes without nodata and saturated pixels.",
        )
    return {gsd: np.stack([block.data[band] for band in BY_GSD[gsd]]) for gsd in GSDS}


def learn(
    training: Training,
    gsd: int,
    features: int | None,
    blocks: int | None,
    tell: Callable[[int, float], None],
) -> Path:
    """Train DSen2's or VDSen2's net for one GSD and write it with its card; returns the file.

    Parameters
    ----------
    features, blocks
        Width and depth; None for the published ones.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a method without such nets; else as :func:`real_scenes`.
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
        steps=training.steps,
        synthetic=synthetic,
        seed=seed,
    )
    scenes = training.scenes()
    real: list[Pair] = [wald_pair(scene, gsd) for scene in scenes.values()]
    net = train(recipe, real, synthetic_pairs(synthetic, gsd, seed=seed), tell)
    file = training.out / weights_file(method, gsd)
    facts = {
        "method": method,
        "recipe": recipe.card(),
        "scenes": sorted(scenes),
        "protocol": "Wald: every band seen coarser through its MTF, the native band as truth",
        "licence": "Apache-2.0"
        + ("; contains modified Copernicus Sentinel data" if scenes else ""),
    }
    save_net(net, file, facts)
    return file


def prefit(training: Training, tell: Tell) -> list[Path]:
    """Fit a method that learns on the scene to many scenes at once; returns the files of weights.

    They are a start for its fits, not an answer: what it learns belongs to a scene.
    """
    known = METHODS[training.method]
    assert known.fit is not None  # noqa: S101  (the caller chose such a method)
    scenes = [
        {gsd: y.numpy() for gsd, y in pair.inputs.items()}
        for pair in synthetic_pairs(training.synthetic, 20, _WINDOW, training.seed)
    ]
    scenes += [part for scene in training.scenes().values() for part in _parts(scene)]
    if not scenes:
        raise S2SharpError(
            "no-data", "There is nothing to train on.", "Give --synthetic or --catalog."
        )
    sample = Sample(*(torch.from_numpy(np.stack([s[g] for s in scenes])) for g in GSDS))
    blank = unfitted_sharpener(training.method, device="cpu")
    assert isinstance(blank, NetSharpener)  # noqa: S101  (all that learns is made of networks)
    options = FitOptions(training.steps, training.seed)
    known.fit(sample, SENTINEL2, blank.bands, options, training.out, "cpu", tell)
    return [training.out / file for file in blank.files]


def _parts(scene: dict[int, np.ndarray]) -> Iterator[dict[int, np.ndarray]]:
    """A scene in windows of ``_WINDOW`` cells; what is left over at its edges is left out."""
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
