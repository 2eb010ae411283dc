"""Resample reflectance from a cube's group to a mosaic: copied on the same grid, else warped once."""

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from s2sharp_core.lattice import Box

from ..cube.layout import FILL
from .grid import Grid, GridAlignment, within

_PATCH = 128
"""Side in pixels of a patch for GDAL, which interpolates positions along a line from its ends: over this distance the
error is a few thousandths of a pixel."""

_RADIUS = {"nearest": 0, "bilinear": 1, "cubic": 2}


def reach(how: str, scale: tuple[float, float]) -> int:
    """Return the pixels of the source that a kernel needs around those under a block, and one for rounding."""
    return int(np.ceil(_RADIUS[how] * max(1.0, *scale))) + 1


def resample(
    target: Grid,
    block: Box,
    under: GridAlignment,
    source: Grid,
    data: np.ndarray,
    window: Box,
    how: str,
) -> np.ndarray:
    """Resample one acquisition to the pixels of a block.

    On grids of one CRS and resolution, pixels are copied. Otherwise a kernel averages the pixels that have data (GDAL's
    warper; where the target is coarser, the kernel is wider). A pixel has a value only where the source has one under
    its centre.

    Parameters
    ----------
    data
        (bands, height, width), int16, of ``window`` of ``source``; missing pixels are :data:`FILL` in all bands.

    Returns
    -------
    numpy.ndarray
        (bands, rows, columns) of the block, int16.
    """
    nearest = under.take(data, window, FILL)
    if target == source or how == "nearest":
        return nearest
    out = np.full_like(nearest, FILL)
    crs = CRS.from_string(source.crs), CRS.from_string(target.crs)
    for patch in block.tiles(_PATCH):
        rows, cols = within(block, patch)
        held = under.window((rows, cols))
        if held is None:
            continue
        around = held.grow(reach(how, under.scale)) & window
        y, x = within(window, around)
        warped = np.full((len(data), *patch.shape), FILL, dtype=np.int16)
        reproject(
            np.ascontiguousarray(data[:, y, x]),
            warped,
            src_transform=source.transform(around),
            src_crs=crs[0],
            src_nodata=FILL,
            dst_transform=target.transform(patch),
            dst_crs=crs[1],
            dst_nodata=FILL,
            resampling=Resampling[how],
            # Otherwise GDAL derives the scale from the arrays' shapes, a little differently in each patch.
            XSCALE=min(1.0, 1 / under.scale[0]),
            YSCALE=min(1.0, 1 / under.scale[1]),
        )
        out[:, rows, cols] = warped
    return np.where((nearest == FILL) | (out == FILL), nearest, out)
