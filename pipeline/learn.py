"""``s2sharp train``: weights from real scenes where there are any, from synthetic ones otherwise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.sharpeners.dsen2 import PUBLISHED, weights_file
from s2sharp_core.training import Pair, Recipe, synthetic_pairs, train, wald_pair
from s2sharp_core.weights import save_net

from .acquisitions import Acquisition, group
from .load import Files, load_block
from .search import search

__all__ = ["learn", "real_scenes"]


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
    out: Path,
    method: str,
    gsd: int,
    catalog: Path | None,
    collection: str,
    steps: int,
    synthetic: int,
    features: int | None,
    blocks: int | None,
    seed: int,
    tell: Callable[[int, float], None],
) -> Path:
    """Train the net for one GSD and write it with its card; returns the file.

    Parameters
    ----------
    method
        ``dsen2`` or ``vdsen2``: the name of the file, and the size where it is not given.
    features, blocks
        Width and depth; None for the published ones.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a method that is not trained before; else as :func:`real_scenes`.
    """
    if method not in PUBLISHED:
        raise S2SharpError(
            "bad-config",
            f"{method} is not trained beforehand.",
            f"Train one of: {', '.join(PUBLISHED)}. Methods that learn on the scene are fitted by "
            "`s2sharp run`.",
        )
    wide, deep = PUBLISHED[method]
    recipe = Recipe(
        gsd,
        features=features or wide,
        blocks=blocks or deep,
        steps=steps,
        synthetic=synthetic,
        seed=seed,
    )
    scenes = real_scenes(catalog, collection) if catalog else {}
    real: list[Pair] = [wald_pair(scene, gsd) for scene in scenes.values()]
    net = train(recipe, real, synthetic_pairs(synthetic, gsd, seed=seed), tell)
    file = out / weights_file(method, gsd)
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
