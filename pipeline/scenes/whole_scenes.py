"""Whole acquisitions of a static catalog, in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pystac

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS

from ..catalog.search import search
from .acquisition import Acquisition, group
from .read import Files, load_block


def real_scenes(catalog: Path, collection: str) -> dict[str, dict[int, np.ndarray]]:
    """Return every acquisition of a static catalog, whole: id → GSD → float32 reflectance (bands, y, x).

    If scenes of one acquisition leave gaps between them, each is returned by itself. Errors: ``nothing-found``;
    ``scene-malformed`` for a scene with gaps.
    """
    items = list(search(str(catalog.resolve()), collection, (-180, -90, 180, 90), "2015/.."))
    acquisitions, refused, _ = group(items, tuple(BANDS), str(catalog))
    if not acquisitions:
        why = f": {refused[0].message}" if refused else ""
        raise S2SharpError("nothing-found", f"{catalog} holds no scene of {collection}{why}.")
    found: dict[str, dict[int, np.ndarray]] = {}
    for acquisition in acquisitions:
        found |= _pixels(acquisition, items, catalog)
    return found


def _pixels(
    acquisition: Acquisition, items: Sequence[pystac.Item], catalog: Path
) -> dict[str, dict[int, np.ndarray]]:
    """Return an acquisition by its first scene's id; if it has gaps, each of its ``items`` by itself."""
    if (whole := _whole(acquisition)) is not None:
        return {acquisition.scenes[0].id: whole}
    names = {scene.id for scene in acquisition.scenes}
    own = [item for item in items if item.id in names]
    if len(own) < 2:
        raise S2SharpError(
            "scene-malformed",
            f"{acquisition.id} has gaps.",
            "Train on scenes without nodata and saturated pixels.",
        )
    parts = [part for item in own for part in group([item], tuple(BANDS), str(catalog))[0]]
    return {name: y for part in parts for name, y in _pixels(part, (), catalog).items()}


def _whole(acquisition: Acquisition) -> dict[int, np.ndarray] | None:
    """Return all pixels of an acquisition, or None if some are missing."""
    block = load_block(Files(acquisition), acquisition, tuple(BANDS), acquisition.box, 0)
    if any(np.isnan(y).any() for y in block.data.values()):
        return None
    return {gsd: np.stack([block.data[band] for band in BY_GSD[gsd]]) for gsd in GSDS}
