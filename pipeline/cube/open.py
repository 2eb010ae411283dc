"""Open a cube: a Zarr v3 store with one group per EPSG code, as one xarray dataset.

A group is named by its code and holds the full resolution, with overviews in its children ``x2``, ``x4``, …; dims
(time, y, x). Arrays begin at a shard's edge on the lattice, so that a location lies in the same shard of any cube. The
requested area is recorded as ``area``.
"""

import json
import math
from collections.abc import Iterable
from datetime import datetime
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import ZarrStore

from s2sharp_core import S2SharpError
from s2sharp_core.bands import COARSE, ERROR90, MEASURED

from ..storage.arrays import zarr_store
from ..storage.location import Location
from .history import snapshot_store
from .layout import LAYERS, NATIVE, TRUST_LAYERS, Bounds, error_layers
from .root import open_root, store_in

if TYPE_CHECKING:
    from zarr.storage import StoreLike

# Encodings are kept for times alone: each format chooses its own for other coordinates.
_TIME = ("units", "calendar", "dtype")
_BLOCKS = 50_000
"""Most Dask blocks in a variable, about: Dask lists them all whenever it computes anything."""


def open_cube(
    out: Location | str,
    *,
    bands: Iterable[str] | None = None,
    time: tuple[datetime | None, datetime | None] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    epsg: int | None = None,
    level: int = 0,
    native: bool = False,
    snapshot: str | None = None,
) -> xr.Dataset:
    """Open the cube that ``s2sharp run`` made, or a part of it; lazy: nothing is read yet.

    ``out``: its folder or URL, or that of its ``cube.zarr``; ``bands``: by ESA's names, all by default, layers stay;
    ``time``: first and last moment in UTC, None for an open end; ``bbox``: (W, S, E, N) in degrees; ``epsg``: code to
    open, where there are several; ``level``: 0 for 10 m, 1 for the overview of 20 m, and so on; ``native``: the bands
    kept as measured, B10 at 60 m; ``snapshot``: id of an earlier state (:mod:`.history`).

    Dims of the result are (time, y, x), time ascending. Bands are float32 reflectance, NaN where there is none; layers
    are as stored, half-widths of ``--error90`` float32 reflectance. ``.rio.crs`` is set.

    Errors: ``not-a-cube``, ``epsg-missing``, ``outside``, ``band-unknown``; ``no-history``, ``snapshot-missing``;
    ``file-broken`` where a coordinate is not that of the acquisitions or the grid.
    """
    store = store_in(out, "cube")
    opened = zarr_store(store) if snapshot is None else snapshot_store(store.parent, snapshot)
    root, facts = open_root(store, "cube", opened)
    code = _code(root, store, epsg)
    name = _group_name(root, code, level, native=native)
    wanted = tuple(MEASURED) if bands is None else tuple(bands)
    errors = [name for name in error_layers(COARSE) if name.removesuffix(ERROR90) in wanted]
    raw = read_group(root, opened, name, (*MEASURED, *LAYERS, *TRUST_LAYERS, *errors))
    if facts.get("status") != "writing":  # a run that adds earlier tiles of a date changes its time
        _check_times(raw, store)
    raw = _present(raw)
    raw = _chosen(raw, wanted if bands is not None else None, time)
    pixel = 60.0 if native else 10.0 * 2**level
    return crop(raw, bbox, int(code), pixel)


def _code(root: zarr.Group, store: Location, epsg: int | None) -> str:
    """Return the requested EPSG code; the only one by default."""
    codes = sorted(root.group_keys())
    if (epsg is None and len(codes) > 1) or (epsg is not None and str(epsg) not in codes):
        raise S2SharpError(
            "epsg-missing",
            f"The cube {store} holds EPSG {', '.join(codes)}" + (f", not {epsg}." if epsg else "."),
            "Choose one with epsg=….",
        )
    return str(epsg or codes[0])


def _group_name(root: zarr.Group, code: str, level: int, *, native: bool) -> str:
    """Return the group of a code's level, or of its native bands."""
    if native:
        name, lacks, remedy = f"{code}/{NATIVE}", "B10", "Make one of Level-1C with `--bands …,B10`"
    else:
        name = code if level == 0 else f"{code}/x{2**level}"
        lacks, remedy = f"overview of level {level}", "Use a lower one"
    if name not in root:
        raise S2SharpError("outside", f"The cube has no {lacks}.", f"{remedy}.")
    return name


def _check_times(raw: xr.Dataset, store: Location) -> None:
    """Refuse times that are not those of the group's acquisitions: a lost chunk reads as 1970."""
    said = [about["datetime"] for about in raw.attrs["s2sharp"].get("acquisitions", ())]
    if said and not np.array_equal(np.array(said, "datetime64[s]"), raw["time"].values):
        raise _lost(f"The times in {store} are not those of its acquisitions")


def _lost(what: str) -> S2SharpError:
    return S2SharpError(
        "file-broken",
        f"{what}: the file of the coordinate is lost or broken.",
        "Run the same command again, which writes the file anew; `s2sharp verify OUT` checks the others.",
    )


def _present(raw: xr.Dataset) -> xr.Dataset:
    """Return all times but those whose acquisitions were removed."""
    removed = raw.attrs["s2sharp"].get("removed", ())
    if not removed:
        return raw
    kept = np.setdiff1d(np.arange(raw.sizes["time"]), removed)
    if not kept.size:
        raise S2SharpError(
            "outside",
            f"All {len(removed)} dates of this part of the cube have been removed.",
            "Choose another EPSG code.",
        )
    return raw.isel(time=kept)


def _chosen(
    raw: xr.Dataset,
    bands: tuple[str, ...] | None,
    time: tuple[datetime | None, datetime | None] | None,
) -> xr.Dataset:
    """Return the requested bands and times."""
    have = [str(name) for name in raw.data_vars if name in MEASURED]
    if bands is not None:
        if missing := [band for band in bands if band not in have]:
            raise S2SharpError(
                "band-unknown",
                f"The cube has no {', '.join(missing)}.",
                f"It has {', '.join(have)}.",
            )
        raw = raw.drop_vars([band for band in have if band not in bands])
    if time is None:
        return raw
    begin, end = (None if t is None else np.datetime64(t.replace(tzinfo=None), "ms") for t in time)
    times = raw["time"].values
    inside = np.ones(times.shape, dtype=bool)
    inside &= times >= begin if begin is not None else True
    inside &= times <= end if end is not None else True
    if not inside.any():
        raise S2SharpError(
            "outside",
            f"The cube has nothing between {begin or '…'} and {end or '…'}; it has {times.min()} to {times.max()}.",
            "Choose another time.",
        )
    return raw.isel(time=np.flatnonzero(inside))


def read_group(
    root: zarr.Group, store: "StoreLike", name: str, variables: Iterable[str]
) -> xr.Dataset:
    """Return one group of a store as stored, with those of ``variables`` that it has, without Dask.

    Only the crop becomes Dask arrays (:func:`crop`), since Dask lists all blocks whenever they are cut or reordered.
    """
    # The group is handed over open, since the metadata of all groups need not be read twice. The result's encoding names
    # the store.
    there = root[name] if name else root
    assert isinstance(there, zarr.Group)  # noqa: S101  (of this name there are no arrays)
    raw = xr.open_dataset(
        store,  # type: ignore[arg-type]
        engine="zarr",
        store=ZarrStore(there, mode="r", use_zarr_fill_value_as_mask=False),
        mask_and_scale=False,
        decode_coords="all",
    )
    return raw[[x for x in variables if x in raw]]


def crop(raw: xr.Dataset, bbox: Bounds | None, crs: int | str, pixel: float) -> xr.Dataset:
    """Return the requested area of :func:`read_group`'s dataset inside ``bbox``, decoded, lazy, time ascending.

    ``crs``: EPSG code or WKT.
    """
    window = _window(raw, _bounds(raw, bbox, crs), pixel)
    inside = raw.isel(window)
    if not inside.indexes["time"].is_monotonic_increasing:
        inside = inside.sortby("time")
    blocks = _blocks(raw, window)
    return _describe(_decode(inside).chunk(blocks))


def _blocks(raw: xr.Dataset, window: dict[str, slice]) -> dict[str, tuple[int, ...]]:
    """Return Dask's blocks for a window of a group: the chunks of its files, or several each where there are too many."""
    layout = next(iter(raw.data_vars.values())).encoding
    _, *sides = layout["chunks"]
    times = raw.sizes["time"]
    count = times * math.prod(
        -(-(window[dim].stop - window[dim].start) // side)
        for dim, side in zip(("y", "x"), sides, strict=True)
    )
    most = deep = 1
    while count > _BLOCKS and most * sides[0] < layout["shards"][1]:
        most, count = most * 2, count / 4
    while count > _BLOCKS and deep < times:
        deep, count = deep * 2, count / 2
    blocks = {"time": tuple(min(deep, times - t) for t in range(0, times, deep))}
    for dim, side in zip(("y", "x"), (side * most for side in sides), strict=True):
        begin, end = window[dim].start, window[dim].stop
        edges = [begin, *range((begin // side + 1) * side, end, side), end]
        blocks[dim] = tuple(np.diff(edges).tolist())
    return blocks


def _describe(cube: xr.Dataset) -> xr.Dataset:
    """Drop attributes and encodings of the whole array or its file, which do not hold for the crop."""
    for x in (cube, *cube.data_vars.values()):
        for name in [n for n in x.attrs if n.startswith("spatial:") or n == "zarr_conventions"]:
            del x.attrs[name]
    for name, x in cube.data_vars.items():
        x.encoding = {"grid_mapping": "spatial_ref"}
        if x.dtype.kind == "f":
            x.encoding["_FillValue"] = np.float32(np.nan)
        if about := MEASURED.get(str(name)):
            x.attrs |= {"common_name": about.common_name, "wavelength": about.wavelength}
    for x in cube.coords.values():
        x.encoding = {key: x.encoding[key] for key in _TIME if key in x.encoding}
    for some in (cube, *cube.data_vars.values(), *cube.coords.values()):
        some.attrs = {key: _plain(value) for key, value in some.attrs.items()}
    return cube


class Facts(str):
    """A JSON object as text, since netCDF attributes hold no objects; ``facts["area"]`` reads a value.

    A slice or a number indexes the text.
    """

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return json.loads(self)[key] if isinstance(key, str) else super().__getitem__(key)

    def keys(self) -> Iterable[str]:
        """Names of the facts: ``dict(facts)`` is all of them."""
        return list(json.loads(self))


def _plain(value: Any) -> Any:
    """Return an attribute as netCDF takes it: text, a number, or a list of either; others as :class:`Facts` or JSON text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Number | np.ndarray | np.generic):
        return value
    if isinstance(value, list | tuple):
        kinds = {isinstance(v, str) for v in value if isinstance(v, str | Number)}
        if len(kinds) == 1 and all(isinstance(v, str | Number) for v in value):
            return value
    text = json.dumps(value)
    return Facts(text) if isinstance(value, dict) else text


def _bounds(raw: xr.Dataset, bbox: Bounds | None, crs: int | str) -> Bounds:
    left, bottom, right, top = raw.attrs["s2sharp"]["area"]
    if bbox is None:
        return left, bottom, right, top
    from pyproj import Transformer  # a whole group needs no projection

    west, south, east, north = Transformer.from_crs(4326, crs, always_xy=True).transform_bounds(
        *bbox
    )
    return max(left, west), max(bottom, south), min(right, east), min(top, north)


def _window(raw: xr.Dataset, bounds: Bounds, pixel: float) -> dict[str, slice]:
    """Return the rows and columns of a group whose pixels are inside bounds."""
    left, bottom, right, top = bounds
    step = pixel / 2 * (1 - 1e-6)
    # Searched for here: pandas would first enter every coordinate in a table. Those of y descend.
    x, y = raw.indexes["x"].values, -raw.indexes["y"].values
    for name, at in (("x", x), ("y", y)):
        if not np.all(np.abs(np.diff(at) - pixel) < pixel / 2):  # so that NaN is refused, too
            raise _lost(f"The values of {name} are not those of the grid")
    cols = np.searchsorted(x, left - step), np.searchsorted(x, right + step, "right")
    rows = np.searchsorted(y, -(top + step)), np.searchsorted(y, -(bottom - step), "right")
    window = {dim: slice(*map(int, edges)) for dim, edges in (("y", rows), ("x", cols))}
    if any(part.start >= part.stop for part in window.values()):
        raise S2SharpError(
            "outside",
            f"The area (left {left:.10g}, bottom {bottom:.10g}, right {right:.10g}, top {top:.10g}) does not "
            "meet the cube.",
            "Give W S E N in degrees.",
        )
    return window


def _decode(raw: xr.Dataset) -> xr.Dataset:
    """Decode integers as float32 when they are read; xarray chooses float64 for a scale that is a Python number."""
    # As variables, without coordinates: these would be compared for each of them.
    scaled = {
        name: x.variable._replace(
            attrs={**x.attrs, "scale_factor": np.float32(x.attrs["scale_factor"])}
        )
        for name, x in raw.data_vars.items()
        if "scale_factor" in x.attrs
    }
    decoded = xr.decode_cf(xr.Dataset(scaled), decode_times=False, decode_coords=False)
    return raw.assign({name: decoded.variables[name] for name in scaled})
