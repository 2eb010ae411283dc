"""Digital numbers → reflectance: scale, offset, nodata, saturation."""

from typing import TYPE_CHECKING

import numpy as np

from ..catalog.sources import Source

if TYPE_CHECKING:
    from .acquisition import Acquisition
    from .scene import Scene

__all__ = ["decode", "harmonise", "reference_offset", "source_of"]

SATURATED = 65535
"""DN of a saturated pixel in Level-1C and in most archives' Level-2A."""


def source_of(scene: "Scene", band: str) -> Source | None:
    """Return the file of a scene that holds ``band``, or the scene classification ("SCL"), if there is one."""
    if band == "SCL":
        return scene.scl
    return next(source for source in scene.sources if source.band == band)


def reference_offset(acquisition: "Acquisition", band: str) -> tuple[float, float]:
    """(scale, offset) that an acquisition's DN of ``band`` are kept in: the lowest of its items."""
    if band == "SCL":
        return 1.0, 0.0
    files = [source_of(scene, band) for scene in acquisition.scenes]
    return min((f.scale, f.offset) for f in files if f is not None)


def harmonise(dn: np.ndarray, file: Source, reference: tuple[float, float]) -> np.ndarray:
    """Return DN as if the file had the reference's offset: nodata becomes 0, saturated pixels stay."""
    dn = np.where(dn == file.nodata, 0, dn) if file.nodata else dn
    scale, offset = reference
    if (file.scale, file.offset) == reference:
        return dn.astype(np.uint16, copy=False)
    moved = np.rint((dn * file.scale + file.offset - offset) / scale)
    moved = np.clip(moved, 1, SATURATED - 1)
    keep = (dn == 0) | (dn == SATURATED)
    return np.where(keep, dn, moved).astype(np.uint16)


def decode(dn: np.ndarray, scale: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """DN → (float32 reflectance with NaN as nodata, bool saturated).

    Dark negatives survive. A saturated pixel's value is unknown: it is NaN, and flagged, so that no
    interpolation averages it into its neighbours.
    """
    saturated = dn == SATURATED
    # In whole DN first: (DN - 1000) / 10 000 comes back exactly when it is stored as int16.
    y = (dn.astype(np.float32) + np.float32(round(offset / scale))) * np.float32(scale)
    y[(dn == 0) | saturated] = np.nan
    return y, saturated
