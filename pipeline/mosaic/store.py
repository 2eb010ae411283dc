"""Store of a mosaic: create it, extend it by later periods, open it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from pyproj import CRS

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.lattice import Box

from ..cube.create import lay_out_level, store_facts
from ..cube.intact import ROOT, differing, mend, root_is_torn, wrong_files
from ..cube.layout import FORMAT, Bounds, Sharded
from ..cube.open import crop, read_group
from ..cube.root import open_root, store_in
from ..storage.arrays import in_memory, put_arrays, write_array, zarr_store
from ..storage.location import Location
from .grid import Grid
from .periods import Period

_VALID = ("uint8", "a clear observation was found", {0: "invalid", 1: "valid"})
# Name → (dtype, long name, flags), as in a cube; zero means "no data".
LAYERS: dict[str, dict[str, tuple[str, str, dict[int, str]]]] = {
    "whole": {
        "valid": _VALID,
        "source": ("uint16", "which acquisition of the group's list: 1 is its first", {}),
    },
    "median": {
        "valid": _VALID,
        "count": ("uint16", "clear observations that the median is of", {}),
    },
}


@dataclass(frozen=True)
class Canvas(Sharded):
    """Layout of a mosaic's store: whole tiles of ``side`` pixels, anchored to the grid, around ``area``."""

    grid: Grid
    area: Box
    side: int
    chunk: int
    bands: tuple[str, ...]
    periods: tuple[Period, ...]
    by: str

    group = ""

    @property
    def box(self) -> Box:
        """Pixels of the arrays."""
        return self.area.snap(self.side)

    def tile(self, row: int, col: int) -> Box:
        """Return the pixels of shard (row, col) at full resolution."""
        top, left = self.box.row0 + row * self.side, self.box.col0 + col * self.side
        return Box(top, top + self.side, left, left + self.side)

    @property
    def layers(self) -> Mapping[str, tuple[str, str, dict[int, str]]]:
        return LAYERS["median" if self.by == "median" else "whole"]

    @property
    def times(self) -> tuple[str, ...]:
        return tuple(period.start for period in self.periods)

    @property
    def crs(self) -> CRS:
        return CRS.from_user_input(self.grid.crs)

    @property
    def pixel(self) -> float:
        return self.grid.resolution

    @property
    def size(self) -> tuple[int, int]:
        return self.box.shape

    @property
    def bounds(self) -> Bounds:
        return self.grid.bounds(self.box)

    @property
    def asked(self) -> Bounds:
        return self.grid.bounds(self.area)


def lay_out(store: Location, canvas: Canvas, facts: Mapping[str, Any]) -> None:
    """Create the store, or repair an existing one and extend it to the canvas's periods.

    Readers go by the consolidated metadata, and see the old store until it is finished.
    """
    draft = _drafted(canvas, facts)
    if not (store / ROOT).exists():
        put_arrays(draft, store)
        return
    mend(store, wrong_files(store, draft))
    if root_is_torn(store):
        put_arrays({ROOT: draft[ROOT]}, store)
    root = zarr.open_group(zarr_store(store), mode="r+")
    if facts != {key: store_facts(root).get(key) for key in facts}:
        _lay_out_levels(root, canvas, {**store_facts(root), **facts, "status": "writing"})


def misplaced(store: Location, canvas: Canvas) -> list[str]:
    """Return the names of metadata and coordinate files that are missing or wrong; :func:`lay_out` writes them again."""
    return differing(store, _drafted(canvas, {}))


def _drafted(canvas: Canvas, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Lay a store out in memory: file name → content."""
    about = {"format": FORMAT, "status": "writing", **facts}
    return in_memory(lambda root: _lay_out_levels(root, canvas, about))


def _lay_out_levels(root: zarr.Group, canvas: Canvas, about: Mapping[str, Any]) -> None:
    for level in range(1, canvas.levels + 1):
        _write_times(lay_out_level(root, canvas, level, {}), canvas)
    # Written last: a store with these attributes has all its arrays.
    _write_times(root, canvas)
    lay_out_level(root, canvas, 0, about)


def begin_writing(store: Location) -> None:
    """Record that the store is being written."""
    root = zarr.open_group(zarr_store(store), mode="r+")
    root.attrs["s2sharp"] = {**store_facts(root), "status": "writing"}


def _write_times(group: zarr.Group, canvas: Canvas) -> None:
    """Write the periods by CF: their starts as the coordinate, their bounds beside it."""
    edges = np.array([[p.start, p.end] for p in canvas.periods], dtype="datetime64[s]")
    about = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    start = {"standard_name": "time", **about, "axis": "T", "bounds": "time_bnds"}
    write_array(group, "time", edges[:, 0].astype(np.int64), ("time",), start)
    write_array(group, "time_bnds", edges.astype(np.int64), ("time", "bnds"), about)


def open_mosaic(
    to: Location | str, *, bbox: tuple[float, float, float, float] | None = None, level: int = 0
) -> xr.Dataset:
    """Open the mosaic that ``s2sharp mosaic`` made.

    Parameters
    ----------
    to
        The folder or URL given as ``--to``, or its ``mosaic.zarr``.
    bbox
        Box to crop to, before anything is read: west, south, east, north in degrees.
    level
        0 for the full resolution, 1 for the overview of half of it, and so on.

    Returns
    -------
    xarray.Dataset
        Lazy, dims (time, y, x). ``time`` holds the starts of the periods, ascending, and ``time_bnds`` (time, bnds) their
        bounds. Bands: float32 reflectance, NaN where there is no data. Layers: ``valid`` and ``source``; for a median,
        ``count``. ``.rio.crs`` is set. ``.attrs["s2sharp"]["sources"]`` lists the sources that ``source`` counts, from 1.

    Raises
    ------
    S2SharpError
        ``not-a-mosaic``, ``outside``.
    """
    store = store_in(to, "mosaic")
    opened = zarr_store(store)
    root, facts = open_root(store, "mosaic", opened)
    name = f"x{2**level}" if level else ""
    # A cube has no sources.
    if "sources" not in facts or (name and name not in root):
        raise S2SharpError(
            "not-a-mosaic",
            f"{store} is no mosaic with an overview of level {level}.",
            "Use a lower level; for a cube, s2sharp.open_cube.",
        )
    layers = {layer for some in LAYERS.values() for layer in some}
    raw = read_group(root, opened, name, (*BANDS, *sorted(layers), "time_bnds"))
    crs = str(raw["spatial_ref"].attrs["crs_wkt"])
    pixel = float(root.attrs["spatial:transform"][0]) * 2**level  # type: ignore[index, arg-type]
    return crop(raw, bbox, crs, pixel)
