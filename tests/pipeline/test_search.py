import io
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import s2sharp.catalog.api
import s2sharp.catalog.http
import s2sharp.catalog.static
from rasterio.transform import from_origin
from rasterio.windows import Window
from s2sharp.catalog.geoparquet import documents
from s2sharp.catalog.metadata import sensed
from s2sharp.catalog.search import search
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet
from urllib3 import HTTPResponse

from s2sharp_core.errors import S2SharpError
from tests.data import needs_data, shared_data
from tests.services import every, http_server, missing, pgstac_server, proxy

from . import europe, items

L2A, OTHER = "sentinel-2-l2a", "sentinel-2-c1-l2a"
VIENNA = (16.0, 48.0, 16.2, 48.2)
WEST_OF_THE_SEAM = (15.5, 48.0, 15.7, 48.2)
MAY = "2024-05"


def _documents() -> list[items.Document]:
    def make(tile: str, when: str, bbox: Any, collection: str = L2A) -> items.Document:
        return items.earth_search(tile, when, bbox=bbox) | {"collection": collection}

    wp, xp = (15.0, 47.75, 16.5, 48.75), (15.9, 47.7, 17.4, 48.7)
    found = [
        make("33UWP", "2024-05-01T10:05:41.632Z", wp),
        make("33UXP", "2024-05-01T10:05:37.104Z", xp),
        make("33UWP", "2024-05-31T23:59:59.500Z", wp),
        make("33UWP", "2024-06-01T00:00:00Z", wp),
        make("60KXF", "2024-05-03T22:19:36Z", (178.9, -18.1, 180.0, -17.1)),
        make("01KAB", "2024-05-03T22:19:38Z", (-180.0, -18.1, -179.1, -17.1)),
        make("33UWP", "2024-05-01T10:05:41.632Z", wp, OTHER),
    ]
    # The swath ends within this tile: its bbox reaches Vienna, its footprint doesn't.
    edge = make("33UWQ", "2024-05-04T10:15:00Z", wp)
    corner = [[15.0, 47.75], [15.4, 48.75], [15.0, 48.75], [15.0, 47.75]]
    edge["geometry"]["coordinates"] = [corner]
    # An interval instead of a moment, as STAC allows.
    long = make("33UWP", "2024-05-20T10:05:41Z", wp)
    long["id"] = "interval"
    long["properties"] |= {
        "datetime": None,
        "start_datetime": "2024-05-19T10:00:00Z",
        "end_datetime": "2024-05-21T10:00:00Z",
    }
    return [*found, edge, long]


FIRST, NEXT, LAST = (
    "S2A_33UXP_20240501_0_L2A",
    "S2A_33UWP_20240501_0_L2A",
    "S2A_33UWP_20240531_0_L2A",
)
JUNE, EDGE = "S2A_33UWP_20240601_0_L2A", "S2A_33UWQ_20240504_0_L2A"
FIJI_WEST, FIJI_EAST = "S2A_60KXF_20240503_0_L2A", "S2A_01KAB_20240503_0_L2A"


def _collection(name: str) -> items.Document:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-23T00:00:00Z", None]]},
        },
        "links": [],
    }


def _catalog(name: str = "root") -> items.Document:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "links": [],
    }


def _write(path: Path, document: items.Document, **links: list[str]) -> None:
    links_ = [{"rel": rel, "href": href} for rel, hrefs in links.items() for href in hrefs]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {"links": links_}))


def write_static(folder: Path, documents: list[items.Document]) -> Path:
    """catalog.json → COLLECTION/collection.json → 2024/catalog.json → ID.json, parents linked too."""
    for name in (L2A, OTHER):
        mine = [document for document in documents if document["collection"] == name]
        for document in mine:
            _write(
                folder / name / "2024" / f"{document['id']}.json", document, parent=["catalog.json"]
            )
        year = [f"./{document['id']}.json" for document in mine]
        _write(folder / name / "2024" / "catalog.json", _catalog("2024"), item=year)
        _write(folder / name / "collection.json", _collection(name), child=["2024/catalog.json"])
    children = [f"./{name}/collection.json" for name in (L2A, OTHER)]
    _write(folder / "catalog.json", _catalog(), child=children)
    return folder / "catalog.json"


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    collections = [_collection(name) for name in (L2A, OTHER)]
    with pgstac_server(collections, _documents()) as url:
        yield url


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return write_static(tmp_path_factory.mktemp("static"), _documents()).parent


@pytest.fixture(scope="session")
def website(folder) -> Iterator[str]:
    with http_server(folder) as url:
        yield f"{url}/catalog.json"


@pytest.fixture(scope="session")
def parquet(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("geoparquet") / "items.parquet"
    to_parquet(parse_stac_items_to_arrow(_documents()), path)
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


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(s2sharp.catalog.http, "BACKOFF", 0.01)


def found(*args: Any, **kwargs: Any) -> list[pystac.Item]:
    """What a search yields, which comes in any order, by time and id."""
    return sorted(search(*args, **kwargs), key=lambda item: (sensed(item), item.id))


def ids(*args: Any, **kwargs: Any) -> list[str]:
    return [item.id for item in found(*args, **kwargs)]


def refused(kind: str) -> Any:
    return pytest.raises(S2SharpError, check=lambda err: err.kind == kind)


# The same question has the same answer, whatever kind of catalog is asked


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
    monkeypatch.setattr(s2sharp.catalog.api, "PAGE", 1)
    assert ids(api, L2A, VIENNA, MAY) == [FIRST, NEXT, "interval", LAST]


@pytest.mark.parametrize("kind", ["STAC API", "static path"])
def test_more_items_than_anyone_can_mean_are_refused(kind, request, monkeypatch):
    for module in (s2sharp.catalog.api, s2sharp.catalog.static):
        monkeypatch.setattr(module, "MAX_ITEMS", 3)
    catalog = request.getfixturevalue({"STAC API": "api", "static path": "folder"}[kind])
    with refused("too-many-items"):
        list(search(str(catalog), L2A, VIENNA, MAY))


# Catalogs that stumble


def test_an_api_that_fails_every_third_time_gives_the_whole_answer(api, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.api, "PAGE", 1)
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


def _api_of(pages: Any, method: str = "POST") -> Any:
    """An API's answers for the hook of `http_server`; ``pages(n)`` makes the n-th page."""
    link = {"rel": "search", "href": "/search", "type": "application/geo+json", "method": method}
    landing = _catalog() | {
        "links": [link],
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
        ],
    }
    asked = [0]

    def hook(_number: int, path: str) -> bytes | int:
        if not path.startswith("/search"):
            return json.dumps(landing).encode()
        asked[0] += 1
        page = pages(asked[0])
        return page if isinstance(page, int) else json.dumps(page).encode()

    return hook


def _page(port_url: str, *documents: items.Document) -> items.Document:
    link = {"rel": "next", "href": f"{port_url}/search?page=next", "method": "GET"}
    return {"type": "FeatureCollection", "features": list(documents), "links": [link]}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_search_is_asked_again_when_the_api_is_busy(tmp_path, status, method):
    page = {"type": "FeatureCollection", "features": [items.earth_search()], "links": []}
    with http_server(tmp_path, _api_of(lambda n: status if n < 3 else page, method)) as url:
        assert ids(url, L2A, VIENNA, "2023") == ["S2A_33UWP_20230628_0_L2A"]


def test_a_server_may_not_make_us_wait_for_a_day():
    retry = s2sharp.catalog.http._Patience(total=3)
    assert retry.get_retry_after(HTTPResponse(headers={"Retry-After": "86400"})) == 60
    assert retry.get_retry_after(HTTPResponse(headers={"Retry-After": "7"})) == 7


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_catalog_that_refuses_is_named_with_its_status(tmp_path, status):
    with http_server(tmp_path, every(1, status)) as url, refused("catalog-unreachable") as err:
        list(search(f"{url}/v1?token=hunter2", L2A, VIENNA, MAY))
    assert f"{url}/v1" in err.value.message
    assert str(status) in err.value.message
    assert "hunter2" not in str(err.value)


def test_a_catalog_that_is_not_there_is_named_without_its_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with refused("catalog-unreachable") as err:
            list(search(f"http://me:hunter2@127.0.0.1:{port}/v1?key=hunter2", L2A, VIENNA, MAY))
    assert f"http://127.0.0.1:{port}/v1 did not answer" in err.value.message
    assert "hunter2" not in repr(err.value)


@pytest.mark.parametrize("content", [None, "", "not json", "[]", "\xff"])
def test_a_path_that_holds_no_catalog_is_named(tmp_path, content):
    path = tmp_path / "catalog.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with refused("catalog-unreachable") as err:
        list(search(str(path), L2A, VIENNA, MAY))
    assert str(path) in err.value.message


@pytest.mark.parametrize("answer", [{"features": 3}, {"features": [{"id": 1}, 2]}, []])
def test_an_api_whose_answer_is_no_stac_is_named(tmp_path, answer):
    with http_server(tmp_path, _api_of(lambda _: answer)) as url, refused("catalog-unreachable"):
        list(search(url, L2A, VIENNA, MAY))


def test_an_api_that_lists_no_collections_may_find_nothing(tmp_path):
    nothing = {"type": "FeatureCollection", "features": [], "links": []}
    with http_server(tmp_path, _api_of(lambda _: nothing)) as url:
        assert ids(url, L2A, VIENNA, MAY) == []


@pytest.mark.parametrize("pages", ["the same", "new ones"])
@pytest.mark.timeout(60)
def test_pages_without_end_are_refused(tmp_path, monkeypatch, pages):
    monkeypatch.setattr(s2sharp.catalog.api, "MAX_ITEMS", 20)
    at: list[str] = []

    def page(number: int) -> items.Document:
        name = "x" if pages == "the same" else f"x{number}"
        return _page(at[0], items.earth_search() | {"id": name})

    with http_server(tmp_path, _api_of(page)) as url, refused("too-many-items"):
        at.append(url)
        list(search(url, L2A, VIENNA, "2023"))


def test_an_api_that_drops_the_line_between_pages_gives_no_half_answer(tmp_path):
    at: list[str] = []
    hook = _api_of(lambda n: _page(at[0], items.earth_search()) if n == 1 else 500)
    with http_server(tmp_path, hook) as url, refused("catalog-unreachable"):
        at.append(url)
        list(search(url, L2A, VIENNA, "2023"))


def _chain(path: str, page: str) -> bytes:
    """A static catalog without end: each has one more inside."""
    link = {"rel": "child", "href": f"{path.removesuffix('.json')}x.json"}
    return json.dumps(_catalog(page) | {"links": [link]}).encode()


def test_catalogs_in_catalogs_without_end_are_refused(tmp_path):
    asked = []
    with (
        http_server(tmp_path, lambda _, path: asked.append(path) or _chain(path, path)) as url,
        refused("too-many-items"),
    ):
        list(search(f"{url}/catalog.json", L2A, VIENNA, MAY))
    assert len(asked) < 100


@pytest.mark.timeout(60)
def test_pages_of_a_few_items_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.api, "MAX_PAGES", 20)
    at: list[str] = []
    hook = _api_of(lambda n: _page(at[0], items.earth_search() | {"id": f"x{n}"}))
    with http_server(tmp_path, hook) as url, refused("too-many-items") as err:
        at.append(url)
        list(search(url, L2A, VIENNA, "2023"))
    assert "20 pages" in err.value.message


def test_empty_pages_without_end_are_an_end(tmp_path):
    at: list[str] = []
    hook = _api_of(lambda n: _page(at[0], *[items.earth_search()] * (n == 1)))
    with http_server(tmp_path, hook) as url:
        at.append(url)
        assert ids(url, L2A, VIENNA, "2023") == [items.earth_search()["id"]]


# stac-geoparquet


def test_only_what_is_needed_of_a_remote_file_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.http, "PART", 1 << 16)
    europe.write(tmp_path / "items.parquet", 600, rows=50)
    parts: list[str] = []
    with http_server(tmp_path, lambda _, path: parts.append(path)) as url:
        whole = ids(f"{url}/items.parquet", europe.COLLECTION, (-180, -90, 180, 90), "2024")
        full, parts[:] = len(parts), []
        assert ids(f"{url}/items.parquet", europe.COLLECTION, (0.0, 10.0, 1.0, 11.0), "2024") == []
    assert len(whole) == 600
    assert len(parts) < full


def test_of_a_file_sorted_by_longitude_a_box_reads_the_parts_that_it_touches(tmp_path):
    europe.write(tmp_path / "items.parquet", 2000, rows=2000)
    table = pq.read_table(tmp_path / "items.parquet")
    west = [row["xmin"] for row in table["bbox"].to_pylist()]
    table = table.take(np.argsort(west))
    pq.write_table(table, tmp_path / "sorted.parquet", row_group_size=50)
    box = (10.0, -90.0, 12.0, 90.0)
    read = []

    class Watched(io.FileIO):
        def read(self, size=-1):
            content = super().read(size)
            read.append(len(content))
            return content

    def found(name):
        read.clear()
        with Watched(tmp_path / name) as file:
            ids = {d["id"] for d in documents(file, europe.COLLECTION, [box], (None, None))}
        return ids, sum(read)

    expected, _ = found("items.parquet")
    ids, some = found("sorted.parquet")
    assert ids == expected
    assert 0 < len(ids) < 500
    # The footer of so many small parts is a third of the file.
    assert some < 0.6 * (tmp_path / "sorted.parquet").stat().st_size


def test_a_remote_file_is_read_though_the_server_fails_now_and_then(parquet):
    with http_server(parquet.parent, every(3)) as url:
        expected = [FIRST, NEXT, "interval", LAST]
        assert ids(f"{url}/items.parquet", L2A, VIENNA, MAY) == expected


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_file_that_is_not_given_is_named_without_secrets(tmp_path, status):
    with http_server(tmp_path, every(1, status)) as url, refused("catalog-unreachable") as err:
        list(search(f"{url}/items.parquet?sig=hunter2", L2A, VIENNA, MAY))
    assert f"{url}/items.parquet answered {status}" in err.value.message
    assert "hunter2" not in str(err.value)


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"not parquet" * 100])
def test_a_file_that_is_no_parquet_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "items.parquet").write_bytes(content)
    with refused("catalog-unreachable") as err:
        list(search(str(tmp_path / "items.parquet"), L2A, VIENNA, MAY))
    assert "items.parquet" in err.value.message


def test_parquet_of_something_else_is_named(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "geometry": [b"x"]}), tmp_path / "items.parquet")
    with refused("catalog-unreachable") as err:
        list(search(str(tmp_path / "items.parquet"), L2A, VIENNA, MAY))
    assert "bbox, assets" in err.value.message


# Catalogs that are broken in part, or hostile


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"type": "Feature", "stac_version": "1.0.0", "id": "x"}',
        json.dumps(items.earth_search() | {"properties": {}}),
        json.dumps(items.earth_search() | {"assets": {"red": {}}}),
    ],
)
def test_a_broken_item_is_left_out_with_a_warning_and_the_others_are_found(tmp_path, content):
    write_static(tmp_path, _documents())
    (tmp_path / L2A / "2024" / f"{NEXT}.json").write_text(content)
    with pytest.warns(UserWarning, match=NEXT):
        assert ids(str(tmp_path), L2A, VIENNA, MAY) == [FIRST, "interval", LAST]


def test_an_item_that_is_gone_from_a_website_is_left_out_with_a_warning(folder):
    gone = pytest.warns(UserWarning, match=f"{NEXT}.json answered 404")
    with http_server(folder, missing(f"{NEXT}.json")) as url, gone:
        there = ids(f"{url}/catalog.json", L2A, VIENNA, MAY)
    assert there == [FIRST, "interval", LAST]


def test_a_part_of_the_collection_that_is_gone_is_an_error_not_a_hole(folder):
    def hook(_number: int, path: str) -> int | None:
        return 404 if path == f"/{L2A}/2024/catalog.json" else None

    with http_server(folder, hook) as url, refused("catalog-unreachable") as err:
        list(search(f"{url}/catalog.json", L2A, VIENNA, MAY))
    assert "2024/catalog.json answered 404" in err.value.message


def test_another_collection_that_is_gone_does_not_matter(folder):
    def hook(_number: int, path: str) -> int | None:
        return 404 if path == f"/{OTHER}/collection.json" else None

    with http_server(folder, hook) as url, pytest.warns(UserWarning, match=OTHER):
        assert ids(f"{url}/catalog.json", L2A, VIENNA, "2024-05-01") == [FIRST, NEXT]


def test_a_remote_catalog_cannot_make_us_read_local_files(tmp_path):
    secret, site = tmp_path / "secret.json", tmp_path / "site"
    secret.write_text(json.dumps(items.earth_search() | {"collection": L2A}))
    hrefs = [f"file://{secret}", f"/vsicurl/file://{secret}", "ftp://host/x.json"]
    _write(site / "collection.json", _collection(L2A), item=hrefs, child=[f"file://{secret}"])
    with http_server(site) as url, pytest.warns(UserWarning, match="left out") as warned:
        assert ids(f"{url}/collection.json", L2A, VIENNA, "2023") == []
    assert len(warned) == 4


def test_a_catalog_that_is_its_own_child_is_read_once(tmp_path):
    document = items.earth_search() | {"collection": L2A}
    _write(tmp_path / "item.json", document)
    _write(tmp_path / "catalog.json", _catalog(), child=["./sub/catalog.json"])
    child = ["../catalog.json", "../collection.json"]
    _write(tmp_path / "sub" / "catalog.json", _catalog("sub"), child=child)
    _write(
        tmp_path / "collection.json",
        _collection(L2A),
        item=["item.json"],
        child=["sub/catalog.json"],
    )
    assert ids(str(tmp_path / "catalog.json"), L2A, VIENNA, "2023") == [document["id"]]


def test_items_that_hang_under_a_plain_catalog_are_known_by_what_they_say(tmp_path):
    for name in (L2A, OTHER):
        _write(tmp_path / f"{name}.json", items.earth_search() | {"id": name, "collection": name})
    _write(tmp_path / "catalog.json", _catalog(), item=[f"{name}.json" for name in (L2A, OTHER)])
    assert ids(str(tmp_path), L2A, VIENNA, "2023") == [L2A]


@pytest.mark.parametrize("geometry", [None, {"type": "Polygon", "coordinates": "nonsense"}])
def test_an_item_of_no_footprint_is_found_by_its_bbox(tmp_path, geometry):
    _write(tmp_path / "item.json", items.earth_search() | {"geometry": geometry})
    _write(tmp_path / "collection.json", _collection(L2A), item=["item.json"])
    assert len(ids(str(tmp_path / "collection.json"), L2A, VIENNA, "2023")) == 1
    assert ids(str(tmp_path / "collection.json"), L2A, (0.0, 0.0, 1.0, 1.0), "2023") == []


@pytest.mark.parametrize("bbox", [VIENNA, (0.0, 0.0, 1.0, 1.0)])
def test_an_item_that_does_not_say_where_it_is_may_be_anywhere(tmp_path, bbox):
    _write(tmp_path / "item.json", items.earth_search() | {"geometry": None, "bbox": None})
    _write(tmp_path / "collection.json", _collection(L2A), item=["item.json"])
    assert len(ids(str(tmp_path / "collection.json"), L2A, bbox, "2023")) == 1


# Questions that make no sense


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


# Real data, and the server that the tests of reading use


@needs_data
def test_the_real_scenes_are_found_by_place_and_time():
    scenes = str(shared_data() / "scenes")
    world = (-180.0, -90.0, 180.0, 90.0)
    everything = ["shark_bay", "iceland", "coastal", "australia"]
    assert ids(scenes, "sentinel-2-l1c", world, "2015/2030") == everything
    assert ids(scenes, "sentinel-2-l1c", (145.17, -34.0, 145.18, -33.99), "2019") == ["australia"]
    assert ids(scenes, "sentinel-2-l1c", world, "2019-06-18/2019-06-20") == ["iceland", "coastal"]


def test_gdal_reads_a_window_of_a_cog_from_the_test_server(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 10_000, (2048, 2048)).astype("uint16")
    profile = {"driver": "COG", "width": 2048, "height": 2048, "count": 1, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32633", "transform": from_origin(399960, 5400000, 10, 10)}
    with rasterio.open(tmp_path / "B02.tif", "w", blocksize=256, **profile) as cog:
        cog.write(pixels, 1)
    with (
        http_server(tmp_path) as url,
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", VSI_CACHE=False),
        rasterio.open(f"{url}/B02.tif") as cog,
    ):
        window = cog.read(1, window=Window(300, 700, 64, 32))
    assert np.array_equal(window, pixels[700:732, 300:364])


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")],
)
def test_the_test_server_answers_ranges(tmp_path, asked, answer):
    (tmp_path / "file").write_bytes(b"0123456789")
    with http_server(tmp_path) as url:
        request = urllib.request.Request(f"{url}/file", headers={"Range": asked})
        with urllib.request.urlopen(request) as response:
            assert (response.status, response.read()) == (206, answer)
