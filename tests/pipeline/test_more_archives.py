"""Twelve archives and formats are understood by the shape of their items, each band at its native resolution."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pystac
import pytest
import zarr
from s2sharp.catalog.documents import item_of
from s2sharp.catalog.local_products import product_item
from s2sharp.catalog.metadata import baseline, datastrip, datatake, epsg, tile
from s2sharp.catalog.sources import sources
from s2sharp.scenes.acquisition import find, group
from s2sharp.scenes.item_files import write_items
from s2sharp.scenes.read import Files, load_block

from s2sharp_core.bands import BANDS
from s2sharp_core.errors import S2SharpError

from . import items, more_items
from .pictures import box_at, join, noise, scenes
from .products import write_eopf

ARCHIVES: dict[str, Callable[..., items.Document]] = {
    "Earth Search sentinel-2-l2a": items.earth_search,
    "Earth Search sentinel-2-c1-l2a": items.earth_search_c1,
    "Earth Search sentinel-2-l1c": items.earth_search_l1c,
    "Earth Search without COGs": more_items.earth_search_without_cogs,
    "Earth Search v0": more_items.earth_search_v0,
    "Digital Earth Africa": more_items.deafrica,
    "Planetary Computer": items.planetary_computer,
    "CDSE": items.cdse,
    "EOPF Sample Service": more_items.eopf_sample,
    "EOPF Sample Service, groups": more_items.eopf_groups,
    "EOPF Explorer": more_items.eopf_explorer,
}
every = pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)


def item(document: items.Document) -> pystac.Item:
    return item_of(document, None)


@every
def test_all_twelve_bands_are_found_and_make_a_scene_without_a_request(make):
    """Of each archive, what the item says will do: nothing here can be reached."""
    made = item(make())
    found = find(made, list(BANDS), "https://example.org/stac")
    assert [source.band for source in found.scene.sources] == list(BANDS)
    assert found.scene.box.shape == (1830, 1830)
    assert found.scene.tile == "33UWP"
    assert epsg(made) == 32633
    assert baseline(made) is not None
    for source in found.scene.sources:
        assert source.scale == 0.0001
        if ".zarr" in source.href:
            gsd = BANDS[source.band].gsd
            assert source.href.endswith(f"/reflectance/r{gsd}m/{source.band.lower()}")


@every
def test_what_is_frozen_of_an_item_says_the_same(tmp_path, make):
    made = item(make())
    file = tmp_path / "items.parquet"
    before, refused, _ = write_items(file, [made], list(BANDS), "https://example.org/stac")
    assert not refused
    from s2sharp.catalog.search import search

    frozen = list(search(str(file), made.collection_id or "", (-180, -90, 180, 90), "2015/.."))
    after, refused, _ = group(frozen, list(BANDS), "https://example.org/stac")
    assert not refused
    assert [a.id for a in after] == [a.id for a in before]
    one, two = after[0].scenes[0], before[0].scenes[0]
    assert one.digest == two.digest
    assert [(s.href, s.nodata, s.signed) for s in one.sources] == [
        (s.href, s.nodata, s.signed) for s in two.sources
    ]


def radiometry(document: items.Document) -> set[tuple[float, float]]:
    return {(s.scale, s.offset) for s in sources(item(document), BANDS).values()}


@pytest.mark.parametrize(
    ("document", "offset"),
    [
        (more_items.eopf_sample(), -0.1),
        (more_items.eopf_groups(), -0.1),
        (more_items.eopf_explorer(), -0.1),
        (more_items.earth_search_v0(), 0.0),
        (more_items.earth_search_v0(baseline="04.00"), -0.1),
        (
            more_items.earth_search_v0(baseline="04.00", **{"sentinel:boa_offset_applied": True}),
            0.0,
        ),
        (more_items.deafrica(), 0.0),
        (more_items.deafrica(applied=False), -0.1),
        (more_items.earth_search_without_cogs(), -0.1),
    ],
)
def test_each_tells_its_offset_in_its_own_way(document, offset):
    assert radiometry(document) == {(0.0001, offset)}


@pytest.mark.parametrize(
    ("document", "take"),
    [
        (more_items.eopf_sample(), "S2A_20251113T102311"),
        (more_items.eopf_explorer(), "S2A_20260920T100029"),
        (more_items.earth_search_v0(), "S2A_20200714T100031"),
        (more_items.deafrica(), "S2A_20230103T100031"),
        (more_items.australia(), "S2A_A023060"),
    ],
)
def test_each_tells_its_datatake(document, take):
    assert datatake(item(document)) == take


def test_australia_delivers_eleven_bands_as_int16_of_no_offset():
    document = more_items.australia()
    bands = list(more_items.NBART)
    found = find(item(document), bands, "https://explorer.dea.ga.gov.au/stac")
    assert found.scene.box.shape == (1830, 1830)
    assert (found.scene.tile, datastrip(item(document))) == ("55HGA", "20191121T001107")
    for source in found.scene.sources:
        assert "_nbart_" in source.href
        assert source.href.endswith(f"_{source.band.lower()}.tif")
        assert (source.scale, source.offset, source.nodata, source.signed) == (1e-4, 0, -999, True)
    with pytest.raises(S2SharpError, match="B09"):
        sources(item(document), BANDS)


def test_a_tile_has_one_name_in_all_of_them():
    said = {"odc:region_code": "1CCV"}
    for document in (more_items.australia(), items.generic()):
        for key in [k for k in document["properties"] if k.startswith(("odc", "sentinel"))]:
            del document["properties"][key]
        document["properties"] |= {"title": "x", **said}
        assert tile(item(document)) == "01CCV"


@pytest.mark.parametrize("path", ["", "/measurements/reflectance", "/measurements/reflectance/"])
def test_a_product_or_a_pyramid_that_lists_no_bands_holds_all(path):
    document = more_items.eopf_explorer()
    root = document["assets"]["SCL_20m"]["href"].partition(".zarr")[0]
    document["assets"] = {"data": {"href": f"{root}.zarr{path}", "type": more_items.ZARR}}
    assert len(sources(item(document), BANDS)) == 12
    assert not sources(item(document), ["SCL"])


@pytest.mark.parametrize("path", ["/quality/atmosphere/r10m", "/measurements", "/other", ".zip"])
def test_other_groups_hold_no_band(path):
    document = more_items.eopf_explorer()
    root = document["assets"]["SCL_20m"]["href"].partition(".zarr")[0]
    document["assets"] = {"data": {"href": f"{root}.zarr{path}"}}
    with pytest.raises(S2SharpError, match="found none"):
        sources(item(document), BANDS)


def test_a_copy_in_a_group_of_another_resolution_is_not_taken():
    document = more_items.eopf_groups()
    del document["assets"]["SR_10m"], document["assets"]["product"]
    with pytest.raises(S2SharpError, match="B02 at 10 m; found none"):
        sources(item(document), ["B02"])


def test_a_grid_in_degrees_is_told_as_such():
    document = items.earth_search()
    for asset in document["assets"].values():
        asset["proj:transform"] = [9e-5, 0, 15.0, 0, -9e-5, 48.0]
    with pytest.raises(
        S2SharpError, match=r"B02 with pixels of 10 m; found .*blue at 9e-05.* degrees"
    ) as e:
        sources(item(document), ["B02"])
    assert e.value.kind == "off-lattice"


@pytest.mark.parametrize("href", [None, 7, ""])
def test_a_picture_without_an_address_costs_nothing_and_a_band_its_item(href):
    document = items.earth_search()
    document["assets"]["thumbnail"]["href"] = href
    document["assets"]["odd"] = href
    assert find(item(document), ["B02"], "https://example.org/stac")
    for key in ("blue", "scl"):
        broken = deepcopy(document)
        broken["assets"][key]["href"] = href
        for home in (None, "/nowhere/item.json"):
            with pytest.raises(S2SharpError, match="''") as error:
                find(item_of(broken, home), ["B02"], "/nowhere/catalog.json")
            assert error.value.kind == "href-refused"


# Pixels

BOX = box_at(6, 6)


def pyramid(store: Path, made: pystac.Item, floats: bool) -> None:
    """As the EOPF Explorer writes it: Zarr v3, the place told by groups, reflectance as float32 or DN."""
    from s2sharp_core.bands import native_gsd

    root = zarr.open_group(store, mode="w", zarr_format=3)
    for band in (*BANDS, "SCL"):
        gsd = native_gsd(band)
        path = f"measurements/reflectance/r{gsd}m"
        if band == "SCL":
            path = "conditions/mask/l2a_classification/r20m"
        group = root.require_group(path)
        facts = made.assets[band].extra_fields
        group.attrs.update(
            {"spatial:transform": facts["proj:transform"], "proj:code": "EPSG:32633"}
        )
        import rasterio

        with rasterio.open(made.assets[band].href) as file:
            dn = file.read(1)
        packed = {"scale_factor": 0.0001, "add_offset": -0.1}
        if floats and band != "SCL":
            # As xarray decodes: in double, kept in single precision.
            y = np.where(dn == 0, np.nan, dn * 0.0001 - 0.1).astype(np.float32)
            array = group.create_array(
                band.lower(), shape=y.shape, chunks=(24, 24), dtype="float32", fill_value=np.nan
            )
            array.attrs.update({"_eopf_attrs": {**packed, "fill_value": 0}, "grid_mapping": "x"})
            array[...] = y
        else:
            array = group.create_array(
                band.lower(), shape=dn.shape, chunks=(24, 24), dtype=dn.dtype, fill_value=0
            )
            array.attrs.update(packed if band != "SCL" else {})
            array[...] = dn


@pytest.mark.parametrize("make", [more_items.eopf_explorer, more_items.eopf_groups])
@pytest.mark.parametrize("floats", [True, False])
def test_pixels_of_a_pyramid_are_those_of_the_product(tmp_path, make, floats):
    picture = noise(BOX, *BANDS, "SCL", gaps=0.1)
    picture["B02"][0, :3] = [1, 999, 65_535]
    (made,) = scenes(tmp_path / "cogs", picture, BOX)
    document = make(root=str(tmp_path))
    pyramid(tmp_path / f"{document['id']}.zarr", made, floats)
    left, top = (made.assets["B02"].extra_fields["proj:transform"][i] for i in (2, 5))
    document["properties"]["proj:bbox"] = [left, top - 360, left + 360, top]
    whole = join([made])
    (acquisition,), refused, _ = group([item(document)], list(BANDS), str(tmp_path / "c.json"))
    assert not refused
    assert acquisition.box == BOX
    for band in (*BANDS, "SCL"):
        dn, _ = Files(acquisition).mosaic(band, BOX)
        np.testing.assert_array_equal(dn, Files(whole).mosaic(band, BOX)[0])
    block = load_block(Files(acquisition), acquisition, tuple(BANDS), BOX, 0)
    assert block.saturated.sum() == 1


def test_floats_made_with_another_offset_than_the_item_states_are_refused(tmp_path):
    (made,) = scenes(tmp_path / "cogs", noise(BOX, *BANDS, "SCL"), BOX)
    document = more_items.eopf_explorer(root=str(tmp_path))
    pyramid(tmp_path / f"{document['id']}.zarr", made, True)
    document["assets"]["reflectance"] |= {"raster:scale": 0.0001, "raster:offset": 0}
    left, top = (made.assets["B02"].extra_fields["proj:transform"][i] for i in (2, 5))
    document["properties"]["proj:bbox"] = [left, top - 360, left + 360, top]
    (acquisition,), _, _ = group([item(document)], list(BANDS), str(tmp_path / "c.json"))
    with pytest.raises(S2SharpError) as error:
        Files(acquisition).mosaic("B02", BOX)
    assert error.value.kind == "metadata-contradicts-file"


def test_a_level_1c_product_of_eopf_has_the_word_null_for_its_time(tmp_path):
    (made,) = scenes(tmp_path / "cogs", noise(BOX, *BANDS), BOX)
    store = write_eopf(tmp_path, made, "1C", -0.1)
    root = zarr.open_group(store, mode="r+", zarr_format=2, use_consolidated=False)
    said = dict(root.attrs["stac_discovery"])
    said["properties"] = {
        **{k: v for k, v in said["properties"].items() if k != "eopf:datatake_id"},
        "datetime": "null",
        "start_datetime": "2024-06-01T10:10:31.024000+00:00",
        "end_datetime": "2024-06-01T10:10:31.024000+00:00",
        "eopf:baseline": "05.11",
        "eopf:data_take_id": "GS2A_20240601T101031_046900_N05.11",
    }
    root.attrs["stac_discovery"] = {**said, "id": "x"}
    zarr.consolidate_metadata(store, zarr_format=2)
    level, product = product_item(str(store))
    assert (level, baseline(product), datatake(product)) == ("l1c", (5, 11), "S2A_20240601T101031")
    found = find(product, list(BANDS), str(store))
    assert found.scene.datetime == "2024-06-01T10:10:31"
    assert {(s.scale, s.offset) for s in found.scene.sources} == {(0.0001, -0.1)}
