"""The output: a Zarr v3 store laid out once, whole; shards written whole; opened with one call.

One group per EPSG code, named by the code, with the full resolution in it and overviews in children
``x2``, ``x4``, …; dims (time, y, x). The arrays begin at a shard's edge on the lattice, so that the
same place lies in the same shard of any cube; what was asked for is recorded as ``area``.
"""

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
import zarr
import zarr_cm
from pyproj import CRS, Transformer
from zarr.abc.buffer import Buffer
from zarr.codecs import BloscCodec
from zarr.storage import MemoryStore

from s2sharp_core import S2SharpError
from s2sharp_core.bands import CIRRUS, COARSE, ERROR90, MEASURED, SceneClass, error_of
from s2sharp_core.lattice import Box, Lattice

from .history import snapshot_store
from .place import Place, place, store_errors, sweep, version, write_all, zarr_store

if TYPE_CHECKING:
    from zarr.storage import StoreLike

__all__ = [
    "FILL",
    "LAYERS",
    "TRUST_LAYERS",
    "Bounds",
    "Layout",
    "Native",
    "Sharded",
    "chunk_side",
    "crop",
    "encode",
    "error_layers",
    "finish",
    "lay_out",
    "lay_out_level",
    "level_group",
    "open_cube",
    "open_written",
    "put_arrays",
    "read_group",
    "read_part",
    "write_array",
    "write_shard",
]

FORMAT = 1
"""Version of the cube's format; raised when a reader of the old one would misread the new one."""

FILL = -32768
SCALE = 1e-4

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top) in the units of a CRS."""

# Name → (dtype, long name, flags). Zero means "nothing here" in each of them.
LAYERS: dict[str, tuple[str, str, dict[int, str]]] = {
    "valid": ("uint8", "all bands that were read have data", {0: "invalid", 1: "valid"}),
    "cloud": (
        "uint8",
        "scene classification (SCL) of the product, nearest",
        {kind.value: kind.name.lower() for kind in SceneClass},
    ),
    "saturated": ("uint8", "a band that was read is saturated", {0: "no", 1: "yes"}),
    "source": ("uint16", "which item of the acquisition: 1 is its first", {}),
}

TRUST_LAYERS: dict[str, tuple[str, str, dict[int, str]]] = {
    "residual": (
        "uint16",
        "DN by which the result, seen again by the satellite, departs from what it saw: RMS of a 60 m cell",
        {},
    ),
    "detail": (
        "uint16",
        "DN of the result that were carried over from finer bands, not measured: RMS of a 60 m cell",
        {},
    ),
}
"""With ``--trust``, by the names of :data:`~s2sharp_core.sharpeners.TRUST`; from 1 on where something was sharpened."""


def error_layers(bands: Iterable[str]) -> dict[str, tuple[str, str, dict[int, str]]]:
    """The layers of ``--error90``: one for each sharpened band; from 1 on where something was sharpened."""
    sharpened = (band for band in bands if MEASURED[band].gsd > 10)
    about = "half-width of the interval around {} that held 90 % of the errors of scenes like this"
    return {error_of(band): ("uint16", about.format(band), {}) for band in sharpened}


class Sharded:
    """What is laid out as one group of a store: arrays (time, y, x) in whole shards, and their overviews."""

    if TYPE_CHECKING:

        @property
        def group(self) -> str:
            """Its path in the store."""

        @property
        def chunk(self) -> int:
            """Side in pixels."""

        @property
        def times(self) -> tuple[str, ...]:
            """ISO 8601 in UTC."""

        @property
        def bands(self) -> tuple[str, ...]:
            """Names of :data:`BANDS`."""

        @property
        def layers(self) -> Mapping[str, tuple[str, str, dict[int, str]]]:
            """As :data:`LAYERS`."""

        @property
        def crs(self) -> CRS: ...

        @property
        def pixel(self) -> float:
            """Its side in the CRS's units."""

        @property
        def size(self) -> tuple[int, int]:
            """(height, width) of the arrays."""

        @property
        def side(self) -> int:
            """Of a shard, in pixels."""

        @property
        def bounds(self) -> Bounds:
            """Of the arrays."""

        @property
        def asked(self) -> Bounds:
            """Of the area that was asked for."""

    @property
    def levels(self) -> int:
        """Overviews, each half as fine, until one fits into a chunk."""
        side, levels = max(self.size), 0
        while side > self.chunk and side % 2 == 0:
            side, levels = side // 2, levels + 1
        return levels

    def shape(self, level: int = 0) -> tuple[int, int]:
        height, width = self.size
        return -(-height >> level), -(-width >> level)

    def level_of(self, most: int) -> int:
        """The finest level that is at most so many pixels long, or the coarsest."""
        levels = range(self.levels + 1)
        return next((x for x in levels if max(self.shape(x)) <= most), self.levels)

    def place(self, row: int, col: int, level: int = 0) -> tuple[slice, slice]:
        """The pixels of shard (row, col), counted from the array's corner."""
        height, width = self.shape(level)
        return (
            slice(row * self.side, min((row + 1) * self.side, height)),
            slice(col * self.side, min((col + 1) * self.side, width)),
        )

    def shards(self, level: int = 0) -> tuple[int, int]:
        """Shards along (y, x)."""
        height, width = self.shape(level)
        return -(-height // self.side), -(-width // self.side)


@dataclass(frozen=True)
class Layout(Sharded):
    """The shape of one group of a cube.

    ``area``: the cells that were asked for; ``extent``: those that there is room for, at least the area;
    ``shard``: side in cells; ``chunk``: side in pixels of
    10 m; ``times``: ISO 8601 in UTC, one per acquisition, whose ``ids`` they are; ``levels``: overviews;
    ``trust``: whether there are :data:`TRUST_LAYERS`;
    ``cirrus``: whether there is a ``native`` group; ``error90``: whether there are :func:`error_layers`.
    """

    epsg: int
    area: Box
    shard: int
    chunk: int
    times: tuple[str, ...]
    bands: tuple[str, ...]
    ids: tuple[str, ...] = ()
    extent: Box | None = None
    trust: bool = False
    cirrus: bool = False
    error90: bool = False

    pixel = 10.0

    def __post_init__(self) -> None:
        if self.shard * 6 % self.chunk:
            raise S2SharpError(
                "bad-config",
                f"A shard of {self.shard} cells ({self.shard * 6} px) is not a multiple of a chunk of "
                f"{self.chunk} px.",
                "Choose --shard and --chunk so that shard × 6 is a multiple of chunk.",
            )

    @property
    def group(self) -> str:
        return str(self.epsg)

    @property
    def native(self) -> "Native | None":
        """What is kept as it was measured, if anything is."""
        return Native(self) if self.cirrus else None

    @property
    def native_names(self) -> tuple[str, ...]:
        """Its variables, from this group on."""
        inside = self.native
        return tuple(f"{NATIVE}/{band}" for band in inside.bands) if inside else ()

    @property
    def layers(self) -> Mapping[str, tuple[str, str, dict[int, str]]]:
        layers = LAYERS | TRUST_LAYERS if self.trust else LAYERS
        return layers | error_layers(self.bands) if self.error90 else layers

    @property
    def box(self) -> Box:
        """The cells of the arrays: whole shards around the area, or the extent."""
        return (self.extent or self.area).snap(self.shard)

    @property
    def lattice(self) -> Lattice:
        return Lattice.of(self.epsg)

    @property
    def crs(self) -> CRS:
        return CRS.from_epsg(self.epsg)

    @property
    def size(self) -> tuple[int, int]:
        return self.box.pixels(10)

    @property
    def side(self) -> int:
        return self.shard * 6

    @property
    def bounds(self) -> Bounds:
        return self.lattice.bounds(self.box)

    @property
    def asked(self) -> Bounds:
        return self.lattice.bounds(self.area)

    def shards_in(self, cells: Box, level: int = 0) -> Iterator[tuple[int, int]]:
        """The shards (row, col) of a level that hold something of ``cells``, row by row."""
        inner = cells & self.box
        if inner.empty:
            return
        side = self.shard << level
        rows = range((inner.row0 - self.box.row0) // side, -(-(inner.row1 - self.box.row0) // side))
        cols = range((inner.col0 - self.box.col0) // side, -(-(inner.col1 - self.box.col0) // side))
        yield from itertools.product(rows, cols)

    def cells_at(self, rows: slice, cols: slice) -> Box:
        """The cells of a part of the area, in its pixels of 10 m, whole cells."""
        area = self.area
        return Box(
            area.row0 + rows.start // 6,
            area.row0 + rows.stop // 6,
            area.col0 + cols.start // 6,
            area.col0 + cols.stop // 6,
        )

    def cells(self, row: int, col: int, level: int = 0) -> Box:
        """The cells of shard (row, col) of a level."""
        side = self.shard << level
        top, left = self.box.row0 + row * side, self.box.col0 + col * side
        return Box(top, top + side, left, left + side)


def chunk_side(side: int, most: int = 512) -> int:
    """The largest divisor of a shard's ``side`` that is at most ``most`` pixels."""
    return next(n for n in range(min(side, most), 0, -1) if side % n == 0)


def encode(reflectance: np.ndarray) -> np.ndarray:
    """float32 reflectance → int16 × 10 000: rounded, then clipped, then cast; NaN → the fill value."""
    dn = reflectance * np.float32(10_000)
    np.rint(dn, out=dn)
    np.clip(dn, FILL + 1, 32767, out=dn)
    dn[np.isnan(dn)] = FILL
    return dn.astype(np.int16)


NATIVE = "r60m"


@dataclass(frozen=True)
class Native(Sharded):
    """B10 of ``around``, as it was measured: its cells are the pixels, its shards those of the same units."""

    around: Layout

    bands = (CIRRUS.name,)
    pixel = 60.0
    levels = 0

    @property
    def group(self) -> str:
        return f"{self.around.group}/{NATIVE}"

    @property
    def chunk(self) -> int:
        return self.around.shard

    @property
    def times(self) -> tuple[str, ...]:
        return self.around.times

    @property
    def layers(self) -> Mapping[str, tuple[str, str, dict[int, str]]]:
        return {}

    @property
    def crs(self) -> CRS:
        return self.around.crs

    @property
    def size(self) -> tuple[int, int]:
        return self.around.box.shape

    @property
    def side(self) -> int:
        return self.around.shard

    @property
    def bounds(self) -> Bounds:
        return self.around.bounds

    @property
    def asked(self) -> Bounds:
        return self.around.asked


def level_group(layout: Sharded, level: int) -> str:
    """The name of a level's group; that of the full resolution may be none."""
    return layout.group if level == 0 else f"{layout.group}/x{2**level}".removeprefix("/")


def _geo(layout: Sharded, level: int) -> dict[str, Any]:
    """GeoZarr attributes (proj and spatial conventions) of an array or group."""
    left, bottom, right, top = layout.bounds
    step = layout.pixel * 2**level
    height, width = layout.shape(level)
    known = layout.crs.to_authority()
    where = zarr_cm.geo_proj.create(
        code=":".join(known) if known else None, wkt2=None if known else layout.crs.to_wkt()
    )
    attributes: dict[str, Any] = {}
    attributes = zarr_cm.geo_proj.insert(attributes, where)
    return dict(
        zarr_cm.spatial.insert(
            attributes,
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
    store: Place, layouts: Sequence[Layout], facts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Create every array of the cube, or none; its shards come later, each whole, in any order.

    In a cube that is there, arrays get the room that they lack: later times, rows in the south, columns in the
    east. No pixel is touched, and readers, who go by the consolidated metadata, see it as it was until
    :func:`finish` renews them. (For rows in the north and columns in the west: :func:`~s2sharp.extend.move`.)

    Parameters
    ----------
    facts
        Group → attributes that say what the cube was made from.

    Raises
    ------
    FileExistsError
        A cube is never laid out over.
    """
    if (store / "zarr.json").exists():
        known = zarr.open_group(zarr_store(store), mode="r+")
        known.attrs.update({"s2sharp": {**_facts(known), "status": "writing"}})
        root = zarr.open_group(zarr_store(store), mode="r+", use_consolidated=False)
        if not all(_laid_out(root, layout, facts[layout.group]) for layout in layouts):
            _lay_out_levels(root, layouts, facts)
        return
    draft: dict[str, Buffer] = {}
    root = zarr.open_group(MemoryStore(draft), mode="w", zarr_format=3)
    root.attrs.update({"s2sharp": {"format": FORMAT, "status": "writing"}})
    _lay_out_levels(root, layouts, facts)
    put_arrays(draft, store)


def put_arrays(draft: Mapping[str, Buffer], store: Place) -> None:
    """Write arrays that were laid out in memory: the root's metadata last, so that where they are, all is.

    What is killed before that is laid out again.
    """
    write_all(store, {key: value.to_bytes() for key, value in draft.items()}, last="zarr.json")


def _facts(root: zarr.Group) -> dict[str, Any]:
    """What the cube says of itself as a whole."""
    return dict(root.attrs["s2sharp"])  # type: ignore[arg-type]


def _laid_out(root: zarr.Group, layout: Layout, facts: Mapping[str, Any]) -> bool:
    """Whether a group has the room and the facts that it should have. Its coarsest level was made last."""
    name = level_group(layout, layout.levels)
    if name not in root:
        return False
    last = root[f"{name}/source"]
    assert isinstance(last, zarr.Array)  # noqa: S101  (every level has that layer)
    same = dict(root[name].attrs).get("s2sharp") == _group_facts(layout, facts)
    if layout.native is not None and not _laid_out_native(root, layout.native):
        return False
    return same and last.shape == (len(layout.times), *layout.shape(layout.levels))


def _laid_out_native(root: zarr.Group, native: Native) -> bool:
    arrays = [root.get(f"{native.group}/{band}") for band in native.bands]
    shape = (len(native.times), *native.size)
    return all(isinstance(a, zarr.Array) and a.shape == shape for a in arrays)


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
    """Create the arrays of one level; those of a layout without a group's name in ``root`` itself."""
    name = level_group(layout, level)
    group = root.require_group(name) if name else root
    geo = _geo(layout, level)
    height, width = layout.shape(level)
    left, _, _, top = layout.bounds
    step = layout.pixel * 2**level
    crs = layout.crs
    # No GeoTransform here: it would go stale, unnoticed, when somebody crops.
    grid = {**crs.to_cf(), "spatial_ref": crs.to_wkt()}
    write_array(group, "spatial_ref", np.array(0, dtype=np.int64), (), grid)
    x = left + step * (np.arange(width) + 0.5)
    y = top - step * (np.arange(height) + 0.5)
    for name, values in (("x", x), ("y", y)):
        write_array(group, name, values, (name,), _axis(crs, name))
    seconds = np.array(layout.times, dtype="datetime64[s]").astype(np.int64)
    facts_of = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "axis": "T"}
    write_array(group, "time", seconds, ("time",), {"standard_name": "time", **facts_of})

    side = layout.side
    # Named as a coordinate, too: else readers that decode no grid mapping take it for a variable.
    mapping = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}

    def array(name: str, dtype: str, fill: int, attributes: dict[str, Any]) -> None:
        shape = (len(layout.times), height, width)
        if name in group:
            resize(group[name], shape, {**geo, **mapping, **attributes})
            return
        group.create_array(
            name,
            shape=shape,
            chunks=(1, layout.chunk, layout.chunk),
            shards=(1, side, side),
            dtype=dtype,
            fill_value=fill,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
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
    # Last: a group that says so has room for it.
    whole: dict[str, Any] = {"Conventions": "CF-1.11", "s2sharp": _group_facts(layout, facts)}
    group.attrs.update({**geo, **whole})
    return group


def _axis(crs: CRS, name: str) -> dict[str, Any]:
    """CF attributes of the coordinate ``name``, x or y."""
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


def write_array(
    group: zarr.Group, name: str, values: np.ndarray, dims: tuple[str, ...], facts: dict[str, Any]
) -> None:
    """Write a small array of a group, a coordinate for example, whole; again, if it has become longer."""
    if name in group:
        array = resize(group[name], values.shape, facts)
    else:
        array = group.create_array(
            name,
            shape=values.shape,
            # Whatever is appended to it later lies in chunks of its own: readers keep what they know.
            chunks=tuple(_COORDINATE for _ in dims),
            dtype=values.dtype,
            dimension_names=dims,
            attributes=facts,
        )
    array[...] = values


# Values of a coordinate in one chunk.
_COORDINATE = 4096


def resize(
    there: "zarr.Array[Any] | zarr.Group", shape: tuple[int, ...], facts: dict[str, Any]
) -> "zarr.Array[Any]":
    """More room in an array, which keeps what it holds."""
    assert isinstance(there, zarr.Array)  # noqa: S101  (of this name there are no groups)
    if there.shape != shape:
        there.resize(shape)
    there.attrs.update(facts)
    return there


def _opened(store: Place, name: str) -> "dict[str, zarr.Array[Any]]":
    """The arrays of one group, opened once a process: a region write through xarray reopens them all."""
    return _open(store, name, version(store / name / "zarr.json"))


@lru_cache(maxsize=8)
def _open(store: Place, name: str, written: str) -> "dict[str, zarr.Array[Any]]":  # noqa: ARG001
    # As it is, not as it was consolidated for readers.
    group = zarr.open_group(zarr_store(store), path=name, mode="r+", use_consolidated=False)
    return {key: array for key, array in group.arrays() if array.ndim == 3}


def write_shard(
    store: Place,
    layout: Sharded,
    time: int,
    row: int,
    col: int,
    data: Mapping[str, np.ndarray],
    level: int = 0,
) -> None:
    """Write one shard of every variable, whole.

    Raises
    ------
    S2SharpError
        ``partial-shard`` when an array is not exactly the shard: a part of one would race with others.
    """
    arrays = _opened(store, level_group(layout, level))
    rows, cols = layout.place(row, col, level)
    expected = (rows.stop - rows.start, cols.stop - cols.start)
    wrong = {name: x.shape for name, x in data.items() if x.shape != expected}
    if wrong or set(data) != set(arrays):
        raise S2SharpError(
            "partial-shard",
            f"Shard ({row}, {col}) of {layout.group} takes arrays of {expected} for {sorted(arrays)}, not "
            f"{wrong or sorted(data)}.",
            "Units must be whole shards.",
        )
    for name, x in data.items():
        arrays[name][time, rows, cols] = x


def read_part(
    store: Place, layout: Sharded, name: str, time: int, place: tuple[slice, slice], level: int
) -> np.ndarray:
    """A part of one variable of one level, as stored."""
    return np.asarray(_opened(store, level_group(layout, level))[name][time, place[0], place[1]])


def finish(
    store: Place,
    status: str,
    weights: Mapping[str, Mapping[str, str]] | None = None,
    sensors: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> None:
    """Say that the cube is "complete" or "partial", and consolidate its metadata: a run's last write.

    ``weights``: datatake → file → sha256 of what it was sharpened with; ``sensors``: datatake → band → blur,
    edge and shift that it was seen with, of bands that have their own.

    Drafts that a killed writer left behind go first; what has a final name is whole.
    """
    sweep(store)
    root = zarr.open_group(zarr_store(store), mode="r+")
    facts = {**_facts(root), "status": status}
    if weights is not None:
        facts["weights"] = {**facts.get("weights", {}), **weights}
    if sensors:
        facts["sensors"] = {**facts.get("sensors", {}), **sensors}
    root.attrs["s2sharp"] = facts
    with warnings.catch_warnings():
        # Zarr v3 has no standard for it yet; a reader that does not know it reads array by array.
        warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(zarr_store(store))


def open_cube(
    out: Place | str,
    *,
    bbox: tuple[float, float, float, float] | None = None,
    epsg: int | None = None,
    level: int = 0,
    native: bool = False,
    snapshot: str | None = None,
) -> xr.Dataset:
    """Open what ``s2sharp run`` made.

    Parameters
    ----------
    out
        The folder or URL given as ``--out``, or its ``cube.zarr``.
    bbox
        (W, S, E, N) in degrees: the part of the run's area to crop to, before anything is read.
    epsg
        Which EPSG code, where the cube has several.
    level
        0 for 10 m, 1 for the overview of 20 m, and so on.
    native
        What was kept as it was measured, B10 at 60 m, in place of the bands at 10 m.
    snapshot
        The cube as it was after an earlier run with ``--history``: the id of one that ``s2sharp history OUT``
        lists.

    Returns
    -------
    xarray.Dataset
        Lazy; dims (time, y, x), time ascending. Bands: float32 reflectance, NaN where there is none;
        layers ``valid``, ``cloud``, ``saturated``, ``source``, and ``residual`` and ``detail`` of a run with
        --trust, as stored; of one with --error90, ``B05_error90`` and the like, half-widths in float32 reflectance, NaN
        where there is none. ``.rio.crs`` is set.

    Raises
    ------
    S2SharpError
        ``not-a-cube``, ``epsg-missing``, ``outside``; ``no-history``, ``snapshot-missing``.
    """
    store = place(out)
    store = store if store.suffix == ".zarr" else store / "cube.zarr"
    opened = zarr_store(store) if snapshot is None else snapshot_store(store.parent, snapshot)
    try:
        root = zarr.open_group(opened, mode="r")
        written = root.attrs["s2sharp"]["format"]  # type: ignore[index, call-overload]
    except store_errors(KeyError, TypeError, ValueError) as error:
        raise S2SharpError(
            "not-a-cube",
            f"There is no cube of s2sharp in {out}.",
            "Make one: `s2sharp run --out …`.",
        ) from error
    if written != FORMAT:
        raise S2SharpError(
            "not-a-cube",
            f"{store} has format {written}, and this version of s2sharp reads {FORMAT}.",
            "Install the version of s2sharp that the cube was made with.",
        )
    codes = sorted(root.group_keys())
    if (epsg is None and len(codes) > 1) or (epsg is not None and str(epsg) not in codes):
        raise S2SharpError(
            "epsg-missing",
            f"The cube {store} holds EPSG {', '.join(codes)}" + (f", not {epsg}." if epsg else "."),
            "Choose one with epsg=….",
        )
    code = str(epsg or codes[0])
    name = code if level == 0 else f"{code}/x{2**level}"
    if native:
        name = f"{code}/{NATIVE}"
        if name not in root:
            raise S2SharpError(
                "outside", "The cube has no B10.", "Make one of Level-1C with `--bands …,B10`."
            )
    if name not in root:
        raise S2SharpError(
            "outside", f"The cube has no overview of level {level}.", "Use a lower one."
        )
    raw = read_group(root, opened, name, (*MEASURED, *LAYERS, *TRUST_LAYERS, *error_layers(COARSE)))
    pixel = 60.0 if native else 10.0 * 2**level
    return crop(raw, bbox, CRS.from_epsg(int(code)), pixel)


def open_written(store: Place, layout: Layout, time: int, level: int = 0) -> xr.Dataset:
    """One acquisition of a cube as it is by now, decoded; dims (y, x).

    Readers go by the consolidated metadata, which a run renews at its end; this goes by what is there.
    """
    opened = zarr_store(store)
    root = zarr.open_group(opened, mode="r", use_consolidated=False)
    raw = read_group(root, opened, level_group(layout, level), (*layout.bands, *layout.layers))
    return crop(raw.isel(time=[time]), None, layout.crs, layout.pixel * 2**level).isel(time=0)


def read_group(
    root: zarr.Group, store: "StoreLike", name: str, variables: Iterable[str]
) -> xr.Dataset:
    """One group of a store as it is stored, lazy, with those of ``variables`` that it has."""
    # A store that is still being written has no consolidated metadata yet.
    whole = root.metadata.consolidated_metadata is not None
    raw = xr.open_zarr(
        store, group=name, mask_and_scale=False, consolidated=whole, decode_coords="all"
    )
    return raw[[x for x in variables if x in raw]]


def crop(raw: xr.Dataset, bbox: Bounds | None, crs: CRS, pixel: float) -> xr.Dataset:
    """The part of :func:`read_group`'s that was asked for and lies in ``bbox``, decoded, time ascending."""
    raw = _crop(raw, _bounds(raw, bbox, crs), pixel).sortby("time")
    bands = {name: x for name, x in raw.data_vars.items() if "scale_factor" in x.attrs}
    return _describe(raw.assign({name: _decode(x) for name, x in bands.items()}))


def _describe(cube: xr.Dataset) -> xr.Dataset:
    """Drop what describes the whole array or its file: coordinates place the crop, its user its chunks."""
    for x in (cube, *cube.data_vars.values()):
        for name in [n for n in x.attrs if n.startswith("spatial:") or n == "zarr_conventions"]:
            del x.attrs[name]
    for x in cube.data_vars.values():
        x.encoding = {"grid_mapping": "spatial_ref"}
        if x.dtype.kind == "f":
            x.encoding["_FillValue"] = np.float32(np.nan)
    return cube


def _bounds(raw: xr.Dataset, bbox: Bounds | None, crs: CRS) -> Bounds:
    left, bottom, right, top = raw.attrs["s2sharp"]["area"]
    if bbox is None:
        return left, bottom, right, top
    west, south, east, north = Transformer.from_crs(4326, crs, always_xy=True).transform_bounds(
        *bbox
    )
    return max(left, west), max(bottom, south), min(right, east), min(top, north)


def _crop(raw: xr.Dataset, bounds: Bounds, pixel: float) -> xr.Dataset:
    left, bottom, right, top = bounds
    step = pixel / 2 * (1 - 1e-6)
    inside = raw.sel(x=slice(left - step, right + step), y=slice(top + step, bottom - step))
    if 0 in (inside.sizes["x"], inside.sizes["y"]):
        raise S2SharpError(
            "outside",
            f"The area (left {left:.10g}, bottom {bottom:.10g}, right {right:.10g}, top {top:.10g}) does not "
            "meet the cube.",
            "Give W S E N in degrees.",
        )
    return inside


def _decode(x: xr.DataArray) -> xr.DataArray:
    """Integers → float32 (xarray's own decoding of a Zarr attribute would give float64)."""
    attributes = dict(x.attrs)
    fill = attributes.pop("_FillValue", FILL)
    scale = np.float32(attributes.pop("scale_factor"))
    y = x.where(x != fill).astype("float32") * scale
    y.attrs = attributes  # without what it was decoded with, else saving it would decode it twice
    return y
