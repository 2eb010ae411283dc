"""A scene from whatever an analyst has: the same pixels whoever opened them, or a refusal that says the line."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rioxarray
import s2sharp
import xarray as xr
from affine import Affine
from s2sharp.demo.synthetic import write_catalog, write_scenes

import s2sharp_core.sharpening
from s2sharp_core import BANDS
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.lattice import Box, Lattice

from .opened import COMMON, OFFSET, WHEN, loaded_by_odc, same, written
from .products import read, write_eopf, write_safe, zipped


@pytest.fixture(scope="module", params=[32633, 32756], ids=["north", "south"])
def item(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    return written(tmp_path_factory.mktemp("scene"), request.param)


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    return written(tmp_path_factory.mktemp("north"), 32633)


@pytest.fixture(scope="module")
def loaded(north: pystac.Item) -> list[xr.Dataset]:
    return loaded_by_odc(north)


def test_an_item_is_a_scene_that_is_read_when_it_is_asked_for(item: pystac.Item) -> None:
    scene = s2sharp.open_scene(item)
    assert scene["r10m/B02"].chunks is not None
    same(scene, item)
    same(s2sharp.open_scene(item.get_self_href()), item)
    same(s2sharp.open_scene([item.to_dict()], private=True), item)


@pytest.mark.parametrize("kind", ["safe", "zip", "eopf", "folder of a product"])
def test_a_product_is_a_scene(kind: str, item: pystac.Item, tmp_path: Path) -> None:
    product = {
        "safe": lambda: write_safe(tmp_path, item, "2A", -1000),
        "zip": lambda: zipped(write_safe(tmp_path, item, "2A", -1000)),
        "eopf": lambda: write_eopf(tmp_path, item, "2A", -0.1),
        "folder of a product": lambda: write_safe(tmp_path, item, "2A", -1000).parent,
    }[kind]()
    same(s2sharp.open_scene(product), item)


@pytest.mark.parametrize("scale", [float("nan"), 0, -1e-4, "1e-4"])
@pytest.mark.parametrize("offset", [0, float("inf"), {"B02": -0.1}])
def test_a_scale_and_an_offset_are_numbers(scale: object, offset: object) -> None:
    with pytest.raises(s2sharp.S2SharpError, match="scale should be one finite number above 0"):
        s2sharp.open_scene([], scale=scale, offset=offset)
    if offset != 0:
        with pytest.raises(s2sharp.S2SharpError, match="offset should be one finite number;"):
            s2sharp.open_scene([], scale=1e-4, offset=offset)


def test_a_folder_of_band_files_is_a_scene_once_their_offset_is_told(
    north: pystac.Item, tmp_path: Path
) -> None:
    safe = write_safe(tmp_path, north, "2A", -1000)
    images = tmp_path / "images"
    shutil.move(next(safe.glob("GRANULE/*/IMG_DATA")), images)
    with pytest.raises(s2sharp.S2SharpError, match=r"open_scene\(x, scale=1e-4, offset=-0.1\)"):
        s2sharp.open_scene(images)
    same(s2sharp.open_scene(images, **OFFSET), north)
    plain = tmp_path / "plain"
    plain.mkdir()
    for band in BANDS:
        shutil.copy(north.assets[band].get_absolute_href(), plain / f"{band}.tif")
    same(s2sharp.open_scene(plain, **OFFSET), north)


def test_what_lies_in_a_product_leads_to_the_product(north: pystac.Item, tmp_path: Path) -> None:
    """As other tools want it: its metadata, its granule, its images."""
    safe = write_safe(tmp_path, north, "2A", -1000)
    (granule,) = safe.glob("GRANULE/*")
    for path in (safe / "MTD_MSIL2A.xml", safe / "manifest.safe", granule, granule / "IMG_DATA"):
        same(s2sharp.open_scene(path), north)
    own = safe / "mine"
    own.mkdir()
    for band in BANDS:
        shutil.copy(north.assets[band].get_absolute_href(), own / f"{band}.tif")
    with pytest.raises(s2sharp.S2SharpError, match="offset"):
        s2sharp.open_scene(own)


def test_a_product_that_was_unpacked_into_a_folder_of_its_name_is_found(
    north: pystac.Item, tmp_path: Path
) -> None:
    safe = write_safe(tmp_path, north, "2A", -1000)
    outer = tmp_path / "unpacked" / safe.name
    shutil.copytree(safe, outer / safe.name)
    same(s2sharp.open_scene(outer), north)


def test_tiles_of_one_acquisition_are_a_scene(tmp_path: Path) -> None:
    lattice = Lattice.of(32633)
    corner = lattice.around((600_000, 5_400_000, 600_060, 5_400_060))
    box = Box(corner.row0, corner.row0 + 6, corner.col0, corner.col0 + 8)
    west, east = replace(box, col1=box.col0 + 5), replace(box, col0=box.col0 + 3)
    dn = {
        band: np.arange(np.prod(box.pixels(facts.gsd)), dtype=np.uint16).reshape(
            box.pixels(facts.gsd)
        )
        + 1
        for band, facts in BANDS.items()
    }
    items = write_scenes(tmp_path, dn, lattice, box, [west, east], WHEN, baseline="02.08")
    write_catalog(tmp_path, items)
    safes = [write_safe(tmp_path / "safe", item, "1C", 0) for item in items]
    scene = s2sharp.open_scene(safes)
    for band, facts in BANDS.items():
        np.testing.assert_allclose(scene[f"r{facts.gsd}m/{band}"], dn[band] * 1e-4, atol=1e-6)
    with pytest.raises(s2sharp.S2SharpError, match=r"not a product"):
        s2sharp.open_scene([safes[0], tmp_path / "B02.tif"])


def test_a_product_that_came_in_part_is_told_when_it_is_opened(
    north: pystac.Item, tmp_path: Path
) -> None:
    safe = write_safe(tmp_path, north, "2A", -1000)
    next(safe.rglob("*_B11_20m.jp2")).unlink()
    with pytest.raises(s2sharp.S2SharpError, match="for B11 at 20 m; found none") as error:
        s2sharp.open_scene(safe)
    bands = eval(error.value.remedy.partition("bands=")[2].partition(")")[0])
    assert set(bands) == set(BANDS) - {"B11"}
    assert "B11" not in s2sharp.open_scene(safe, bands=bands)["r20m"]
    cut = zipped(write_safe(tmp_path / "cut", north, "2A", -1000))
    cut.write_bytes(cut.read_bytes()[:-500])
    with pytest.raises(s2sharp.S2SharpError, match=r"incomplete zip.*download it again"):
        s2sharp.open_scene(cut)


def test_two_products_in_a_folder_are_not_one_scene(north: pystac.Item, tmp_path: Path) -> None:
    safe = write_safe(tmp_path, north, "2A", -1000)
    shutil.copytree(safe, tmp_path / "other.SAFE")
    with pytest.raises(s2sharp.S2SharpError, match="holds 2 products"):
        s2sharp.open_scene(tmp_path)


def test_what_odc_loads_by_resolution_is_a_scene(
    north: pystac.Item, loaded: list[xr.Dataset]
) -> None:
    same(s2sharp.open_scene(loaded, **OFFSET), north)
    renamed = [one.rename({b: COMMON[b] for b in one.data_vars}) for one in loaded]
    same(s2sharp.open_scene(renamed, **OFFSET), north)
    lazy = [odc.stac.load([north], bands=BY_GSD[gsd], resolution=gsd, chunks={}) for gsd in GSDS]
    assert s2sharp.open_scene(lazy, **OFFSET)["r20m/B05"].chunks is not None
    same(s2sharp.open_scene(lazy, **OFFSET), north)


def test_dn_without_an_offset_are_refused_with_the_line_that_tells_it(
    loaded: list[xr.Dataset],
) -> None:
    for one in (loaded, [x.chunk() for x in loaded]):
        with pytest.raises(s2sharp.S2SharpError, match=r"offset=-0\.1") as error:
            s2sharp.open_scene(one)
        assert error.value.kind == "offset-unknown"
    floats = [x.astype("float32") for x in loaded]
    for one in (floats, [x.chunk() for x in floats]):
        with pytest.raises(s2sharp.S2SharpError, match="not reflectance"):
            s2sharp.open_scene(one)


def test_offsets_in_attributes_or_encoding_are_believed(
    north: pystac.Item, loaded: list[xr.Dataset], tmp_path: Path
) -> None:
    about = {"scale_factor": 1e-4, "add_offset": -0.1}
    said = [
        x.assign({band: array.assign_attrs(about) for band, array in x.data_vars.items()})
        for x in loaded
    ]
    same(s2sharp.open_scene(said), north)
    # As CF files are opened: applied once, and not again.
    files = []
    for gsd, one in zip(GSDS, said, strict=True):
        one.to_zarr(tmp_path / f"{gsd}.zarr", consolidated=False)
        files.append(
            xr.open_zarr(tmp_path / f"{gsd}.zarr", decode_coords="all", consolidated=False)
        )
    scene = s2sharp.open_scene(files)
    truth = s2sharp.open_scene(said)
    for band, facts in BANDS.items():
        name = f"r{facts.gsd}m/{band}"
        there = ~np.isnan(truth[name])
        np.testing.assert_allclose(scene[name].where(there), truth[name].where(there), atol=1e-6)


def test_bands_on_one_grid_are_refused_with_the_load_that_is_native(north: pystac.Item) -> None:
    one = odc.stac.load([north], bands=list(BANDS), resolution=10)
    with pytest.raises(s2sharp.S2SharpError, match="Resampled") as error:
        s2sharp.open_scene(one, **OFFSET)
    line = error.value.remedy.partition("open_scene(")[2].partition("); or give")[0]
    scene = s2sharp.open_scene(eval(line, {"odc": odc, "item": north}), **OFFSET)
    same(scene, north)


def test_a_copy_beside_the_native_band_does_no_harm(
    north: pystac.Item, loaded: list[xr.Dataset]
) -> None:
    copy = odc.stac.load([north], bands=["B02"], resolution=20)
    same(s2sharp.open_scene([*loaded, copy], **OFFSET), north)


def test_several_times_are_refused(loaded: list[xr.Dataset]) -> None:
    twice = [xr.concat([x, x], "time") for x in loaded]
    with pytest.raises(s2sharp.S2SharpError, match=r"x.isel\(time=0\)"):
        s2sharp.open_scene(twice, **OFFSET)


def test_what_is_missing_is_told(loaded: list[xr.Dataset]) -> None:
    with pytest.raises(s2sharp.S2SharpError, match="lacks B08") as error:
        s2sharp.open_scene([loaded[0].drop_vars("B08"), loaded[1]], **OFFSET)
    assert "bands=['B02', 'B03'" in error.value.remedy
    few = s2sharp.open_scene(
        [loaded[0].drop_vars("B08"), loaded[1]], bands=["B02", "B05"], **OFFSET
    )
    assert set(s2sharp_core.scene.native(few)) == {"B02", "B05"}


def test_without_a_crs_nobody_knows_where_it_lies(loaded: list[xr.Dataset]) -> None:
    bare = [x.drop_vars("spatial_ref") for x in loaded]
    for one in bare:
        for array in one.data_vars.values():
            array.attrs.pop("grid_mapping", None)
            array.encoding.pop("grid_mapping", None)
    with pytest.raises(s2sharp.S2SharpError, match=r"rio.write_crs\(32633\)"):
        s2sharp.open_scene(bare, **OFFSET)


def test_a_grid_in_degrees_is_refused(north: pystac.Item) -> None:
    turned = odc.stac.load([north], bands=BY_GSD[10], crs=4326, resolution=1e-4)
    with pytest.raises(s2sharp.S2SharpError, match="degrees"):
        s2sharp.open_scene(turned, **OFFSET)


def test_a_grid_of_60_m_that_is_not_esas_is_refused_in_the_south(tmp_path: Path) -> None:
    """Snapped to multiples of 60 m, B01 and B09 would be moved by a third of a pixel there."""
    south = written(tmp_path, 32756)
    parts = [odc.stac.load([south], bands=BY_GSD[gsd], resolution=gsd) for gsd in GSDS]
    same(s2sharp.open_scene(parts, **OFFSET), south)
    snapped = [*parts[:2], parts[2].assign_coords(y=parts[2].y - 40)]
    with pytest.raises(s2sharp.S2SharpError, match="grid in EPSG:32756"):
        s2sharp.open_scene(snapped, **OFFSET)


def test_files_that_rioxarray_opened_are_a_scene(north: pystac.Item) -> None:
    files = {b: north.assets[b].get_absolute_href() for b in BANDS}
    opened = {b: rioxarray.open_rasterio(file) for b, file in files.items()}
    same(s2sharp.open_scene(opened, **OFFSET), north)
    with pytest.raises(s2sharp.S2SharpError, match="offset"):
        s2sharp.open_scene(opened)  # rioxarray writes a scale of 1 where a file says nothing
    masked = {b: rioxarray.open_rasterio(file, masked=True) for b, file in files.items()}
    same(s2sharp.open_scene(masked, **OFFSET), north)
    with pytest.raises(s2sharp.S2SharpError, match="Name it"):
        s2sharp.open_scene(list(opened.values()), **OFFSET)


def stacked(item: pystac.Item, gsd: int, corner: str) -> xr.DataArray:
    """As stackstac gives it: float64, NaN, (time, band, y, x), corners of pixels as coordinates by default."""
    names = BY_GSD[gsd]
    with rasterio.open(item.assets[names[0]].get_absolute_href()) as file:
        place, code = file.transform, file.crs.to_epsg()
    dn = np.stack([read(item, band) for band in names]).astype(float)
    data = np.where(dn == 0, np.nan, dn * 1e-4 - 0.1)[None]
    shift = 0.5 if corner == "center" else 0
    _, _, height, width = data.shape
    return xr.DataArray(
        data,
        dims=("time", "band", "y", "x"),
        coords={
            "time": [np.datetime64("2024-06-01T10:10:31", "ns")],
            "id": ("time", [item.id]),
            "band": [COMMON[band] for band in names],
            "x": place.c + gsd * (np.arange(width) + shift),
            "y": place.f - gsd * (np.arange(height) + shift),
            "epsg": code,
            "gsd": float(gsd),
        },
        attrs={"crs": f"epsg:{code}", "transform": Affine(*place[:6]), "resolution": gsd},
    )


@pytest.mark.parametrize("corner", ["topleft", "center"])
def test_what_stackstac_stacks_is_a_scene(corner: str, item: pystac.Item) -> None:
    parts = [stacked(item, gsd, corner) for gsd in GSDS]
    scene = s2sharp.open_scene(parts)
    for band, facts in BANDS.items():
        array = scene[f"r{facts.gsd}m/{band}"]
        with rasterio.open(item.assets[band].get_absolute_href()) as file:
            assert array.rio.transform() == file.transform
            dn = file.read(1).astype(float)
        truth = np.where(dn == 0, np.nan, dn * 1e-4 - 0.1)
        np.testing.assert_allclose(array.values, truth, atol=1e-6)


def test_corners_that_nothing_tells_from_centres_are_refused(item: pystac.Item) -> None:
    parts = [stacked(item, gsd, "topleft") for gsd in GSDS]
    for part in parts:
        del part.attrs["transform"]
    with pytest.raises(s2sharp.S2SharpError, match=r"assign_coords\(x=x.x \+ 5, y=x.y - 5\)"):
        s2sharp.open_scene(parts)


def test_an_item_of_a_stranger_reaches_no_file_of_this_machine(north: pystac.Item) -> None:
    document = north.to_dict()
    document["links"] = [{"rel": "self", "href": "/etc/hostname"}]
    with pytest.raises(s2sharp.S2SharpError, match="private=True") as error:
        s2sharp.open_scene(document)
    assert error.value.kind == "href-refused"


def test_what_is_no_scene_is_refused_by_name(tmp_path: Path) -> None:
    for what in (3, tmp_path, tmp_path / "nothing", {"B02": 3}, {}):
        with pytest.raises(s2sharp.S2SharpError):
            s2sharp.open_scene(what)


def test_a_part_is_cut_to_whole_cells(north: pystac.Item, loaded: list[xr.Dataset]) -> None:
    west, south, east, north_edge = north.bbox
    middle = (west + east) / 2, (south + north_edge) / 2
    bbox = (middle[0] - 0.002, middle[1] - 0.001, middle[0] + 0.002, middle[1] + 0.001)
    cut = s2sharp.open_scene(north, bbox=bbox)
    assert cut["r10m/B02"].shape[0] == 6 * cut["r60m/B01"].shape[0]
    assert cut["r60m/B01"].shape[0] < 8
    other = s2sharp.open_scene(loaded, bbox=bbox, **OFFSET)
    for gsd in GSDS:
        xr.testing.assert_equal(cut[f"r{gsd}m"].to_dataset(), other[f"r{gsd}m"].to_dataset())
    with pytest.raises(s2sharp.S2SharpError, match="does not meet"):
        s2sharp.open_scene(north, bbox=(0, 0, 1, 1))
