"""COGs of a cube, and the native bands of its date."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from s2sharp_core import BANDS, S2SharpError, make_scene
from s2sharp_core.bands import ERROR90
from s2sharp_core.lattice import Lattice

from ..cube.layout import LAYERS, encode, encode_figure
from ..planning.client_plan import as_frozen
from ..planning.plan import Plan
from ..planning.readers import stage_of
from ..publish.cog_profile import CogProfile, Frame
from ..publish.cogs import write_pictures
from ..storage.location import Location, place
from .inputs import lazily

_SIDE = 3072


@dataclass(frozen=True)
class _Stored:
    """A variable of a cube as the integers of its files, read part by part."""

    array: xr.DataArray

    def __getitem__(self, key: tuple[int, slice, slice]) -> np.ndarray:
        time, rows, cols = key
        part = self.array.isel(time=time, y=rows, x=cols).values
        name = str(self.array.name)
        if name in BANDS:
            return encode(part.astype(np.float32))
        if name.endswith(ERROR90):
            return encode_figure(part)
        return np.asarray(part)


def write_files(cube: xr.Dataset, folder: Path | str | Location) -> list[Location]:
    """Write a COG for each date and variable; as :meth:`~s2sharp.api.accessor.CubeTools.to_cog`."""
    dated = "time" in cube.coords
    whole = cube if "time" in cube.dims else cube.expand_dims("time")
    names = [
        str(n) for n in whole.data_vars if n in LAYERS or str(n).removesuffix(ERROR90) in BANDS
    ]
    if not names or whole.rio.crs is None or min(whole.sizes["y"], whole.sizes["x"]) < 2:
        raise S2SharpError(
            "nothing-to-show",
            "There is no band with a CRS and two pixels a side to write.",
            "Use a cube from s2sharp.open_cube, or a part of one.",
        )
    frame = _frame(whole)
    rasters = {name: CogProfile.of(name) for name in names}
    arrays: Any = {name: _Stored(whole[name]) for name in names}
    written: list[Location] = []
    for at, when in enumerate(whole["time"].values):
        within = place(folder) / _stamp(when) if dated else place(folder)
        written += write_pictures(arrays, at, frame, within, rasters).values()
    return written


def _stamp(when: np.datetime64) -> str:
    return str(np.datetime_as_string(when, unit="s")).replace("-", "").replace(":", "")


def _frame(cube: xr.Dataset) -> Frame:
    pixel = float(cube.x[1] - cube.x[0])
    height, width = cube.sizes["y"], cube.sizes["x"]
    corner = float(cube.x[0]) - pixel / 2, float(cube.y[0]) + pixel / 2
    rows, cols = (
        [slice(at, min(at + _SIDE, size)) for at in range(0, size, _SIDE)]
        for size in (height, width)
    )
    crs = cube.rio.crs
    code = crs.to_epsg()
    parts = tuple((both, both) for both in product(rows, cols))
    return Frame(f"EPSG:{code}" if code else crs.to_wkt(), pixel, corner, (height, width), parts)


def native_bands(cube: xr.Dataset) -> xr.DataTree:
    """Return the native bands of a cube's one date, as :meth:`~s2sharp.api.accessor.CubeTools.before`."""
    dates = cube["time"].size if "time" in cube.coords else 0
    if dates > 1:
        raise S2SharpError(
            "scene-malformed",
            f"The cube has {dates} dates, and a scene has one.",
            "Select one: cube.isel(time=0).s2sharp.before().",
        )
    source = cube.encoding.get("source")
    if source is None or not dates:
        raise S2SharpError(
            "not-a-run",
            "This Dataset does not name its run: results computed from a cube may lose the name.",
            "Use the cube itself: s2sharp.open_cube(OUT).isel(time=0).s2sharp.before().",
        )
    plan = as_frozen(Plan.read(place(source).parent))
    epsg = cube.rio.crs.to_epsg()
    when = str(np.datetime_as_string(cube["time"].values.reshape(-1)[0], unit="s"))
    every = [a for a in plan.of(epsg) if a.datetime == when and a.id not in plan.removed]
    if len(every) > 1:
        raise S2SharpError(
            "scene-malformed",
            f"{len(every)} acquisitions of the run in {plan.out} have the time {when}, so the date is ambiguous: "
            f"{', '.join(a.id for a in every)}.",
            "Open the items themselves: s2sharp.open_scene(ITEM).",
        )
    if not every:
        raise S2SharpError(
            "not-a-run",
            f"The run in {plan.out} has no acquisition of {when} in EPSG:{epsg}.",
            "Open the cube again: s2sharp.open_cube(OUT).",
        )
    (found,) = every
    lattice = Lattice.of(epsg)
    half = abs(float(cube.x[1] - cube.x[0])) / 2
    left, right = float(cube.x[0]) - half, float(cube.x[-1]) + half
    bottom, top = float(cube.y[-1]) - half, float(cube.y[0]) + half
    box = lattice.around((left, bottom, right, top)) & found.box
    stage = stage_of(plan, found)
    needed = stage.needed(box)
    staged = bool(needed) and plan.staged and all(stage.has(cells) for cells in needed)
    bands = [band for band in BANDS if band in plan.reads]
    tree = make_scene(
        {b: lazily(found, b, box, stage if staged else None) for b in bands}, lattice, box
    )
    tree.attrs = {"id": found.id, "datetime": found.datetime}
    return tree
