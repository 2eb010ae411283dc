"""Static catalogs that are broken in part, without end, or hostile."""

import json
from pathlib import Path

import pytest
from s2sharp.catalog.search import search

from tests.web import http_server, missing

from . import items
from .catalogs import (
    FIRST,
    L2A,
    LAST,
    MAY,
    NEXT,
    OTHER,
    VIENNA,
    collection,
    documents,
    ids,
    refused,
    root,
    write,
    write_static,
)

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_static(tmp_path / "static", documents()).parent


@pytest.mark.parametrize("content", [None, "", "not json", "[]", "\xff"])
def test_a_path_that_holds_no_catalog_is_named(tmp_path, content):
    path = tmp_path / "catalog.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with refused("catalog-unreachable") as err:
        list(search(str(path), L2A, VIENNA, MAY))
    assert str(path) in err.value.message


def _chain(path: str, page: str) -> bytes:
    """A static catalog without end: each has one more inside."""
    link = {"rel": "child", "href": f"{path.removesuffix('.json')}x.json"}
    return json.dumps(root(page) | {"links": [link]}).encode()


def test_catalogs_in_catalogs_without_end_are_refused(tmp_path):
    asked = []
    with (
        http_server(tmp_path, lambda _, path: asked.append(path) or _chain(path, path)) as url,
        refused("too-many-items"),
    ):
        list(search(f"{url}/catalog.json", L2A, VIENNA, MAY))
    assert len(asked) < 100


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
    write_static(tmp_path, documents())
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
    write(site / "collection.json", collection(L2A), item=hrefs, child=[f"file://{secret}"])
    with http_server(site) as url, pytest.warns(UserWarning, match="left out") as warned:
        assert ids(f"{url}/collection.json", L2A, VIENNA, "2023") == []
    assert len(warned) == 4


def test_a_catalog_that_is_its_own_child_is_read_once(tmp_path):
    document = items.earth_search() | {"collection": L2A}
    write(tmp_path / "item.json", document)
    write(tmp_path / "catalog.json", root(), child=["./sub/catalog.json"])
    child = ["../catalog.json", "../collection.json"]
    write(tmp_path / "sub" / "catalog.json", root("sub"), child=child)
    write(
        tmp_path / "collection.json",
        collection(L2A),
        item=["item.json"],
        child=["sub/catalog.json"],
    )
    assert ids(str(tmp_path / "catalog.json"), L2A, VIENNA, "2023") == [document["id"]]


def test_items_that_hang_under_a_plain_catalog_are_known_by_what_they_say(tmp_path):
    for name in (L2A, OTHER):
        write(tmp_path / f"{name}.json", items.earth_search() | {"id": name, "collection": name})
    write(tmp_path / "catalog.json", root(), item=[f"{name}.json" for name in (L2A, OTHER)])
    assert ids(str(tmp_path), L2A, VIENNA, "2023") == [L2A]


@pytest.mark.parametrize("geometry", [None, {"type": "Polygon", "coordinates": "nonsense"}])
def test_an_item_of_no_footprint_is_found_by_its_bbox(tmp_path, geometry):
    write(tmp_path / "item.json", items.earth_search() | {"geometry": geometry})
    write(tmp_path / "collection.json", collection(L2A), item=["item.json"])
    assert len(ids(str(tmp_path / "collection.json"), L2A, VIENNA, "2023")) == 1
    assert ids(str(tmp_path / "collection.json"), L2A, (0.0, 0.0, 1.0, 1.0), "2023") == []


@pytest.mark.parametrize("bbox", [VIENNA, (0.0, 0.0, 1.0, 1.0)])
def test_an_item_that_does_not_say_where_it_is_may_be_anywhere(tmp_path, bbox):
    write(tmp_path / "item.json", items.earth_search() | {"geometry": None, "bbox": None})
    write(tmp_path / "collection.json", collection(L2A), item=["item.json"])
    assert len(ids(str(tmp_path / "collection.json"), L2A, bbox, "2023")) == 1
