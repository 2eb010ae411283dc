"""Create a cube: lay out its groups and arrays, and consolidate its metadata at the end."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
import zarr_cm
from pyproj import CRS
from zarr.codecs import BloscCodec, Crc32cCodec

from s2sharp_core.bands import ERROR90, MEASURED

from ..storage.arrays import in_memory, put_arrays, resize, write_array, zarr_store
from ..storage.files import read_named, sweep
from ..storage.location import Location
from .growth import moved, renamed
from .intact import ROOT, differing, mend, wrong_files
from .keys import encoding
from .layout import FILL, FORMAT, SCALE, Layout, Sharded, level_group

# Blocks of half a chunk: with them level 1 compresses better than level 3 with its default blocks, in a third of the time.
_PACKED = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", blocksize=2**18)


def _geo(layout: Sharded, level: int) -> dict[str, Any]:
    """GeoZarr attributes (proj and spatial conventions) of an array or group."""
    left, bottom, right, top = layout.bounds
    step = layout.pixel * 2**level
    height, width = layout.shape(level)
    known = layout.crs.to_authority()
    where = zarr_cm.geo_proj.create(
        code=":".join(known) if known else None, wkt2=None if known else layout.crs.to_wkt()
    )
    return dict(
        zarr_cm.spatial.insert(
            zarr_cm.geo_proj.insert({}, where),
            zarr_cm.spatial.create(
                dimensions=["y", "x"],
                transform=[step, 0.0, left, 0.0, -step, top],
                shape=[height, width],
                bbox=[left, bottom, right, top],
                registration="pixel",
            ),
        )
    )


def lay_out(
    store: Location,
    layouts: Sequence[Layout],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    closely: bool = False,
) -> bool:
    """Create all arrays of the cube, or none; return whether the cube was moved. Shards are written later, each whole, in
    any order.

    Arrays of an existing cube grow by later times, rows in the south and columns in the east; missing or wrong metadata
    and coordinates are written again. No pixel changes. Readers go by the consolidated metadata, and see the old cube
    until :func:`finish`. For rows in the north and columns in the west, shards get second names
    (:mod:`~s2sharp.cube.growth`), and readers who open the cube afterwards see it moved. An interrupted call can be
    repeated.

    ``facts``: group → attributes that say what the cube was made from; ``closely``: compare all metadata, in place of
    checking that they exist.

    Error: ``cannot-extend``.
    """
    there = _readable(store)
    if there is None:
        draft = _drafted(layouts, facts)
        if (store / ROOT).exists():  # only this file is torn
            mend(store, wrong_files(store, draft))
            draft = {ROOT: draft[ROOT]}
        put_arrays(draft, store)
        return False
    there.attrs.update({"s2sharp": {**store_facts(there), "status": "writing"}})
    others = moved(there, layouts)
    for layout in others:
        renamed(store, there, layout)
        mend(store, wrong_files(store, _drafted([layout], facts)))
    root = zarr.open_group(zarr_store(store), mode="r+", use_consolidated=False)
    if closely or not all(_laid_out(store, root, x, facts[x.group]) for x in layouts):
        mend(store, wrong_files(store, _drafted(layouts, facts)))
    if others:
        _consolidate(store)  # from now on readers open the moved cube
    return bool(others)


def misplaced(store: Location, layouts: Sequence[Layout]) -> list[str]:
    """Return the names of metadata and coordinate files that are missing or wrong.

    The next :func:`lay_out` with ``closely`` writes them again.
    """
    return differing(store, _drafted(layouts, {x.group: {} for x in layouts}))


def _readable(store: Location) -> zarr.Group | None:
    """Return the root of a cube with its consolidated metadata; None where it is missing or torn."""
    try:
        return zarr.open_group(zarr_store(store), mode="r+")
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _drafted(layouts: Sequence[Layout], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Lay groups out in memory: file name → content."""

    def every(root: zarr.Group) -> None:
        root.attrs.update({"s2sharp": {"format": FORMAT, "status": "writing"}})
        _lay_out_levels(root, layouts, facts)

    return in_memory(every)


def store_facts(root: zarr.Group) -> dict[str, Any]:
    """Return what a cube or a mosaic says of the whole store."""
    return dict(root.attrs["s2sharp"])  # type: ignore[arg-type]


def _laid_out(store: Location, root: zarr.Group, layout: Layout, facts: Mapping[str, Any]) -> bool:
    """Return whether a group has its attributes and coordinates, and every array in its full shape."""
    every: list[tuple[Sharded, int]] = [(layout, level) for level in range(layout.levels + 1)]
    every += [(layout.native, 0)] if layout.native is not None else []
    try:
        # The coarsest level is created last.
        last = root[level_group(layout, layout.levels)]
        if dict(last.attrs).get("s2sharp") != _group_facts(layout, facts):
            return False
        for grid, level in every:
            name = level_group(grid, level)
            for axis, values in _coordinates(grid, level).items():
                there: Any = root[f"{name}/{axis}"]
                if not np.array_equal(there[...], values):
                    return False
    except (KeyError, ValueError, TypeError, RuntimeError, FileNotFoundError):  # missing or torn
        return False
    shapes = {
        f"{level_group(grid, level)}/{array}/{ROOT}": [len(grid.times), *grid.shape(level)]
        for grid, level in every
        for array in (*grid.bands, *grid.layers)
    }
    return {name: _shape(text) for name, text in read_named(store, shapes)} == shapes


def _shape(about: str) -> Any:
    """Return the shape in an array's metadata; None where they are torn."""
    try:
        return json.loads(about)["shape"]
    except (ValueError, KeyError, TypeError):
        return None


def _coordinates(layout: Sharded, level: int) -> dict[str, np.ndarray]:
    """Return centres of pixels, and times in seconds since 1970."""
    height, width = layout.shape(level)
    left, _, _, top = layout.bounds
    step = layout.pixel * 2**level
    return {
        "x": left + step * (np.arange(width) + 0.5),
        "y": top - step * (np.arange(height) + 0.5),
        "time": np.array(layout.times, dtype="datetime64[s]").astype(np.int64),
    }


def _group_facts(layout: Sharded, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts, "area": list(layout.asked)}


def _lay_out_levels(
    root: zarr.Group, layouts: Sequence[Layout], facts: Mapping[str, Mapping[str, Any]]
) -> None:
    for layout in layouts:
        for level in range(layout.levels + 1):
            lay_out_level(root, layout, level, facts[layout.group])
        if layout.native is not None:
            lay_out_level(root, layout.native, 0, facts[layout.group])


def lay_out_level(
    root: zarr.Group, layout: Sharded, level: int, facts: Mapping[str, Any]
) -> zarr.Group:
    """Create the arrays of one level; for a layout without a group name, in ``root`` itself."""
    name = level_group(layout, level)
    group = root.require_group(name) if name else root
    _write_coordinates(group, layout, level)
    geo = _geo(layout, level)
    shape = (len(layout.times), *layout.shape(level))
    # Also named as a coordinate: readers that decode no grid mapping would take it for a variable.
    mapping = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}

    def array(name: str, dtype: str, fill: int, attributes: dict[str, Any]) -> None:
        if name in group:
            resize(group[name], shape, {**geo, **mapping, **attributes})
            return
        group.create_array(
            name,
            shape=shape,
            chunks=(1, layout.chunk, layout.chunk),
            shards=(1, layout.side, layout.side),
            dtype=dtype,
            fill_value=fill,
            chunk_key_encoding=encoding(layout.moves),
            compressors=[_PACKED, Crc32cCodec()],
            dimension_names=("time", "y", "x"),
            attributes={**geo, **mapping, **attributes},
        )

    for band in layout.bands:
        about = MEASURED[band]
        attributes = {
            "long_name": f"{band} reflectance",
            "units": "1",
            "_FillValue": FILL,
            "scale_factor": SCALE,
            "wavelength_nm": about.wavelength,
            "native_gsd_m": about.gsd,
        }
        array(band, "int16", FILL, attributes)
    for name, (dtype, long_name, flags) in layout.layers.items():
        attributes = {"long_name": long_name}
        if name.endswith(ERROR90):
            attributes |= {"units": "1", "_FillValue": 0, "scale_factor": SCALE}
        if flags:
            attributes |= {"flag_values": list(flags), "flag_meanings": " ".join(flags.values())}
        array(name, dtype, 0, attributes)
    # Written last: a group with these attributes has all its arrays.
    whole: dict[str, Any] = {"Conventions": "CF-1.11", "s2sharp": _group_facts(layout, facts)}
    group.attrs.update({**geo, **whole})
    return group


def _write_coordinates(group: zarr.Group, layout: Sharded, level: int) -> None:
    """Write the CRS, the centres of pixels and the times, by CF."""
    crs, keys = layout.crs, encoding(layout.moves)
    at = _coordinates(layout, level)
    # No GeoTransform here: it would be wrong, unnoticed, after a crop.
    grid = {**crs.to_cf(), "spatial_ref": crs.to_wkt()}
    write_array(group, "spatial_ref", np.array(0, dtype=np.int64), (), grid, keys)
    for name in ("x", "y"):
        write_array(group, name, at[name], (name,), _axis(crs, name), keys)
    facts = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "axis": "T"}
    write_array(group, "time", at["time"], ("time",), {"standard_name": "time", **facts}, keys)


def _axis(crs: CRS, name: str) -> dict[str, Any]:
    """Return the CF attributes of the coordinate ``name``, x or y."""
    if crs.is_geographic:
        angle = {"x": "longitude", "y": "latitude"}[name]
        toward = {"x": "degrees_east", "y": "degrees_north"}[name]
        return {"standard_name": angle, "units": toward, "axis": name.upper()}
    unit = crs.axis_info[0].unit_name
    return {
        "standard_name": f"projection_{name}_coordinate",
        "units": "m" if unit == "metre" else unit,
        "axis": name.upper(),
    }


def finish(
    store: Location,
    status: str,
    weights: Mapping[str, Mapping[str, str]] | None = None,
    sensors: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> None:
    """Record that the cube is "complete" or "partial", and consolidate its metadata: the last write of a run.

    ``weights``: datatake → file → sha256 of the weights that sharpened it; ``sensors``: datatake → band → blur,
    edge and shift, for bands with values of their own.

    Temporary files of killed writers are deleted first.
    """
    sweep(store)
    root = zarr.open_group(zarr_store(store), mode="r+")
    facts = {**store_facts(root), "status": status}
    if weights is not None:
        facts["weights"] = {**facts.get("weights", {}), **weights}
    if sensors:
        facts["sensors"] = {**facts.get("sensors", {}), **sensors}
    # The root of a mosaic holds the arrays itself.
    own = dict(root.attrs) if any(root.array_keys()) else _signposts(root)
    root.attrs.put({**own, "s2sharp": facts})
    _consolidate(store)


def _signposts(root: zarr.Group) -> dict[str, Any]:
    """Return attributes of the root, which holds no array, that lead readers to the groups with arrays.

    GeoZarr's multiscales list the levels of one grid; a cube of several EPSG codes has a description alone.
    """
    codes = sorted(root.group_keys())
    about = {
        "description": f"Open a group: {', '.join(codes)}. Each holds the arrays of an EPSG code at 10 m, x2, x4 … in it their "
        "overviews: s2sharp.open_cube(PATH), xarray.open_zarr(PATH, group=CODE), xarray.open_groups(PATH, engine='zarr')."
    }
    if len(codes) != 1:
        return about
    (code,) = codes
    levels = [code]
    while f"{code}/x{2 ** len(levels)}" in root:
        levels.append(f"{code}/x{2 ** len(levels)}")
    half = {"scale": [2.0, 2.0], "translation": [0.0, 0.0]}
    layout: list[Any] = [
        {"asset": name, **({"derived_from": levels[i - 1], "transform": half} if i else {})}
        for i, name in enumerate(levels)
    ]
    scales = zarr_cm.multiscales.create(layout=layout, resampling_method="average")
    return about | dict(zarr_cm.multiscales.insert({}, scales))


def _consolidate(store: Location) -> None:
    """Copy all metadata into the root's, which readers go by, in one write."""
    with warnings.catch_warnings():
        # Zarr v3 has no standard for it yet; readers that do not know it read array by array.
        warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(zarr_store(store))
