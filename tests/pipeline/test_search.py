"""A search: the same question has the same answer whatever kind of catalog is asked, also of one that stumbles."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import s2sharp.catalog.http
import s2sharp.catalog.stac_api
import s2sharp.catalog.static
from s2sharp.catalog.search import search
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

from tests.data import needs_data, shared_data
from tests.services import pgstac_server
from tests.web import every, http_server, proxy

from .catalogs import (
    EDGE,
    FIJI_EAST,
    FIJI_WEST,
    FIRST,
    JUNE,
    L2A,
    LAST,
    MAY,
    NEXT,
    OTHER,
    VIENNA,
    WEST_OF_THE_SEAM,
    collection,
    documents,
    found,
    ids,
    refused,
    write_static,
)

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    collections = [collection(name) for name in (L2A, OTHER)]
    with pgstac_server(collections, documents()) as url:
        yield url


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return write_static(tmp_path_factory.mktemp("static"), documents()).parent


@pytest.fixture(scope="session")
def website(folder) -> Iterator[str]:
    with http_server(folder) as url:
        yield f"{url}/catalog.json"


@pytest.fixture(scope="session")
def parquet(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("geoparquet") / "items.parquet"
    to_parquet(parse_stac_items_to_arrow(documents()), path)
    return path


@pytest.fixture(scope="session")
def parquet_url(parquet) -> Iterator[str]:
    with http_server(parquet.parent) as url:
        yield f"{url}/{parquet.name}"


KINDS = {
    "STAC API": "api",
    "static path": "folder",
    "static URL": "website",
    "stac-geoparquet path": "parquet",
    "stac-geoparquet URL": "parquet_url",
}


@pytest.fixture(params=KINDS)
def catalog(request) -> str:
    return str(request.getfixturevalue(KINDS[request.param]))


@pytest.mark.parametrize(
    ("bbox", "when", "expected"),
    [
        (VIENNA, MAY, [FIRST, NEXT, "interval", LAST]),
        (VIENNA, "2024-05-01", [FIRST, NEXT]),
        (VIENNA, "2024-05/2024-06", [FIRST, NEXT, "interval", LAST, JUNE]),
        (VIENNA, "2024", [FIRST, NEXT, "interval", LAST, JUNE]),
        (VIENNA, "2024-05-31", [LAST]),
        (VIENNA, "2024-05-20", ["interval"]),
        (VIENNA, "2024-05-21T09:00:00Z/2024-05-30", ["interval"]),
        (VIENNA, "2024-05-31T00:00:00Z/..", [LAST, JUNE]),
        (VIENNA, "../2024-05-01", [FIRST, NEXT]),
        (VIENNA, "/2024-05-01", [FIRST, NEXT]),
        (VIENNA, "2024-06-01T00:00:00Z", [JUNE]),
        (VIENNA, "2024-06-01T02:00:00+02:00", [JUNE]),
        (VIENNA, "2023", []),
        (WEST_OF_THE_SEAM, "2024-05-01", [NEXT]),
        ((0.0, 0.0, 1.0, 1.0), MAY, []),
        ((15.05, 48.5, 15.1, 48.6), "2024-05-04", [EDGE]),
        ((179.0, -18.0, -179.5, -17.5), MAY, [FIJI_WEST, FIJI_EAST]),
        ((179.0, -18.0, 179.5, -17.5), MAY, [FIJI_WEST]),
        ((-180.0, -90.0, 180.0, 90.0), "2024-05-03", [FIJI_WEST, FIJI_EAST]),
    ],
)
def test_box_and_time_choose_the_items(catalog, bbox, when, expected):
    assert ids(catalog, L2A, bbox, when) == expected


def test_items_come_whole_and_with_addresses_that_can_be_opened(catalog):
    both = found(catalog, L2A, VIENNA, "2024-05-01")
    assert [item.properties["s2:processing_baseline"] for item in both] == ["05.09", "05.09"]
    assert all(item.assets["red"].get_absolute_href().startswith("https://") for item in both)


def test_only_the_collection_asked_for_is_searched(catalog):
    assert ids(catalog, OTHER, VIENNA, MAY) == [NEXT]


def test_a_margin_finds_the_neighbouring_tile(catalog):
    # 33UXP begins at 15.9° E, 0.2° or 14.9 km east of this box at 48.2° N.
    assert ids(catalog, L2A, WEST_OF_THE_SEAM, "2024-05-01", margin_m=14_000) == [NEXT]
    assert ids(catalog, L2A, WEST_OF_THE_SEAM, "2024-05-01", margin_m=16_000) == [FIRST, NEXT]


def test_a_margin_reaches_over_the_antimeridian(catalog):
    box = (179.5, -18.0, 179.99, -17.5)
    assert ids(catalog, L2A, box, MAY) == [FIJI_WEST]
    assert ids(catalog, L2A, box, MAY, margin_m=2_000) == [FIJI_WEST, FIJI_EAST]


def test_a_margin_at_the_pole_is_no_accident(catalog):
    assert ids(catalog, L2A, (0.0, 89.0, 1.0, 90.0), MAY, margin_m=50_000) == []


def test_a_missing_collection_is_named_with_those_that_there_are(catalog):
    with refused("collection-missing") as err:
        list(search(catalog, "sentinel-3", VIENNA, MAY))
    assert "'sentinel-3'" in err.value.message
    assert f"{OTHER}, {L2A}" in err.value.message


def test_an_answer_of_many_pages_is_read_to_its_end(api, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.stac_api, "PAGE", 1)
    assert ids(api, L2A, VIENNA, MAY) == [FIRST, NEXT, "interval", LAST]


@pytest.mark.parametrize("kind", ["STAC API", "static path"])
def test_more_items_than_anyone_can_mean_are_refused(kind, request, monkeypatch):
    for module in (s2sharp.catalog.stac_api, s2sharp.catalog.static):
        monkeypatch.setattr(module, "MAX_ITEMS", 3)
    catalog = request.getfixturevalue({"STAC API": "api", "static path": "folder"}[kind])
    with refused("too-many-items"):
        list(search(str(catalog), L2A, VIENNA, MAY))


def test_an_api_that_fails_every_third_time_gives_the_whole_answer(api, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.stac_api, "PAGE", 1)
    asked = []

    def third(number: int, path: str) -> int | None:
        asked.append(path)
        return 500 if number % 3 == 0 else None

    with proxy(api, third) as url:
        assert ids(url, L2A, VIENNA, MAY) == [FIRST, NEXT, "interval", LAST]
    # A page an item, and all of them by this way.
    assert sum("search" in path for path in asked) > 4


@pytest.mark.parametrize("n", [2, 3])
def test_a_website_that_fails_now_and_then_gives_the_whole_answer(folder, n):
    with http_server(folder, every(n)) as url:
        assert ids(f"{url}/catalog.json", L2A, VIENNA, MAY) == [FIRST, NEXT, "interval", LAST]


def test_a_remote_file_is_read_though_the_server_fails_now_and_then(parquet):
    with http_server(parquet.parent, every(3)) as url:
        expected = [FIRST, NEXT, "interval", LAST]
        assert ids(f"{url}/items.parquet", L2A, VIENNA, MAY) == expected


@pytest.mark.parametrize(
    "when",
    [
        "",
        "..",
        "../..",
        "/",
        "yesterday",
        "2024-13",
        "2024-02-30",
        "2024-06/2024-05",
        "2024/2025/2026",
        "2024-05-01 to 2024-06-01",
        "9999",
    ],
)
def test_a_time_that_makes_no_sense_is_refused_before_anything_is_asked(when):
    with refused("bad-config") as err:
        search("http://127.0.0.1:9", L2A, VIENNA, when)
    assert repr(when) in err.value.message


@pytest.mark.parametrize(
    "bbox",
    [
        (),
        (1, 2, 3),
        (1, 2, 3, 4, 5),
        (0, 10, 1, 5),
        (-200, 0, 1, 1),
        (0, 0, 1, 91),
        (float("nan"), 0, 1, 1),
        ("a", 0, 1, 1),
        None,
    ],
)
def test_a_box_that_makes_no_sense_is_refused_before_anything_is_asked(bbox):
    with refused("bad-config"):
        search("http://127.0.0.1:9", L2A, bbox, MAY)


@pytest.mark.parametrize("margin", [-1, float("inf"), float("nan")])
def test_a_margin_that_makes_no_sense_is_refused(margin):
    with refused("bad-config"):
        search("http://127.0.0.1:9", L2A, VIENNA, MAY, margin_m=margin)


@needs_data
def test_the_real_scenes_are_found_by_place_and_time():
    scenes = str(shared_data() / "scenes")
    world = (-180.0, -90.0, 180.0, 90.0)
    everything = ["shark_bay", "iceland", "coastal", "australia"]
    assert ids(scenes, "sentinel-2-l1c", world, "2015/2030") == everything
    assert ids(scenes, "sentinel-2-l1c", (145.17, -34.0, 145.18, -33.99), "2019") == ["australia"]
    assert ids(scenes, "sentinel-2-l1c", world, "2019-06-18/2019-06-20") == ["iceland", "coastal"]
