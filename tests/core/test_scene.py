"""What a scene must be, what `sharpen` makes of it, and how either is refused."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from s2sharp_core import BANDS, S2SharpError, load_sharpener, make_scene, sharpen
from s2sharp_core.bands import BY_GSD, COARSE, GSDS
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.scene import locate
from s2sharp_core.sensor.simulate import landscape

from .scenes import NORTH, SOUTH, box_at, native, wild_dsen2

ROWS, COLS = 9, 8
BOX = box_at(ROWS, COLS)


@pytest.fixture(scope="module")
def seen():
    return native(landscape(BOX.pixels(10), seed=4242))


@pytest.fixture
def scene(seen):
    return make_scene(seen, NORTH, BOX)


def with_child(scene, gsd, change):
    """The scene with one child changed."""
    children = {f"r{g}m": scene[f"r{g}m"].to_dataset() for g in GSDS}
    children[f"r{gsd}m"] = change(children[f"r{gsd}m"])
    return xr.DataTree.from_dict({name: child for name, child in children.items() if child})


def refused(kind, scene, method="bicubic", **options):
    with pytest.raises(S2SharpError) as error:
        sharpen(scene, method, **options)
    assert error.value.kind == kind
    return str(error.value)


def test_all_twelve_bands_come_back_at_10_m(scene):
    result = sharpen(scene, "bicubic")
    assert tuple(result.data_vars) == tuple(BANDS)
    for band in BANDS:
        assert result[band].dims == ("y", "x")
        assert result[band].shape == (6 * ROWS, 6 * COLS)
        assert result[band].dtype == np.float32
    assert result.rio.crs.to_epsg() == 32633
    assert result.rio.resolution() == (10, -10)


def test_10_m_bands_are_the_satellites_own(scene):
    scene["r10m"]["B03"][2, 3] = np.nan
    result = sharpen(scene, "bicubic")
    for band in BY_GSD[10]:
        assert np.array_equal(result[band], scene[f"r10m/{band}"], equal_nan=True)


@pytest.mark.parametrize("bands", [["B05"], ["B12", "B01", "B04"], ["B08"], list(COARSE)])
def test_what_is_asked_for_comes_back_and_no_more(scene, bands):
    everything = sharpen(scene, "bicubic")
    result = sharpen(scene, "bicubic", bands=bands)
    assert set(result.data_vars) == set(bands)
    for band in bands:
        assert np.array_equal(result[band], everything[band])


def test_a_lazy_scene_stays_lazy_and_computes_to_the_same(scene, tmp_path):
    sharpener = wild_dsen2(tmp_path)
    eager = sharpen(scene, sharpener, window=8)
    lazy = sharpen(scene.chunk({"y": 7, "x": 11}), sharpener, window=8)
    assert all(isinstance(lazy[band].data, da.Array) for band in BANDS)
    xr.testing.assert_identical(lazy.compute(), eager)


def test_only_10_m_bands_need_no_method_at_work(seen):
    fine = make_scene({b: seen[b] for b in BY_GSD[10]}, NORTH, BOX)
    result = sharpen(fine, "dsen2")
    assert tuple(result.data_vars) == BY_GSD[10]


def test_a_net_without_the_band_it_reads_names_the_band(seen):
    lacking = make_scene({b: y for b, y in seen.items() if b not in ("B11", "B09")}, NORTH, BOX)
    assert "B11" in refused("band-missing", lacking, "dsen2", bands=["B05"])
    assert "B09" in refused("band-missing", lacking, "bicubic", bands=["B09"])
    assert tuple(sharpen(lacking, "bicubic", bands=["B05", "B12"]).data_vars) == ("B05", "B12")


def test_names_nobody_knows_are_refused_by_name(scene):
    assert "B10" in refused("band-unknown", scene, bands=["B10"])
    assert "'magic'" in refused("method-unknown", scene, "magic")
    assert "B01" in refused(
        "band-unknown", scene, load_sharpener("bicubic", ["B05"]), bands=["B01"]
    )


def test_a_sharpener_for_one_band_gives_that_band_beside_the_10_m_ones(scene):
    result = sharpen(scene, load_sharpener("bicubic", ["B05"]))
    assert tuple(result.data_vars) == ("B02", "B03", "B04", "B05", "B08")


def test_grids_that_cover_different_ground_are_cut_to_the_cells_they_share(scene):
    def cut(child):
        return child.isel(
            y=slice(7, None), x=slice(0, -1)
        )  # 10 m: into the second cell, out of the last

    smaller = with_child(scene, 10, cut)
    lattice, box, bands = locate(smaller)
    assert box == Box(BOX.row0 + 2, BOX.row1, BOX.col0, BOX.col1 - 1)
    assert lattice == NORTH
    for band, array in bands.items():
        assert array.shape == box.pixels(BANDS[band].gsd)
    result = sharpen(smaller, "bicubic", bands=["B02", "B01"])
    assert np.array_equal(result.x, lattice.coords(box, 10)[0])
    assert np.array_equal(result.y, lattice.coords(box, 10)[1])


@pytest.mark.parametrize("gsd", [10, 20])
@pytest.mark.parametrize("metres", [5, 0.5])
def test_a_grid_between_the_pixels_is_refused(scene, gsd, metres):
    moved = with_child(scene, gsd, lambda child: child.assign_coords(x=child.x + metres))
    assert f"r{gsd}m" in refused("off-lattice", moved)


def test_without_60_m_bands_the_lattice_is_that_of_the_code(seen):
    two = {b: y for b, y in seen.items() if BANDS[b].gsd < 60}
    lattice, box, _ = locate(make_scene(two, SOUTH, BOX))
    assert (lattice, box) == (SOUTH, BOX)


def test_a_shifted_lattice_is_taken_as_it_is(seen):
    """A simulated scene may lie anywhere, as long as its grids agree."""
    odd = Lattice.through(32633, 500_010.0, 5_000_033.0)
    scene = make_scene(seen, odd, BOX)
    assert locate(scene)[:2] == (odd, BOX)
    assert sharpen(scene, "bicubic", bands=["B05"]).x.equals(scene["r10m"].x)


def test_resampled_copies_are_refused(scene):
    copy = scene["r10m/B02"].values[::2, ::2]
    resampled = with_child(scene, 20, lambda child: child.assign(B02=(("y", "x"), copy)))
    assert "B02 lies in r20m" in refused("scene-malformed", resampled)


def test_numbers_before_scale_and_offset_are_refused(scene):
    raw = with_child(scene, 20, lambda child: (child * 10_000).astype(np.uint16))
    assert "uint16" in refused("scene-malformed", raw)


@pytest.mark.parametrize("mark", [-9999, -0.9999, 65535, 1e20, -3.4e38])
@pytest.mark.parametrize(("gsd", "band"), [(10, "B02"), (20, "B05")])
def test_a_mark_for_missing_data_that_is_no_nan_is_refused(scene, gsd, band, mark):
    """Else it spreads over what is near, or makes it NaN."""
    marked = scene[f"r{gsd}m"].to_dataset().copy(deep=True)
    marked[band][5, 7] = mark
    refused("scene-malformed", with_child(scene, gsd, lambda _: marked), "s2net-s")


def test_another_order_or_number_of_dimensions_is_refused(scene):
    assert "r60m/B01" in refused("scene-malformed", with_child(scene, 60, lambda c: c.transpose()))
    timed = with_child(scene, 60, lambda c: c.expand_dims("time"))
    assert "time" in refused("scene-malformed", timed)


def test_rows_from_south_to_north_are_refused(scene):
    assert "y should step by -20" in refused(
        "scene-malformed", with_child(scene, 20, lambda c: c.isel(y=slice(None, None, -1)))
    )


def test_a_scene_without_crs_is_refused(scene):
    bare = with_child(scene, 20, lambda c: c.drop_vars("spatial_ref"))
    assert "r20m has no CRS" in refused("scene-malformed", bare)


def test_bands_in_two_zones_are_refused(scene):
    mixed = with_child(scene, 60, lambda c: c.rio.write_crs(32634))
    assert "CRS" in refused("scene-malformed", mixed)


def test_grids_that_share_no_cell_are_refused(scene):
    away = with_child(scene, 60, lambda c: c.assign_coords(x=c.x + 60_000))
    assert "share no whole cell" in refused("scene-malformed", away)


def test_an_empty_tree_is_refused():
    assert "no band" in refused("scene-malformed", xr.DataTree())


def test_other_variables_of_a_product_are_no_bands(scene, seen):
    mask = np.zeros(seen["B05"].shape, dtype=np.uint8)
    more = with_child(scene, 20, lambda child: child.assign(SCL=(("y", "x"), mask)))
    assert tuple(sharpen(more, "bicubic").data_vars) == tuple(BANDS)


def test_windows_a_method_cannot_have_are_refused(scene, monkeypatch):
    sharpener = load_sharpener("bicubic", ["B05"])
    monkeypatch.setattr(type(sharpener), "period", 2)
    assert "5" in refused("bad-config", scene, sharpener, window=5)
