"""The cube: laid out once, and written shard by shard."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr
from s2sharp.cube.create import finish, lay_out
from s2sharp.cube.layout import FILL, LAYERS, encode
from s2sharp.cube.open import open_cube
from s2sharp.cube.write import write_shard

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .odd_cubes import (
    AREA,
    BANDS,
    NORTH,
    SMALL,
    SOUTH,
    TIMES,
    content,
    every_shard,
    layout_of,
    make,
    shard_data,
)


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
