"""Conversion of digital numbers to reflectance: scale, offset, nodata, saturation."""

import numpy as np

from ..catalog.reflectance import RAW_OFFSET
from ..catalog.sources import Source
from .acquisition import Acquisition
from .scene import Scene

SATURATED = 65535
"""DN of a saturated pixel in Level-1C and in most archives' Level-2A."""

_FILL = -9000
"""Signed DN below this are missing data, such as −9999 or −32768, also in a file that states no nodata value."""


def source_of(scene: Scene, band: str) -> Source | None:
    """Return the file of a scene with ``band`` or the scene classification ("SCL"), or None."""
    if band == "SCL":
        return scene.scl
    return next(source for source in scene.sources if source.band == band)


def reference_offset(acquisition: Acquisition, band: str) -> tuple[float, float]:
    """Return the (scale, offset) in which an acquisition's DN of ``band`` are stored: the lowest of its items."""
    if band == "SCL":
        return 1.0, 0.0
    files = [source_of(scene, band) for scene in acquisition.scenes]
    return min(_kept(file) for file in files if file is not None)


def _kept(file: Source) -> tuple[float, float]:
    """Return the (scale, offset) in which DN of a file can be stored with 0 as no data; signed DN are shifted up."""
    return file.scale, file.offset + (RAW_OFFSET if file.signed else 0.0)


def missing(stored: np.ndarray, *nodata: float | None) -> np.ndarray | None:
    """Return a mask of values that mean no data, except for 0 in unsigned DN; None if there are none.

    Floats are reflectance made from DN, in which NaN marks no data.
    """
    if stored.dtype.kind == "f":
        return ~np.isfinite(stored)
    gone: np.ndarray | None = None
    if stored.dtype.kind == "i" and stored.min(initial=0) < _FILL:
        gone = stored < _FILL
    for value in nodata:
        if value is None or (value == 0 and stored.dtype.kind == "u"):
            continue
        here = stored == value
        gone = here if gone is None else gone | here
    return gone


def harmonise(
    stored: np.ndarray, gone: np.ndarray | None, file: Source, reference: tuple[float, float]
) -> np.ndarray:
    """Return the stored values as uint16 DN with the offset of the reference.

    Pixels that are ``gone`` become 0, and saturated pixels are kept. Floats are reflectance.
    """
    scale, offset = reference
    if stored.dtype.kind == "u":
        dn = stored if gone is None else np.where(gone, 0, stored)
        if (file.scale, file.offset) == reference:
            return dn.astype(np.uint16, copy=False)
        moved = np.rint((dn * file.scale + file.offset - offset) / scale)
        moved = np.clip(moved, 1, SATURATED - 1)
        keep = (dn == 0) | (dn == SATURATED)
        return np.where(keep, dn, moved).astype(np.uint16)
    y = stored.astype(np.float64)
    if stored.dtype.kind == "i":
        moved = np.clip(np.rint((y * file.scale + file.offset - offset) / scale), 1, SATURATED - 1)
    else:
        dn = np.rint((np.nan_to_num(y, posinf=0, neginf=0) - file.offset) / file.scale)
        moved = np.rint((dn * file.scale + file.offset - offset) / scale)
        moved = np.where(dn == SATURATED, SATURATED, np.clip(moved, 1, SATURATED - 1))
        moved[dn < 1] = 0
    return np.where(False if gone is None else gone, 0, moved).astype(np.uint16)


def decode(dn: np.ndarray, scale: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Convert DN to float32 reflectance, with NaN as nodata, and return it with the saturated pixels (bool).

    Dark negative values are kept. The value of a saturated pixel is unknown, so it becomes NaN and is flagged. So no
    interpolation averages it into its neighbours.
    """
    saturated = dn == SATURATED
    # The offset is added in whole DN, so that (DN - 1000) / 10 000 is exact again when stored as int16.
    y = (dn.astype(np.float32) + np.float32(round(offset / scale))) * np.float32(scale)
    y[(dn == 0) | saturated] = np.nan
    return y, saturated
