import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from s2sharp.catalog.addresses import check_href, public, safe_name
from s2sharp.catalog.metadata import (
    baseline,
    cloud_cover,
    datatake,
    epsg,
    platform,
    processed,
    strip,
    tile,
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


# Datatake, tile, platform, CRS, clouds


@pytest.mark.parametrize("make", [m for m in ARCHIVES.values() if m is not items.generic])
def test_tiles_of_one_overpass_share_a_datatake_and_other_overpasses_do_not(make):
    when = "2024-05-01T10:00:31.024Z"
    one, two = item(make("33UWP", when)), item(make("33UXP", when))
    later = make("33UWP", "2024-05-11T10:00:31.024Z")
    if "s2:tile_id" in later["properties"]:  # ten days are 143 orbits
        later["properties"]["s2:tile_id"] = later["properties"]["s2:tile_id"].replace(
            "A041859", "A042002"
        )
    assert datatake(one) == datatake(two)
    assert datatake(one) != datatake(item(later))


def test_a_reprocessing_is_of_the_same_datatake():
    old, new = items.earth_search(baseline="02.14"), items.earth_search(baseline="05.11")
    assert datatake(item(old)) == datatake(item(new)) == "S2A_20230628T100031"


def test_two_platforms_are_two_datatakes():
    one, two = items.generic(), items.generic()
    two["properties"]["platform"] = "Sentinel-2C"
    assert datatake(item(one)) != datatake(item(two))


def passing(orbit: int, when: datetime, longitude: float) -> str:
    document = items.generic(when=f"{when:%Y-%m-%dT%H:%M:%SZ}")
    document["properties"]["sat:relative_orbit"] = orbit
    document["bbox"] = [longitude, -1.0, longitude + 0.2, -0.8]
    return datatake(item(document))


def test_where_only_the_relative_orbit_is_known_nothing_cuts_a_pass():
    """Neither midnight nor the antimeridian, on any of the 143 orbits; ten days later it is another."""
    crossing = datetime(2023, 6, 28, 10, 19, tzinfo=UTC)
    cycle = timedelta(days=10)
    for orbit in range(1, 144):
        at = crossing + (orbit - 122) % 143 * cycle / 143
        # Southwards and westwards, from 25 minutes before the equator to 25 after it.
        names = {
            passing(orbit, at + timedelta(minutes=m), (4 - (orbit - 122) * 25.17 - m) % 360 - 180)
            for m in (-25, -10, 0, 10, 25)
        }
        assert len(names) == 1
        assert names.isdisjoint({passing(orbit, at + cycle, 0), passing(orbit, at - cycle, 0)})


@pytest.mark.parametrize(
    ("orbit", "begin", "tile_sensed"),
    [
        (22, "2024-04-03T10:05:59Z", "2024-04-03T10:10:41Z"),
        (113, "2024-05-01T18:49:21Z", "2024-05-01T18:57:02Z"),
        (105, "2020-03-28T05:26:41Z", "2020-03-28T05:32:20Z"),
        (71, "2019-12-28T21:05:19Z", "2019-12-28T21:07:40Z"),
        (30, "2024-01-02T23:52:39Z", "2024-01-03T00:02:11Z"),
    ],
)
def test_the_hours_of_real_passes_are_known(orbit, begin, tile_sensed):
    """Over Vienna, California, India, the Antarctic, eastern Australia: in the middle of their day."""
    for when in (begin, tile_sensed):
        around = datetime.fromisoformat(when)
        names = [passing(orbit, around + timedelta(hours=h), 0) for h in (-11, 0, 11)]
        assert len(set(names)) == 1


def test_without_any_orbit_the_minute_decides():
    assert datatake(item(items.generic())) == "S2B_20190912T0011"


def test_a_data_strip_is_known_by_when_it_began():
    said = "S2A_OPER_MSI_L2A_DS_2APS_20230628T170000_S20230628T100612_N05.09"
    for key in ("s2:datastrip_id", "eopf:datastrip_id"):
        assert strip(item(items.generic(), **{key: said})) == "20230628T100612"
    assert strip(item(items.generic(), **{"s2:datastrip_id": ["x"]})) is None


def test_when_esa_processed_a_product_is_told_by_most_archives():
    said = [processed(item(make())) for make in ARCHIVES.values()]
    late = "20230628T170000"
    assert said == [late, late, "20230628T133637", late, "20250330T145914", None]
    about = {"s2:generation_time": "2023-06-29T01:00:00.000Z"}
    assert processed(item(items.earth_search(), **about)) == "20230629T010000"


@every_archive
def test_the_tile_is_told_by_every_archive(make):
    it = item(make())
    assert tile(it) == ("australia" if make is items.generic else "33UWP")


@pytest.mark.parametrize(
    "said",
    [
        {"s2:mgrs_tile": "01CCV"},
        {"grid:code": "MGRS-1CCV"},
        {"mgrs:utm_zone": 1, "mgrs:latitude_band": "C", "mgrs:grid_square": "CV"},
        {"s2:product_uri": "S2B_MSIL2A_20191228T210519_N0212_R071_T01CCV_20201003T104658.SAFE"},
        {"s2:tile_id": "S2B_1CCV_20191228_0_L2A"},
    ],
)
def test_the_same_tile_has_one_name(said):
    assert tile(item(items.generic(), **said)) == "01CCV"


@pytest.mark.parametrize("said", ["sentinel-2b", "Sentinel-2B", "SENTINEL-2B", "S2B", "sentinel2b"])
def test_a_platform_has_one_name(said):
    assert platform(item(items.generic(), platform=said)) == "sentinel-2b"


def test_a_platform_is_read_from_the_product_name_or_left_open():
    document = items.cdse()
    del document["properties"]["platform"]
    assert platform(item(document)) == "sentinel-2c"
    document = items.generic()
    del document["properties"]["platform"]
    assert platform(item(document)) == "sentinel-2"


@pytest.mark.parametrize(
    "said",
    [
        {"proj:code": "EPSG:32755"},
        {"proj:epsg": 32755},
        {"proj:epsg": "32755"},
        {"proj:code": 32755},
    ],
)
def test_an_epsg_code_is_read_in_every_spelling(said):
    document = items.generic()
    del document["properties"]["proj:code"]
    assert epsg(item(document, **said)) == 32755


def test_an_epsg_code_may_stand_at_the_assets():
    assert epsg(item(items.cdse())) == 32633


def test_an_item_of_no_crs_or_of_two_is_refused():
    document = items.generic()
    del document["properties"]["proj:code"]
    with refused("crs-unknown"):
        epsg(item(document))
    document["assets"]["B02"]["proj:code"] = "EPSG:32755"
    document["assets"]["B03"]["proj:code"] = "EPSG:32756"
    with refused("crs-unknown") as err:
        epsg(item(document))
    assert "32755, 32756" in err.value.message


def test_an_unknown_cloud_cover_is_no_clear_sky():
    document = items.generic()
    assert cloud_cover(item(document)) == 0.0
    assert math.isnan(cloud_cover(item(document, **{"eo:cloud_cover": None})))
    assert math.isnan(cloud_cover(item(document, **{"eo:cloud_cover": "n/a"})))
    assert math.isnan(cloud_cover(item(document, **{"eo:cloud_cover": False})))


# What a hostile catalogue may say


@given(st.text())
def test_any_id_becomes_the_name_of_one_file_in_its_folder(text):
    name = safe_name(text)
    assert 0 < len(name) <= 120
    assert name.isascii()
    assert name.isprintable()
    assert Path("/folder", name).resolve().parent == Path("/folder")


@given(st.text(), st.text())
def test_different_ids_never_share_a_file(one, two):
    assert (safe_name(one) == safe_name(two)) == (one == two)


@pytest.mark.parametrize("text", ["../../etc/passwd", "..", "", "a/b", "a\\b", "a\0b", "-rf", "é"])
def test_a_hostile_id_is_changed_and_distinct_from_its_harmless_look(text):
    name = safe_name(text)
    assert name != text
    assert safe_name(name) != name


def test_an_ordinary_id_stays_as_it_is():
    name = "S2B_MSIL2A_20250302T095029_N0511_R079_T33UXP_20250302T104753"
    assert safe_name(name) == name


def test_long_ids_of_one_beginning_stay_apart():
    assert safe_name("a" * 5000 + "b") != safe_name("a" * 5000 + "c")


API = "https://earth-search.aws.element84.com/v1"


@pytest.mark.parametrize("catalog", [API, "/data/catalog.json"])
@pytest.mark.parametrize(
    "href", ["https://host/B02.tif", "http://host/B02.tif", "s3://bucket/B02.jp2"]
)
def test_remote_files_may_come_from_any_catalogue(href, catalog):
    assert check_href(href, catalog) == href


@pytest.mark.parametrize("catalog", ["/data/catalog.json", "catalog.json", "file:///data/c.json"])
def test_local_files_may_come_from_a_local_catalogue(catalog):
    assert check_href("/data/B02.tif", catalog) == "/data/B02.tif"
    assert check_href("file:///data/my%20B02.tif", catalog) == "/data/my B02.tif"


@pytest.mark.parametrize(
    "href",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "/vsicurl/http://10.0.0.1/x.tif",
        "../../secret.tif",
        "B02.tif",
    ],
)
def test_a_remote_catalogue_cannot_send_us_to_local_files(href):
    with refused("href-refused"):
        check_href(href, API)


@pytest.mark.parametrize("catalog", [API, "/data/catalog.json"])
@pytest.mark.parametrize(
    "href",
    [
        "/vsizip//vsicurl/http://host/x.zip",
        "/VSICURL/http://host/x.tif",
        "/vsimem/x",
        "zip+https://host/x.zip!B02.tif",
        "gs://bucket/x.tif",
        "ftp://host/x.tif",
        "data:image/tiff;base64,AAAA",
        "<VRTDataset/>",
        "GTIFF_DIR:1:/etc/x.tif",
        "https:///B02.tif",
        "https://[broken/B02.tif",
        " https://host/B02.tif",
        "https://host/B02.tif\n",
        "https://host/B\r\n02.tif",
        "/data/B02.tif\0.png",
        "file:///vsicurl/http://host/x.tif",
        "file:///data/x%0a.tif",
        "",
    ],
)
def test_no_catalogue_can_send_us_elsewhere(href, catalog):
    with refused("href-refused"):
        check_href(href, catalog)


def test_a_refusal_repeats_no_secret():
    with refused("href-refused") as err:
        check_href("gs://me:hunter2@bucket/x?token=abc", "https://me:hunter2@host/v1?token=abc")
    assert "hunter2" not in str(err.value)
    assert "token" not in str(err.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pass@host:8080/v1?token=abc#x", "https://host:8080/v1"),
        ("https://me:p@ss@host/v1", "https://host/v1"),
        ("https://[broken/x?sig=1", "https://[broken/x"),
        ("/data/catalog #1.json", "/data/catalog #1.json"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_credentials(url, shown):
    assert public(url) == shown
