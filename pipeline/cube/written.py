"""An acquisition as far as a run has written it, in memory."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import zarr

from ..storage.arrays import zarr_store
from ..storage.location import Location
from .layout import FILL, SCALE, Layout, level_group

__all__ = ["grid_written", "read_written"]


def grid_written(store: Location, layout: Layout, level: int = 0) -> dict[str, np.ndarray]:
    """The area that was asked for as coordinates of pixels, y and x."""
    arrays = _arrays(store, layout, level)
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
    """Read bands and layers of one acquisition as they are by now, (y, x), bands float32 reflectance; and coordinates.

    Readers go by the consolidated metadata, which a run renews at its end; this goes by what is there. xarray, and Dask's
    arrays, which it loads with the first dataset, would take a worker seconds.

    Parameters
    ----------
    place
        (y, x) in pixels of :func:`grid_written`; None: all of it.
    """
    arrays, grid = _arrays(store, layout, level), grid_written(store, layout, level)
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
    """A part of a slice, counted from its begin."""
    left = range(whole.start, whole.stop)[part]
    return slice(left.start, left.stop)


def _arrays(store: Location, layout: Layout, level: int) -> "dict[str, zarr.Array[Any]]":
    name = level_group(layout, level)
    group = zarr.open_group(zarr_store(store), path=name, mode="r", use_consolidated=False)
    return dict(group.arrays())


def _inside(
    arrays: "dict[str, zarr.Array[Any]]", layout: Layout, level: int
) -> tuple[slice, slice]:
    """Rows and columns of the arrays whose pixels lie in the area that was asked for, to half a pixel."""
    left, bottom, right, top = layout.asked
    room = layout.pixel * 2**level / 2 * (1 - 1e-6)
    found = []
    for axis, low, high in (("y", bottom, top), ("x", left, right)):
        at = np.asarray(arrays[axis][...])
        within = np.flatnonzero((at >= low - room) & (at <= high + room))
        found.append(slice(int(within[0]), int(within[-1]) + 1))
    return found[0], found[1]
