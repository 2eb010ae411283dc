"""Grids, whose pixels are counted from the origin of a CRS, and the pixels of one grid under another."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CELL
from s2sharp_core.lattice import Box

from ..cube.layout import Bounds

try:
    from odc.geo.geobox import GeoBox
except ModuleNotFoundError as error:
    raise S2SharpError(
        "bad-config",
        "Mosaics need odc-geo, which is not installed.",
        "Install it: `pip install 's2sharp[mosaic]'`.",
    ) from error


def within(outer: Box, inner: Box) -> tuple[slice, slice]:
    """Return the slices of the pixels ``inner`` in an array of the pixels ``outer``."""
    return outer.slices(inner, CELL)


@dataclass(frozen=True)
class Grid:
    """Square pixels of a CRS, counted from its origin.

    Pixel (row, col) has its upper-left corner at x = col × resolution, y = −row × resolution, so that grids of
    one CRS and resolution coincide. Here, a :class:`Box` counts these pixels.

    ``crs``: EPSG:… or WKT; ``resolution`` in its units.
    """

    crs: str
    resolution: float

    def bounds(self, box: Box) -> Bounds:
        side = self.resolution
        return box.col0 * side, -box.row1 * side, box.col1 * side, -box.row0 * side

    def transform(self, box: Box) -> Affine:
        left, _, _, top = self.bounds(box)
        return Affine(self.resolution, 0.0, left, 0.0, -self.resolution, top)

    def around(self, bounds: Bounds) -> Box:
        """Return the pixels that cover ``bounds``, to a thousandth of a pixel."""
        snapped = GeoBox.from_bbox(
            bounds, self.crs, resolution=self.resolution, anchor="edge", tol=1e-3
        )
        left, top = snapped.transform.c, snapped.transform.f
        row, col = round(-top / self.resolution), round(left / self.resolution)
        height, width = snapped.shape
        return Box(row, row + height, col, col + width)

    def reached_by(self, bounds: Bounds, crs: str) -> Bounds:
        """Transform bounds from another CRS to this one; not finite where they have no image."""
        if crs == self.crs:
            return bounds
        left, bottom, right, top = transformer(crs, self.crs).transform_bounds(*bounds)
        return left, bottom, right, top

    @property
    def metres(self) -> float | None:
        """Side of a pixel in metres; None where it is an angle."""
        crs = CRS.from_user_input(self.crs)
        metres = self.resolution * float(crs.axis_info[0].unit_conversion_factor)
        return metres if crs.is_projected else None


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


@dataclass(frozen=True)
class GridAlignment:
    """Pixels of a source grid that lie under the centres of a block's pixels.

    ``rows``, ``cols``: pixels of the source, int32, of shapes that broadcast to the block's; ``inside``: whether they
    lie in the source's area, (h, w); ``scale``: width and height of a block's pixel in pixels of the source.
    """

    rows: np.ndarray
    cols: np.ndarray
    inside: np.ndarray
    scale: tuple[float, float]

    def window(self, place: tuple[slice, slice] = (slice(None), slice(None))) -> Box | None:
        """Return the box around the source pixels under a part of the block; None where there are none."""
        inside = self.inside[place]
        if not inside.any():
            return None
        rows, cols = (
            np.broadcast_to(index, self.inside.shape)[place][inside]
            for index in (self.rows, self.cols)
        )
        return Box(int(rows.min()), int(rows.max()) + 1, int(cols.min()), int(cols.max()) + 1)

    def take(self, x: np.ndarray, window: Box, nothing: int) -> np.ndarray:
        """Return the source's value under each pixel, from an array (…, height, width) of ``window``."""
        rows = np.clip(self.rows - window.row0, 0, x.shape[-2] - 1)
        cols = np.clip(self.cols - window.col0, 0, x.shape[-1] - 1)
        return np.where(self.inside, x[..., rows, cols], x.dtype.type(nothing))


def footing(target: Grid, block: Box, source: Grid, area: Box) -> GridAlignment | None:
    """Return the pixels of ``source`` under a block of ``target``; None where none of them is in ``area``."""
    bounds = source.reached_by(target.bounds(block), target.crs)
    if all(map(math.isfinite, bounds)) and (source.around(bounds).grow(1) & area).empty:
        return None
    x = (np.arange(block.col0, block.col1) + 0.5)[None, :] * target.resolution
    y = -(np.arange(block.row0, block.row1) + 0.5)[:, None] * target.resolution
    if target.crs != source.crs:
        across, up = np.broadcast_arrays(x, y)
        x, y = transformer(target.crs, source.crs).transform(across, up)
    rows, cols = _index(-y / source.resolution), _index(x / source.resolution)
    inside = (rows >= area.row0) & (rows < area.row1) & (cols >= area.col0) & (cols < area.col1)
    return (
        GridAlignment(rows, cols, inside, _scale(target, block, source)) if inside.any() else None
    )


def _index(position: np.ndarray) -> np.ndarray:
    """Return the pixel at a position; one outside all grids where the projection fails."""
    lost = ~(np.abs(position) < 2**30)
    return np.where(lost, -(2**30), np.floor(np.where(lost, 0, position))).astype(np.int32)


def _scale(target: Grid, block: Box, source: Grid) -> tuple[float, float]:
    """Return the pixels of ``source`` along one pixel of ``target`` in the middle of a block: (x, y)."""
    left, bottom, right, top = target.bounds(block)
    x, y, side = (left + right) / 2, (bottom + top) / 2, target.resolution
    xs, ys = np.array([x - side, x + side, x, x]), np.array([y, y, y - side, y + side])
    if target.crs != source.crs:
        xs, ys = transformer(target.crs, source.crs).transform(xs, ys)
    step = 2 * source.resolution
    across = math.hypot(xs[1] - xs[0], ys[1] - ys[0]) / step
    up = math.hypot(xs[3] - xs[2], ys[3] - ys[2]) / step
    return (across, up) if math.isfinite(across) and math.isfinite(up) else (1.0, 1.0)
