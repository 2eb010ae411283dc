"""Whole acquisitions of a static catalog, in memory."""

from pathlib import Path

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS

from ..catalog.search import search
from .acquisition import Acquisition, group
from .read import Files, load_block


def real_scenes(catalog: Path, collection: str) -> dict[str, dict[int, np.ndarray]]:
    """Return every acquisition of a static catalog, whole: id → GSD → float32 reflectance (bands, y, x).

    If scenes of one acquisition leave gaps between them, each is returned by itself.

    Errors: ``nothing-found``; ``scene-malformed`` for a scene with gaps.
    """
    items = list(search(str(catalog.resolve()), collection, (-180, -90, 180, 90), "2015/.."))
    acquisitions, refused, _ = group(items, tuple(BANDS), str(catalog))
    if not acquisitions:
        why = f": {refused[0].message}" if refused else ""
        raise S2SharpError("nothing-found", f"{catalog} holds no scene of {collection}{why}.")
    parts = []
    for acquisition in acquisitions:
        names = {scene.id for scene in acquisition.scenes}
        own = [item for item in items if item.id in names]
        if len(own) > 1 and _whole(acquisition) is None:
            parts += [part for item in own for part in group([item], tuple(BANDS), str(catalog))[0]]
        else:
            parts.append(acquisition)
    return {a.scenes[0].id: _checked(a) for a in parts}


def _checked(acquisition: Acquisition) -> dict[int, np.ndarray]:
    whole = _whole(acquisition)
    if whole is None:
        raise S2SharpError(
            "scene-malformed",
            f"{acquisition.id} has gaps.",
            "Train on scenes without nodata and saturated pixels.",
        )
    return whole


def _whole(acquisition: Acquisition) -> dict[int, np.ndarray] | None:
    """Return all pixels of an acquisition, or None if some are missing."""
    block = load_block(Files(acquisition), acquisition, tuple(BANDS), acquisition.box, 0)
    if any(np.isnan(y).any() for y in block.data.values()):
        return None
    return {gsd: np.stack([block.data[band] for band in BY_GSD[gsd]]) for gsd in GSDS}
