from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
from s2sharp.catalog.addresses import check_href
from s2sharp.catalog.metadata import (
    baseline,
    epsg,
)
from s2sharp.catalog.sources import sources

from s2sharp_core.bands import BANDS
from s2sharp_core.errors import S2SharpError
from tests.data import SCENES, needs_data, shared_data

from . import items

ARCHIVES: dict[str, Callable[..., items.Document]] = {
    "Earth Search sentinel-2-l2a": items.earth_search,
    "Earth Search sentinel-2-c1-l2a": items.earth_search_c1,
    "Earth Search sentinel-2-l1c": items.earth_search_l1c,
    "Planetary Computer": items.planetary_computer,
    "CDSE": items.cdse,
    "generic": items.generic,
}
every_archive = pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)


def item(document: items.Document, **properties: Any) -> pystac.Item:
    document["properties"] |= properties
    return pystac.Item.from_dict(document)


def refused(kind: str) -> Any:
    return pytest.raises(S2SharpError, check=lambda err: err.kind == kind)


# Bands


@every_archive
def test_each_of_the_twelve_bands_is_found_at_its_native_resolution(make):
    found = sources(it := item(make()), BANDS)
    assert list(found) == list(BANDS)
    by_href = {asset.href: asset for asset in it.assets.values()}
    for band, source in found.items():
        assert source.band == band
        assert band in source.href.rpartition("/")[2]
        assert by_href[source.href].extra_fields["proj:transform"][0] == BANDS[band].gsd


def test_of_a_cog_and_a_jp2_with_the_same_metadata_the_cog_is_taken():
    document = items.earth_search()
    assert all(s.href.endswith(".tif") for s in sources(item(document), BANDS).values())
    document["assets"]["B05"] = document["assets"].pop("rededge1-jp2")
    assert sources(item(document), ["B05"])["B05"].href.endswith(".tif")


@pytest.mark.parametrize(("band", "native"), [("B02", "B02_10m"), ("B05", "B05_20m")])
def test_a_resampled_copy_is_not_taken_even_when_the_native_band_is_gone(band, native):
    document = items.cdse()
    del document["assets"][native]
    with refused("band-missing") as err:
        sources(item(document), [band])
    assert document["id"] in err.value.message
    assert f"{band}_60m" in err.value.message


def test_a_copy_is_known_by_its_grid_when_key_and_gsd_are_the_native_bands():
    document = items.planetary_computer()
    document["assets"]["B02"]["proj:transform"] = [20, 0, 399960, 0, -20, 5400000]
    with refused("band-missing"):
        sources(item(document), ["B02"])


def test_a_copy_without_a_grid_is_known_by_its_key():
    document = items.cdse()
    for asset in document["assets"].values():
        asset.pop("proj:transform", None)
        asset["gsd"] = 10
    assert sources(item(document), ["B05"])["B05"].href.endswith("_B05_20m.jp2")


@pytest.mark.parametrize("field", ["eo:bands", "bands"])
def test_a_band_is_known_by_its_name_in_the_metadata_whatever_the_key(field):
    document = items.generic()
    document["assets"] = {
        f"image{n}": {**asset, field: [{"name": band}]}
        for n, (band, asset) in enumerate(document["assets"].items())
    }
    assert sources(item(document), ["B8A"])["B8A"].href == "B8A.tif"


def test_a_picture_of_several_bands_is_no_band():
    document = items.planetary_computer()
    del document["assets"]["B04"]
    with refused("band-missing"):
        sources(item(document), ["B04"])


def test_a_preview_of_one_band_is_no_band():
    document = items.generic()
    document["assets"] = {"B04": {"href": "B04.jpg", "roles": ["overview"]}}
    with refused("band-missing"):
        sources(item(document), ["B04"])


def test_a_missing_band_is_named_with_the_assets_there_are():
    document = items.generic()
    del document["assets"]["B11"]
    with refused("band-missing") as err:
        sources(item(document), ["B02", "B11"])
    assert "B11" in err.value.message
    assert "B12" in err.value.message
    assert err.value.remedy


def test_b10_is_found_where_there_is_one():
    found = sources(item(items.earth_search_l1c()), ["B10"])
    assert found["B10"].href.endswith("/B10.jp2")
    with refused("band-missing"):
        sources(item(items.earth_search()), ["B10"])


def test_what_the_instrument_has_not_is_no_band():
    with refused("bad-config"):
        sources(item(items.earth_search_l1c()), ["B13"])


@pytest.mark.parametrize(
    ("make", "end"),
    [
        (items.earth_search, "/SCL.tif"),
        (items.planetary_computer, "_SCL_20m.tif"),
        (items.cdse, "_SCL_20m.jp2"),
    ],
)
def test_the_scene_classification_is_taken_at_20_m_and_unscaled(make, end):
    source = sources(item(make()), ["SCL"]).get("SCL")
    assert source is not None
    assert source.href.endswith(end)
    assert (source.scale, source.offset) == (1.0, 0.0)


def test_l1c_has_no_scene_classification():
    assert "SCL" not in sources(item(items.earth_search_l1c()), ["SCL"])


def test_addresses_beside_the_item_become_absolute():
    document = items.generic()
    it = pystac.Item.from_dict(document, href="/data/scene/item.json")
    assert sources(it, ["B05"])["B05"].href == "/data/scene/B05.tif"


@needs_data
@pytest.mark.parametrize("name", SCENES)
def test_the_real_scenes_are_read_as_they_are_described(name):
    folder = shared_data() / "scenes" / "sentinel-2-l1c" / name
    it = pystac.Item.from_file(folder / f"{name}.json")
    for band, source in sources(it, BANDS).items():
        assert Path(check_href(source.href, str(folder))) == folder / f"{band}.tif"
        assert (source.scale, source.offset, source.nodata) == (0.0001, 0.0, 0)
    assert baseline(it) == (2, 5)
    assert epsg(it) in (32749, 32627, 32755)


# Reflectance


def radiometry(it: pystac.Item, band: str = "B05") -> tuple[float, float, str]:
    source = sources(it, [band])[band]
    return source.scale, source.offset, source.origin


@pytest.mark.parametrize(
    ("document", "offset", "origin"),
    [
        (items.earth_search(), 0.0, "boa_offset_applied"),
        (items.earth_search(applied=False), -0.1, "item metadata"),
        (items.earth_search(baseline="02.14", applied=False), 0.0, "item metadata"),
        (items.earth_search_c1(), -0.1, "item metadata"),
        (items.earth_search_l1c(), -0.1, "item metadata"),
        (items.planetary_computer(), -0.1, "processing baseline 05.09"),
        (items.planetary_computer(baseline="04.00"), -0.1, "processing baseline 04.00"),
        (items.planetary_computer(baseline="03.01"), 0.0, "processing baseline 03.01"),
        (items.cdse(), -0.1, "item metadata"),
        (items.cdse(baseline="02.14"), 0.0, "item metadata"),
        (items.generic(), 0.0, "item metadata"),
    ],
)
def test_each_archive_tells_its_offset_in_its_own_way(document, offset, origin):
    assert radiometry(item(document)) == (0.0001, offset, origin)


def test_the_flag_speaks_of_the_cogs_and_not_of_esas_own_files():
    document = items.earth_search()
    document["assets"] = {k: a for k, a in document["assets"].items() if k.endswith("-jp2")}
    assert radiometry(item(document))[1:] == (-0.1, "item metadata")


def test_reprocessed_old_data_has_the_offset_although_it_was_sensed_before_2022():
    document = items.planetary_computer(when="2016-07-01T10:00:31Z", baseline="05.00")
    assert radiometry(item(document))[1] == -0.1


def test_a_scale_of_one_for_integers_is_no_statement():
    document = items.generic(baseline="05.09")
    document["assets"]["B05"]["raster:bands"][0] |= {"scale": 1, "offset": 0}
    assert radiometry(item(document)) == (0.0001, -0.1, "processing baseline 05.09")


def test_a_quantification_of_its_own_is_heeded():
    document = items.generic()
    document["assets"]["B05"]["raster:bands"][0] |= {"scale": 0.001, "nodata": -1}
    assert radiometry(item(document))[0] == 0.001
    assert sources(item(document), ["B05"])["B05"].nodata == -1


def test_what_is_said_of_the_band_counts_more_than_what_is_said_of_the_asset():
    document = items.cdse()
    document["assets"]["B05_20m"]["bands"][0]["raster:offset"] = -0.2
    assert radiometry(item(document))[1] == -0.2


def test_without_offset_and_baseline_the_item_is_refused():
    document = items.generic("somewhere", baseline=None)
    del document["assets"]["B05"]["raster:bands"]
    with refused("offset-unknown") as err:
        sources(item(document), ["B05"])
    assert "somewhere" in err.value.message


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("05.09", (5, 9)),
        ("5.09", (5, 9)),
        (5.09, (5, 9)),
        (5.1, (5, 10)),
        ("05.11", (5, 11)),
        ("04.00", (4, 0)),
        (4, (4, 0)),
        ("00.01", (0, 1)),
    ],
)
def test_baselines_are_numbers(said, expected):
    document = items.generic()
    assert baseline(item(document, **{"s2:processing_baseline": said})) == expected


def test_baselines_sort_as_numbers_do():
    said = ["05.11", "02.14", "5.09", "04.00", "05.10"]
    found = [baseline(item(items.generic(baseline=text))) for text in said]
    assert sorted(found) == [(2, 14), (4, 0), (5, 9), (5, 10), (5, 11)]


def test_a_product_name_tells_the_baseline_where_no_property_does():
    document = items.cdse()
    del document["properties"]["processing:version"], document["properties"]["eopf:datatake_id"]
    assert baseline(item(document)) == (5, 11)


def test_the_version_of_some_software_is_no_baseline():
    document = items.generic(baseline=None)
    assert baseline(item(document, **{"processing:version": "2.11.0"})) is None
    assert baseline(item(document, **{"processing:version": "2.11"})) is None
    assert baseline(item(document, **{"processing:version": "05.11"})) == (5, 11)
