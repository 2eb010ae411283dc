"""What items say of themselves, by each archive's conventions: datatake, tile, platform, CRS, clouds; and what a hostile one may say."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s2sharp.catalog.addresses import check_href, public, safe_name
from s2sharp.catalog.metadata import (
    cloud_cover,
    datastrip,
    datatake,
    epsg,
    platform,
    processed,
    tile,
)

from . import items
from .test_archives import ARCHIVES, every_archive, item, refused

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


@pytest.mark.parametrize(
    "said",
    [
        {"s2:datatake_id": "GS2B_20190912T001109_013100_N05.00"},
        {"s2:product_uri": "S2B_MSIL2A_20190912T001109_N0500_R073_T55HDB_20230101T000000.SAFE"},
        {"s2:datatake_id": "GS2B_20199999T001109_013100_N05.00"},
        *({"s2:datatake_id": word} for word in ("unknown", "None", "nan")),
        {"sat:absolute_orbit": -1},
    ],
)
def test_what_was_copied_from_date_to_date_makes_no_datatake_of_them(said):
    documents = [items.generic(when=f"2024-06-{day}T00:11:09Z") for day in ("01", "11")]
    for document in documents:
        document["properties"] |= said
    assert datatake(item(documents[0])) != datatake(item(documents[1]))


def test_without_any_orbit_the_minute_decides():
    assert datatake(item(items.generic())) == "S2B_20190912T0011"


def test_a_data_strip_is_known_by_when_it_began():
    said = "S2A_OPER_MSI_L2A_DS_2APS_20230628T170000_S20230628T100612_N05.09"
    for key in ("s2:datastrip_id", "eopf:datastrip_id"):
        assert datastrip(item(items.generic(), **{key: said})) == "20230628T100612"
    assert datastrip(item(items.generic(), **{"s2:datastrip_id": ["x"]})) is None


def test_when_esa_processed_a_product_is_told_by_most_archives():
    late = "20230628T170000"
    other = {
        "Earth Search sentinel-2-l1c": "20230628T133637",
        "CDSE": "20250330T145914",
        "generic": None,
    }
    for name, make in ARCHIVES.items():
        assert processed(item(make())) == other.get(name, late), name
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


# What a hostile catalog may say


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
def test_remote_files_may_come_from_any_catalog(href, catalog):
    assert check_href(href, catalog) == href


@pytest.mark.parametrize("catalog", ["/data/catalog.json", "catalog.json", "file:///data/c.json"])
def test_local_files_may_come_from_a_local_catalog(catalog):
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
def test_a_remote_catalog_cannot_send_us_to_local_files(href):
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
def test_no_catalog_can_send_us_elsewhere(href, catalog):
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
