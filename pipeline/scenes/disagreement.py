"""Disagreement of scenes in their overlap, which shows at the line between them."""

import itertools
from collections.abc import Iterable

import numpy as np
import shapely

from s2sharp_core.lattice import Box

from .acquisition import Acquisition
from .radiometry import SATURATED, reference_offset
from .raster import OpenFiles
from .read import read_scene
from .scene import Scene

SIDE = 32
"""Cells along a sample: enough for a median, and few blocks of a file."""


def disagreement(
    acquisition: Acquisition, bands: Iterable[str], box: Box, kept: OpenFiles | None = None
) -> dict[str, float]:
    """Return the median of |Δ| in DN (reflectance × 10 000) per band between the scenes that overlap in ``box``.

    Each pair of scenes is compared on a sample from the middle of their overlap there. The median is 0 for Level-1C.
    Bands without a pixel in two scenes are left out: most boxes lie in one scene. For ``kept`` see
    :func:`~s2sharp.scenes.raster.reading`. Errors: as in :func:`~s2sharp.scenes.read.read_scene`.
    """
    pairs = [
        (one, other, sample)
        for one, other in itertools.combinations(acquisition.within(box), 2)
        if (sample := _sample(one, other, box)) is not None
    ]
    found = {}
    kept = kept or OpenFiles()
    for band in bands:
        steps = [
            _steps(*(read_scene(acquisition, scene, band, sample, kept) for scene in scenes))
            for *scenes, sample in pairs
        ]
        values = np.concatenate([np.zeros(0), *steps])
        if values.size:
            scale, _ = reference_offset(acquisition, band)
            found[band] = float(np.median(values)) * scale * 10_000
    return found


def _sample(one: Scene, other: Scene, box: Box) -> Box | None:
    """Return the cells in the middle of the overlap in ``box``."""
    shared = one.outline & other.outline
    shared &= shapely.box(box.col0, box.row0, box.col1, box.row1)
    if not shared.area > 0:
        return None
    middle = shared.representative_point()
    row, col = int(middle.y) - SIDE // 2, int(middle.x) - SIDE // 2
    return Box(row, row + SIDE, col, col + SIDE) & one.box & other.box & box


def _steps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return |Δ| where both have a value."""
    both = (one > 0) & (other > 0) & (one < SATURATED) & (other < SATURATED)
    return np.abs(one[both].astype(float) - other[both])
