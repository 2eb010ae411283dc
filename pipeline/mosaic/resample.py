"""Reflectance of a cube's group on the pixels of a mosaic: copied where grids are shared, else warped once."""

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from s2sharp_core.lattice import Box

from ..cube.layout import FILL
from .grid import Footing, Grid, within

__all__ = ["reach", "resample"]

_PATCH = 128
"""Pixels that GDAL is given at once: it places those along a line between its ends, which over so short a
way is exact to a few thousandths of a pixel."""

_RADIUS = {"nearest": 0, "bilinear": 1, "cubic": 2}


def reach(how: str, scale: tuple[float, float]) -> int:
    """Pixels of the source that a kernel needs around those under a block; one more, for what is rounded."""
    return int(np.ceil(_RADIUS[how] * max(1.0, *scale))) + 1


def resample(
    target: Grid,
    block: Box,
    under: Footing,
    source: Grid,
    data: np.ndarray,
    window: Box,
    how: str,
) -> np.ndarray:
    """The values of one acquisition on the pixels of a block.

    Grids of one CRS and resolution share their pixels, which are copied. Else a kernel averages what is
    there, weighted by how much of it is (GDAL's warper; where pixels are coarser than the source's, over
    as much more of it). A pixel has a value where the source has one under its centre, and only there.

    Parameters
    ----------
    data
        (bands, height, width), int16, of ``window`` of ``source``; what is missing is :data:`FILL` in all
        bands.

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
            # Else GDAL takes it from the arrays' shapes, a little differently in each patch.
            XSCALE=min(1.0, 1 / under.scale[0]),
            YSCALE=min(1.0, 1 / under.scale[1]),
        )
        out[:, rows, cols] = warped
    return np.where((nearest == FILL) | (out == FILL), nearest, out)
