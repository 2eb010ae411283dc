"""The cube: laid out once, written shard by shard, and opened by us and by others alike."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
import zarr
import zarr_cm
from pyproj import Transformer
from s2sharp.cube.create import finish, lay_out
from s2sharp.cube.layout import FILL, LAYERS, Layout, encode
from s2sharp.cube.open import open_cube
from s2sharp.cube.overviews import _halve
from s2sharp.cube.write import read_part, write_shard

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

BANDS = ("B02", "B05")
NORTH, SOUTH = 32633, 32733
# Neither a whole number of shards nor of overview pixels, and not in order of time.
AREA = Box(47_670, 47_689, 12_005, 12_018)
TIMES = ("2024-06-11T10:10:31", "2024-06-01T10:10:31", "2024-06-06T10:10:31")
SMALL = {"area": Box(47_670, 47_678, 12_005, 12_012), "times": TIMES[:1]}


def layout_of(epsg: int = NORTH, area: Box = AREA, **more: Any) -> Layout:
    about = {"shard": 8, "chunk": 24, "times": TIMES, "bands": BANDS}
    return Layout(epsg, area, **{**about, **more})


def world(name: str, cells: Box, time: str) -> np.ndarray:
    """What the cube holds at a place and time, whatever its shape: odd numbers, gaps among them."""
    rows = np.arange(cells.row0 * 6, cells.row1 * 6)[:, None]
    cols = np.arange(cells.col0 * 6, cells.col1 * 6)[None, :]
    mixed = (rows * 7_919 + cols * 104_729 + (rows * cols) % 9_973 + 31 * int(time[8:10])) % 45_007
    if name in LAYERS:
        return (mixed % 2).astype(LAYERS[name][0])
    dn = mixed - (9_000 if name == "B02" else 12_000)
    return np.where(mixed % 7 == 0, FILL, dn).astype(np.int16)


def shard_data(layout: Layout, time: int, row: int, col: int) -> dict[str, np.ndarray]:
    cells, when = layout.cells(row, col), layout.times[time]
    return {name: world(name, cells, when) for name in (*layout.bands, *LAYERS)}


def every_shard(layout: Layout, level: int = 0) -> list[tuple[int, int, int]]:
    rows, cols = layout.shards(level)
    return [(t, r, c) for t in range(len(layout.times)) for r in range(rows) for c in range(cols)]


def make(out: Path, *layouts: Layout, overviews: bool = False) -> Path:
    store = out / "cube.zarr"
    lay_out(store, layouts, {layout.group: {"method": "none"} for layout in layouts})
    for layout in layouts:
        for time, row, col in every_shard(layout):
            write_shard(store, layout, time, row, col, shard_data(layout, time, row, col))
        for level in range(1, layout.levels + 1) if overviews else ():
            for time, row, col in every_shard(layout, level):
                data = halved(store, layout, time, row, col, level)
                write_shard(store, layout, time, row, col, data, level)
    finish(store, "complete")
    return store


def halved(store: Path, layout: Layout, time: int, row: int, col: int, level: int) -> dict:
    """As a unit of an overview does it: the shard's pixels from those of the level below."""
    below = [
        slice(2 * s.start, min(2 * s.stop, n))
        for s, n in zip(layout.place(row, col, level), layout.shape(level - 1), strict=True)
    ]
    fine = read_all(store, layout, time, below[0], below[1], level - 1)
    return {name: _halve(name, x) for name, x in fine.items()}


def read_all(store, layout, time, rows, cols, level):
    names = (*layout.bands, *LAYERS)
    return {n: read_part(store, layout, n, time, (rows, cols), level) for n in names}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(kind: str, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(S2SharpError) as caught:
        open_cube(*args, **kwargs)
    assert caught.value.kind == kind
    assert caught.value.remedy
    return caught.value.message


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """A cube of two EPSG codes with overviews; not to be changed."""
    folder = tmp_path_factory.mktemp("out")
    make(folder, layout_of(NORTH), layout_of(SOUTH), overviews=True)
    return folder


# Layout


@pytest.mark.parametrize("epsg", [NORTH, SOUTH])
def test_the_same_place_lies_in_the_same_shard_of_any_cube(epsg):
    rng = np.random.default_rng(3)
    seen: dict[tuple[int, int], set[Box]] = {}
    for _ in range(30):
        row, col = int(rng.integers(-20, 100_020)), int(rng.integers(-20, 20))
        height, width = (int(n) for n in rng.integers(1, 40, 2))
        layout = layout_of(epsg, Box(row, row + height, col, col + width))
        rows, cols = layout.shards()
        shards = [layout.cells(r, c) for r in range(rows) for c in range(cols)]
        assert layout.box.contains(layout.area)
        assert (layout.box.row0 % 8, layout.box.col0 % 8) == (0, 0)
        for cells in shards:
            assert cells.shape == (8, 8)
            seen.setdefault((cells.row0 // 8, cells.col0 // 8), set()).add(cells)
    assert all(len(boxes) == 1 for boxes in seen.values())


@pytest.mark.parametrize("epsg", [NORTH, SOUTH])
def test_a_shard_of_the_same_place_holds_the_same_bytes_in_any_cube(tmp_path, epsg):
    one = layout_of(epsg, times=TIMES[:1])
    other = Box(AREA.row0 - 9, AREA.row0 + 9, AREA.col0 + 4, AREA.col0 + 18)
    two = layout_of(epsg, other, times=TIMES[:1])
    stores = make(tmp_path / "one", one), make(tmp_path / "two", two)
    shared = 0
    for row, col in np.ndindex(one.shards()):
        cells = one.cells(row, col)
        at = (cells.row0 - two.box.row0) // 8, (cells.col0 - two.box.col0) // 8
        if not two.box.contains(cells):
            continue
        shared += 1
        for band in BANDS:
            first = stores[0] / one.group / band / "c" / "0" / str(row) / str(col)
            second = stores[1] / two.group / band / "c" / "0" / str(at[0]) / str(at[1])
            assert first.read_bytes() == second.read_bytes()
    assert shared >= 2


def test_shards_tile_every_level_without_gap_or_overlap():
    for area in (AREA, Box(0, 1, 0, 70), Box(-9, 30, 5, 6)):
        for shard, chunk in ((8, 24), (10, 60), (8, 48), (7, 6)):
            layout = layout_of(area=area, shard=shard, chunk=chunk)
            for level in range(layout.levels + 1):
                times = np.zeros(layout.shape(level), dtype=int)
                for _, row, col in every_shard(replace(layout, times=TIMES[:1]), level):
                    rows, cols = layout.place(row, col, level)
                    assert rows.stop > rows.start
                    assert cols.stop > cols.start
                    assert rows.stop - rows.start <= shard * 6
                    times[rows, cols] += 1
                assert (times == 1).all()
            last = max(layout.shape(layout.levels))
            assert last <= chunk or last % 2
            assert layout.levels == 0 or 2 * last > chunk


def test_a_shard_that_is_no_whole_number_of_chunks_is_refused():
    for shard, chunk in ((8, 36), (8, 96), (512, 1000)):
        with pytest.raises(S2SharpError) as caught:
            layout_of(shard=shard, chunk=chunk)
        assert caught.value.kind == "bad-config"
        assert str(chunk) in caught.value.message
        assert "--shard" in caught.value.remedy
    assert layout_of(shard=512, chunk=512).levels == 3


# Writing


def test_numbers_are_rounded_then_clipped_then_cast():
    y = np.array(
        [
            0,
            0.12344,
            0.12346,
            2.0,
            3.2767,
            5.0,
            np.inf,
            -0.05,
            -3.2767,
            -9.0,
            -np.inf,
            np.nan,
            -0.00004,
        ],
        dtype=np.float32,
    )
    expected = [
        0,
        1234,
        1235,
        20_000,
        32_767,
        32_767,
        32_767,
        -500,
        -32_767,
        -32_767,
        -32_767,
        FILL,
        0,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dn = encode(y)
    assert dn.dtype == np.int16
    np.testing.assert_array_equal(dn, expected)


def test_what_a_cube_can_hold_comes_back_exactly(tmp_path):
    layout = layout_of(area=Box(0, 43, 0, 43), shard=43, chunk=258, times=TIMES[:1], bands=("B02",))
    dn = np.resize(np.arange(FILL, 32_768), (258, 258)).astype(np.int16)
    store = tmp_path / "cube.zarr"
    lay_out(store, [layout], {layout.group: {}})
    layers = {name: np.zeros(dn.shape, dtype=kind) for name, (kind, _, _) in LAYERS.items()}
    write_shard(store, layout, 0, 0, 0, {"B02": dn, **layers})
    y = open_cube(tmp_path)["B02"][0].values
    assert y.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(y), dn == FILL)
    np.testing.assert_array_equal(encode(y), dn)


def spoiled(data: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    smaller = {**data, "B05": data["B05"][:-1]}
    larger = {**data, "B02": np.pad(data["B02"], 1)}
    flat = {**data, "cloud": data["cloud"].ravel()}
    lacking = {name: x for name, x in data.items() if name != "B05"}
    bare = {name: x for name, x in data.items() if name not in LAYERS}
    more = {**data, "B11": data["B05"]}
    return [smaller, larger, flat, lacking, bare, more, {}]


def test_a_part_of_a_shard_is_refused_before_a_byte_moves(tmp_path):
    layout = layout_of(**SMALL)
    store = make(tmp_path, layout)
    before = content(store)
    other = {name: x + 1 for name, x in shard_data(layout, 0, 1, 1).items()}
    for data in spoiled(other):
        with pytest.raises(S2SharpError) as caught:
            write_shard(store, layout, 0, 1, 1, data)
        assert caught.value.kind == "partial-shard"
        assert "(1, 1)" in caught.value.message
    for row, col in ((99, 0), (0, 99)):
        with pytest.raises(S2SharpError) as caught:
            write_shard(store, layout, 0, row, col, other)
        assert caught.value.kind == "partial-shard"
    assert content(store) == before


def test_writing_a_shard_twice_is_harmless_and_touches_no_other(tmp_path):
    layout = layout_of(**{**SMALL, "times": TIMES[:2]})
    store = make(tmp_path, layout)
    before = content(store)
    data = shard_data(layout, 1, 1, 0)
    write_shard(store, layout, 1, 1, 0, data)
    assert content(store) == before
    write_shard(store, layout, 1, 1, 0, {name: x ^ 1 for name, x in data.items()})
    changed = {name for name, bytes_ in content(store).items() if bytes_ != before[name]}
    assert changed == {f"{layout.group}/{name}/c/1/1/0" for name in data}


def test_eight_writers_at_once_leave_no_shard_torn(tmp_path):
    layout = layout_of()
    whole = content(make(tmp_path / "one", layout))
    store = tmp_path / "all" / "cube.zarr"
    lay_out(store, [layout], {layout.group: {"method": "none"}})
    # Each twice, as a retry or a zombie would.
    todo = every_shard(layout) * 2
    np.random.default_rng(1).shuffle(todo)
    looks = []

    def write(at: tuple[int, int, int]) -> None:
        data = shard_data(layout, *at)
        write_shard(store, layout, *at, data)
        names = ("/".join([layout.group, name, "c", *map(str, at)]) for name in data)
        looks.extend((name, (store / name).read_bytes()) for name in names)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, todo))
    finish(store, "complete")
    assert content(store) == whole
    assert all(whole[name] == seen for name, seen in looks)


def test_an_empty_shard_takes_no_room_and_takes_back_what_was_there(tmp_path):
    layout = layout_of(**SMALL)
    store = make(tmp_path, layout)
    nothing = {band: np.full((48, 48), FILL, dtype=np.int16) for band in BANDS}
    nothing |= {name: np.zeros((48, 48), dtype=kind) for name, (kind, _, _) in LAYERS.items()}
    write_shard(store, layout, 0, 0, 0, nothing)
    assert not list((store / layout.group).glob("*/c/0/0/0"))
    opened = xr.open_zarr(store, group=layout.group)
    assert np.isnan(opened.B02[0, :48, :48]).all()
    assert not opened.valid[0, :48, :48].any()


def test_a_cube_says_complete_only_when_it_is_finished(tmp_path):
    layout = layout_of(**SMALL)
    store = tmp_path / "cube.zarr"
    lay_out(store, [layout], {layout.group: {}})

    def said() -> tuple[str, bool]:
        root = zarr.open_group(store, mode="r")
        return root.attrs["s2sharp"]["status"], root.metadata.consolidated_metadata is not None

    assert said() == ("writing", False)
    write_shard(store, layout, 0, 0, 0, shard_data(layout, 0, 0, 0))
    assert said() == ("writing", False)
    finish(store, "partial")
    assert said() == ("partial", True)
    finish(store, "complete", {"TAKE": {"ucnn.safetensors": "5ha"}})
    assert said() == ("complete", True)
    plain = zarr.open_group(store, mode="r", use_consolidated=False)
    weights = {"TAKE": {"ucnn.safetensors": "5ha"}}
    assert plain.attrs["s2sharp"] == {"format": 1, "status": "complete", "weights": weights}
    names = set(zarr.open_group(store, mode="r").metadata.consolidated_metadata.flattened_metadata)
    # It knows every array, and is a run's last word: readers need nothing else.
    there = {str(p.parent.relative_to(store)) for p in store.rglob("zarr.json")} - {"."}
    assert names == there


def test_a_cube_is_laid_out_whole_or_not_at_all(tmp_path):
    store, layouts = tmp_path / "cube.zarr", [layout_of(NORTH, **SMALL), layout_of(SOUTH, **SMALL)]
    with pytest.raises(KeyError):
        lay_out(store, layouts, {str(NORTH): {}})  # as if it were killed half-way
    assert not store.exists()
    lay_out(store, layouts, {str(NORTH): {}, str(SOUTH): {}})
    write_shard(store, layouts[1], 0, 0, 0, shard_data(layouts[1], 0, 0, 0))
    before = content(store)
    lay_out(store, layouts, {str(NORTH): {}, str(SOUTH): {}})
    assert content(store) == before, "a cube that is there is never laid out over"


def test_a_cube_can_be_looked_at_while_it_is_written(tmp_path):
    layout = layout_of()
    store = tmp_path / "cube.zarr"
    lay_out(store, [layout], {layout.group: {}})
    write_shard(store, layout, 1, 0, 0, shard_data(layout, 1, 0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cube = open_cube(tmp_path)
    first = cube.B02.sel(time=TIMES[1])
    assert np.isfinite(first).any()
    assert np.isnan(cube.B02.sel(time=TIMES[0])).all()


# Metadata


def test_every_array_says_where_it_lies_by_both_conventions(out):
    for epsg in (NORTH, SOUTH):
        layout = layout_of(epsg)
        for level in range(layout.levels + 1):
            group = zarr.open_group(
                out / "cube.zarr", path=f"{epsg}/x{2**level}" if level else str(epsg)
            )
            arrays = {name: a for name, a in group.arrays() if a.ndim == 3}
            assert set(arrays) == {*BANDS, *LAYERS}
            left, _, _, top = Lattice.of(epsg).bounds(layout.box)
            for node in (group, *arrays.values()):
                attrs = dict(node.attrs)
                zarr_cm.validate_all(attrs)
                assert len(zarr_cm.detect_revisions(attrs)) == 2
                assert None not in zarr_cm.detect_revisions(attrs).values()
                assert attrs["proj:code"] == f"EPSG:{epsg}"
                step = 10 * 2**level
                assert attrs["spatial:transform"] == [step, 0, left, 0, -step, top]
                assert attrs["spatial:shape"] == list(layout.shape(level))
                assert attrs["spatial:dimensions"] == ["y", "x"]
            for array in arrays.values():
                assert list(array.shape[1:]) == array.attrs["spatial:shape"]
                assert array.metadata.dimension_names == ("time", "y", "x")
                assert array.attrs["grid_mapping"] == "spatial_ref"
                zarr_cm.spatial.validate_array_metadata(array.metadata.to_dict())


def test_bands_say_how_they_are_stored_and_layers_what_they_mean(out):
    group = zarr.open_group(out / "cube.zarr", path=str(NORTH))
    for band in BANDS:
        array = group[band]
        assert (array.dtype, array.fill_value) == (np.int16, FILL)
        assert array.attrs["_FillValue"] == FILL
        assert array.attrs["scale_factor"] == 1e-4
        assert "add_offset" not in array.attrs
        assert (array.shards, array.chunks) == ((1, 48, 48), (1, 24, 24))
    cloud = group["cloud"].attrs
    assert len(cloud["flag_meanings"].split()) == len(cloud["flag_values"]) == 12
    assert group.attrs["s2sharp"]["method"] == "none"


@pytest.mark.parametrize("epsg", [NORTH, SOUTH])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_others_open_it_without_us(out, epsg, level):
    """Plain xarray: values, coordinates, and where on Earth."""
    layout = layout_of(epsg)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cube = xr.open_zarr(out / "cube.zarr", group=f"{epsg}/x{2**level}" if level else str(epsg))
    step = 10 * 2**level
    left, _, _, top = layout.lattice.bounds(layout.box)
    assert cube.B02.rio.crs.to_epsg() == epsg
    assert cube.rio.crs.to_epsg() == epsg
    assert tuple(cube.rio.transform())[:6] == (step, 0, left, 0, -step, top)
    assert cube.odc.geobox.crs.epsg == epsg
    assert tuple(cube.odc.geobox.transform)[:6] == (step, 0, left, 0, -step, top)
    assert set(cube.data_vars) == {*BANDS, *LAYERS}
    assert [str(t)[:19] for t in cube.time.values] == list(TIMES)
    if level == 0:
        dn = world("B05", layout.box, TIMES[0])
        expected = np.where(dn == FILL, np.nan, dn / 10_000)
        np.testing.assert_allclose(cube.B05[0], expected, rtol=1e-12)
        np.testing.assert_array_equal(cube.cloud[0], world("cloud", layout.box, TIMES[0]))
        assert cube.cloud.dtype == np.uint8


# Opening


def check_geometry(cube: xr.Dataset, epsg: int, box: Box) -> None:
    """All that tells where a cube lies agrees with the lattice."""
    lattice = Lattice.of(epsg)
    transform = lattice.transform(box, 10)
    x, y = lattice.coords(box, 10)
    np.testing.assert_array_equal(cube.x, x)
    np.testing.assert_array_equal(cube.y, y)
    for part in (cube, cube.B02, cube.valid):
        assert part.rio.crs.to_epsg() == epsg
        assert tuple(part.rio.transform())[:6] == transform
        assert part.rio.bounds() == lattice.bounds(box)
        assert part.odc.geobox.crs.epsg == epsg
        assert tuple(part.odc.geobox.transform)[:6] == transform
        assert part.odc.geobox.shape == box.pixels(10)
        assert not [key for key in part.attrs if key.startswith("spatial:")]


@pytest.mark.parametrize("epsg", [NORTH, SOUTH])
def test_a_cube_opens_as_the_area_that_was_asked_for(out, epsg):
    cube = open_cube(out, epsg=epsg)
    assert set(cube.data_vars) == {*BANDS, *LAYERS}
    check_geometry(cube, epsg, AREA)
    for name, x in cube.data_vars.items():
        assert x.dims == ("time", "y", "x")
        assert x.chunks is not None, "lazy"
        assert x.dtype == (np.float32 if name in BANDS else np.dtype(LAYERS[name][0]))
    assert [str(t)[:19] for t in cube.time.values] == sorted(TIMES)
    for index, time in enumerate(sorted(TIMES)):
        for band in BANDS:
            dn = world(band, AREA, time)
            y = cube[band][index].values
            np.testing.assert_array_equal(np.isnan(y), dn == FILL)
            np.testing.assert_array_equal(encode(y), dn)
            np.testing.assert_allclose(y, np.where(dn == FILL, np.nan, dn / 10_000), rtol=2e-7)
        for layer in LAYERS:
            np.testing.assert_array_equal(cube[layer][index], world(layer, AREA, time))


def test_the_store_itself_may_be_named(out):
    assert open_cube(out / "cube.zarr", epsg=NORTH).identical(open_cube(str(out), epsg=NORTH))


@pytest.mark.parametrize("epsg", [NORTH, SOUTH])
def test_a_box_crops_before_anything_is_read(out, epsg):
    inner = Box(AREA.row0 + 5, AREA.row0 + 9, AREA.col0 + 3, AREA.col0 + 9)
    left, bottom, right, top = Lattice.of(epsg).bounds(inner)
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    # A little smaller than the cells, since a box in degrees is none in metres.
    bbox = to_degrees.transform_bounds(left + 21, bottom + 21, right - 21, top - 21)
    cube = open_cube(out, epsg=epsg, bbox=bbox)
    whole = open_cube(out, epsg=epsg)
    assert cube.identical(whole.sel(x=cube.x, y=cube.y))
    west, south, east, north = cube.rio.bounds()
    wanted = Transformer.from_crs(4326, epsg, always_xy=True).transform_bounds(*bbox)
    for edge, line in zip(
        (west, south, -east, -north), np.multiply(wanted, (1, 1, -1, -1)), strict=True
    ):
        assert line - 10 < edge <= line + 1e-6
    assert cube.odc.geobox.shape == cube.B02.shape[1:]
    assert tuple(cube.rio.transform())[:6] == (10, 0, west, 0, -10, north)
    assert (west - left) % 10 == 0
    assert (top - north) % 10 == 0


def test_a_box_may_reach_beyond_the_cube_but_not_lie_beside_it(out):
    everything = open_cube(out, epsg=NORTH, bbox=(5, -89, 30, 89))
    assert everything.sizes == open_cube(out, epsg=NORTH).sizes
    assert "does not meet" in refused("outside", out, epsg=NORTH, bbox=(40, 10, 41, 11))


def test_of_several_codes_one_has_to_be_chosen(out):
    said = refused("epsg-missing", out)
    assert str(NORTH) in said
    assert str(SOUTH) in said
    assert "32634" in refused("epsg-missing", out, epsg=32634)


def test_a_single_code_needs_no_choosing(tmp_path):
    make(tmp_path, layout_of(SOUTH, **SMALL))
    assert open_cube(tmp_path).rio.crs.to_epsg() == SOUTH
    assert str(SOUTH) in refused("epsg-missing", tmp_path, epsg=NORTH)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_overviews_open_on_the_same_ground(out, level):
    layout = layout_of(SOUTH)
    cube = open_cube(out, epsg=SOUTH, level=level)
    step = 10 * 2**level
    left, bottom, right, top = layout.lattice.bounds(AREA)
    west, south, east, north = cube.rio.bounds()
    assert cube.rio.resolution() == (step, -step)
    assert cube.odc.geobox.resolution.x == step
    assert left - step < west <= left
    assert bottom - step < south <= bottom
    assert right <= east < right + step
    assert top <= north < top + step
    origin = layout.lattice.bounds(layout.box)
    assert (west - origin[0]) % step == 0
    assert (origin[3] - north) % step == 0
    assert [str(t)[:19] for t in cube.time.values] == sorted(TIMES)


def test_there_are_no_overviews_but_those_there_are(out):
    for level in (4, 9, -1):
        assert str(level) in refused("outside", out, epsg=NORTH, level=level)


@pytest.mark.parametrize("how", ["loaded", "rechunked"])
def test_what_was_opened_can_be_saved_again(out, tmp_path, how):
    cube = open_cube(out, epsg=NORTH)
    for band in BANDS:
        assert not {"_FillValue", "scale_factor"} & set(cube[band].attrs), "it is decoded"
        assert cube[band].attrs["long_name"] == f"{band} reflectance"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata")
        whole = cube.load() if how == "loaded" else cube.chunk(y=36, x=42)
        whole.to_zarr(tmp_path / "copy.zarr")
    copy = xr.open_zarr(tmp_path / "copy.zarr", decode_coords="all")
    xr.testing.assert_equal(copy.load(), cube.load())
    for part in (copy, copy.B02, copy.cloud):
        assert part.rio.crs.to_epsg() == NORTH
    assert tuple(copy.rio.transform())[:6] == Lattice.of(NORTH).transform(AREA, 10)


@pytest.mark.parametrize(
    "what", ["nothing", "folder", "file", "other zarr", "array", "torn", "foreign", "odd"]
)
def test_what_is_no_cube_is_told(tmp_path, what):
    store = tmp_path / "cube.zarr"
    if what == "folder":
        store.mkdir()
    elif what == "file":
        store.write_text("cube")
    elif what == "other zarr":
        zarr.open_group(store, mode="w")
    elif what == "array":
        zarr.create_array(store, shape=(3,), dtype="i2")
    elif what == "torn":
        make(tmp_path, layout_of(**SMALL))
        (store / "zarr.json").write_text((store / "zarr.json").read_text()[:100])
    elif what == "foreign":
        zarr.open_group(store, mode="w", zarr_format=2).attrs["title"] = "else"
    elif what == "odd":
        zarr.open_group(store, mode="w").attrs["s2sharp"] = "0.1"
    assert str(tmp_path) in refused("not-a-cube", tmp_path)


def test_a_cube_of_a_newer_format_is_refused(tmp_path):
    store = make(tmp_path, layout_of(**SMALL))
    zarr.open_group(store, mode="r+").attrs["s2sharp"] = {"format": 2, "status": "complete"}
    said = refused("not-a-cube", tmp_path)
    assert "format 2" in said


# Overviews


def by_hand(name: str, x: np.ndarray) -> np.ndarray:
    """Means of two by two pixels that have data; a leftover row or column stands alone."""
    padded = np.pad(x.astype(float), [(0, n % 2) for n in x.shape], constant_values=np.nan)
    if name not in LAYERS:
        padded[padded == FILL] = np.nan
    quads = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    if name in ("valid", "saturated"):
        return np.nanmax(quads, axis=(1, 3))
    if name in LAYERS:
        return quads[:, 0, :, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.rint(np.nanmean(quads, axis=(1, 3)))
    return np.where(np.isnan(mean), FILL, mean)


def test_overviews_are_means_of_what_has_data():
    x = np.full((4, 6), FILL, dtype=np.int16)
    x[0, 0], x[0, 2:4], x[1, 2] = -500, (100, 201), 300
    x[2:, 4:] = 32_767
    x[2, 0], x[2, 1], x[3, 0] = -32_767, -32_767, -32_767
    np.testing.assert_array_equal(_halve("B05", x), [[-500, 200, FILL], [-32_767, FILL, 32_767]])
    flags = (x > 0).astype(np.uint8)
    np.testing.assert_array_equal(_halve("valid", flags), [[0, 1, 0], [0, 0, 1]])
    classes = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(_halve("cloud", classes), classes[::2, ::2])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(40, 64), (41, 7), (1, 1)])
def test_overviews_are_these_means_whether_all_some_or_none_has_data(share, shape):
    rng = np.random.default_rng(3)
    x = rng.integers(FILL + 1, 32_767, shape, dtype=np.int16, endpoint=True)
    x[rng.random(shape) < share] = FILL
    halved = _halve("B05", x)
    assert halved.dtype == np.int16
    np.testing.assert_array_equal(halved, by_hand("B05", x))


@pytest.mark.parametrize(
    ("area", "shard", "chunk"),
    [
        (AREA, 8, 24),
        # 480 × 60 px: the narrow side is odd before the wide one fits into a chunk.
        (Box(0, 10, 0, 80), 10, 60),
        (Box(3, 75, 4, 12), 9, 27),
        (Box(0, 5, 0, 5), 8, 48),
    ],
)
def test_every_overview_is_made_of_the_whole_level_below(tmp_path, area, shard, chunk):
    layout = layout_of(area=area, shard=shard, chunk=chunk, times=TIMES[:1])
    store = make(tmp_path, layout, overviews=True)
    for level in range(1, layout.levels + 1):
        everything = slice(None), slice(None)
        below = read_all(store, layout, 0, *everything, level - 1)
        above = read_all(store, layout, 0, *everything, level)
        for name in (*BANDS, *LAYERS):
            assert above[name].shape == layout.shape(level)
            np.testing.assert_array_equal(above[name], by_hand(name, below[name]))
            assert above[name].dtype == below[name].dtype
    finest = read_all(store, layout, 0, slice(None), slice(None), 0)
    np.testing.assert_array_equal(finest["B02"], world("B02", layout.box, TIMES[0]))
