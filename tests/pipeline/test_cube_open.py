"""Opening a cube: it says where it lies and what it holds, to us and to others."""

import warnings
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
from s2sharp.cube.layout import FILL, LAYERS, encode
from s2sharp.cube.open import open_cube

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from .odd_cubes import AREA, BANDS, NORTH, SMALL, SOUTH, TIMES, layout_of, make, world


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
