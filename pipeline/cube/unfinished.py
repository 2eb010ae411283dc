"""Read acquisitions of a cube that a run is still writing."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import zarr

from ..storage.arrays import arrays_of
from ..storage.location import Location
from .layout import FILL, SCALE, Layout, level_group


def grid_written(store: Location, layout: Layout, level: int = 0) -> dict[str, np.ndarray]:
    """Return the coordinates of the pixels in the requested area, y and x."""
    arrays = arrays_of(store, level_group(layout, level))
    rows, cols = _inside(arrays, layout, level)
    return {"y": np.asarray(arrays["y"][rows]), "x": np.asarray(arrays["x"][cols])}


def read_written(
    store: Location,
    layout: Layout,
    time: int,
    names: Iterable[str],
    level: int = 0,
    place: tuple[slice, slice] | None = None,
) -> dict[str, np.ndarray]:
    """Read bands and layers of one acquisition as written so far, (y, x), bands float32 reflectance; and coordinates.

    ``place``: (y, x) in pixels of :func:`grid_written`; None: all of it.

    The consolidated metadata are left aside, since a run renews them only at its end. xarray is not used: loading it with
    Dask's arrays would take a worker seconds.
    """
    arrays, grid = arrays_of(store, level_group(layout, level)), grid_written(store, layout, level)
    rows, cols = _inside(arrays, layout, level)
    if place is not None:
        grid = {axis: at[part] for (axis, at), part in zip(grid.items(), place, strict=True)}
        rows, cols = _part(rows, place[0]), _part(cols, place[1])
    found = {}
    for name in names:
        values = np.asarray(arrays[name][time, rows, cols])
        if name in layout.bands:
            shown = values.astype(np.float32) * np.float32(SCALE)
            values = np.where(values == FILL, np.float32(np.nan), shown)
        found[name] = values
    return grid | found


def _part(whole: slice, part: slice) -> slice:
    """Return a part of a slice, counted from its start."""
    left = range(whole.start, whole.stop)[part]
    return slice(left.start, left.stop)


def _inside(
    arrays: "dict[str, zarr.Array[Any]]", layout: Layout, level: int
) -> tuple[slice, slice]:
    """Return rows and columns of the pixels in the requested area, to half a pixel."""
    left, bottom, right, top = layout.asked
    room = layout.pixel * 2**level / 2 * (1 - 1e-6)
    found = []
    for axis, low, high in (("y", bottom, top), ("x", left, right)):
        at = np.asarray(arrays[axis][...])
        within = np.flatnonzero((at >= low - room) & (at <= high + room))
        found.append(slice(int(within[0]), int(within[-1]) + 1))
    return found[0], found[1]
