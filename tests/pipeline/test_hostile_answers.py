"""Answers of servers that are sick or hostile: a part is not taken for the whole."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import s2sharp.catalog.http
import s2sharp.catalog.sessions
import s2sharp.catalog.stac_api
import s2sharp.catalog.static
from s2sharp.catalog.search import search
from s2sharp.catalog.stac_api import PAGE

from s2sharp_core import S2SharpError
from tests.web import Hook, http_server

from . import items
from .test_hostile_servers import BOX, HEAD, L2A, answering, asked

# A part is not taken for the whole


def api(pages: list[dict], conforms: bool = True, search_link: bool = True):
    """A hook of an API of one collection, with pages that follow each other."""

    def hook(_: int, path: str) -> bytes:
        path, _, query = path.partition("?")
        if path in ("/", ""):
            uris = ["https://api.stacspec.org/v1.0.0/core"]
            uris += ["https://api.stacspec.org/v1.0.0/item-search"] * conforms
            links = [{"rel": "search", "href": "./search"}] * search_link
            links += [{"rel": "child", "href": "./collections/c"}]
            body: dict = {
                "type": "Catalog",
                "stac_version": "1.0.0",
                "id": "api",
                "description": "",
            }
            body |= {"conformsTo": uris, "links": links}
        elif path == "/collections/c":
            body = {"type": "Collection", "stac_version": "1.0.0", "id": L2A, "extent": {}}
            body |= {"links": [{"rel": "items", "href": "./collections/c/items"}]}
        else:
            number = int(query.partition("page=")[2] or 0)
            body = {"type": "FeatureCollection", "links": [], **pages[number]}
            if number + 1 < len(pages):
                body["links"] = [{"rel": "next", "href": f"{path}?page={number + 1}"}]
        return json.dumps(body).encode()

    return hook


def feature(name: str) -> dict:
    return items.earth_search() | {"id": name, "collection": L2A}


@contextmanager
def served(tmp_path, hook) -> Iterator[str]:
    """As `http_server`, whose pages name each other by absolute addresses."""
    at: list[str] = []

    def absolute(number: int, path: str) -> bytes:
        return re.sub(rb'"href": "[.]?/', f'"href": "{at[0]}/'.encode(), hook(number, path))

    with http_server(tmp_path, absolute) as url:
        at.append(url)
        yield url


PAGES = [{"features": [feature("a")]}, {"features": []}, {"features": [feature("b")]}]


@pytest.mark.parametrize(("conforms", "search_link"), [(True, True), (False, True), (False, False)])
def test_an_empty_page_is_no_end_whatever_an_api_says_of_itself(
    tmp_path, conforms: bool, search_link: bool
) -> None:
    with served(tmp_path, api(PAGES, conforms, search_link)) as url:
        assert sorted(asked(f"{url}/")) == ["a", "b"]


@pytest.mark.parametrize(
    "told",
    [
        {"numberMatched": 3},
        {"numberMatched": "3"},
        {"numberMatched": 3.0},
        {"context": {"matched": 3}},
    ],
)
def test_fewer_items_than_an_api_says_it_has_are_told(tmp_path, told: dict) -> None:
    pages = [{"features": [feature("a")], **told}, {"features": [feature("b")]}]
    with (
        served(tmp_path, api(pages)) as url,
        pytest.warns(UserWarning, match=r"2 of 3 items.*incomplete"),
    ):
        assert sorted(asked(f"{url}/")) == ["a", "b"]


@pytest.mark.parametrize("told", [{"numberReturned": 2}, {"context": {"returned": 2}}])
def test_a_page_that_says_it_has_more_items_than_it_has_is_told(tmp_path, told: dict) -> None:
    with (
        served(tmp_path, api([{"features": [feature("a")], **told}])) as url,
        pytest.warns(
            UserWarning, match=r"2 items on a page \(numberReturned\) and returned 1.*incomplete"
        ),
    ):
        assert asked(f"{url}/") == ["a"]


def test_a_full_page_that_is_the_last_may_be_no_end_unless_a_count_says_so(tmp_path) -> None:
    names = [f"i{number}" for number in range(PAGE)]
    page = {"features": [feature(name) for name in names]}
    with (
        served(tmp_path, api([page])) as url,
        pytest.warns(UserWarning, match=r"full page of 100 items.*incomplete"),
    ):
        assert sorted(asked(f"{url}/")) == sorted(names)
    with served(tmp_path, api([{**page, "numberMatched": PAGE}])) as url:
        assert sorted(asked(f"{url}/")) == sorted(names)


def test_the_next_page_may_be_called_so_in_capitals(tmp_path) -> None:
    answer = api([{"features": [feature("a")]}, {"features": [feature("b")]}])
    with served(tmp_path, lambda *asked: answer(*asked).replace(b'"next"', b'"Next"')) as url:
        assert sorted(asked(f"{url}/")) == ["a", "b"]


def told_otherwise(pages: list[dict], change: Callable[[dict], object]):
    """A hook of an API whose documents are changed before they are sent."""
    answer = api(pages)

    def hook(number: int, path: str) -> bytes:
        document = json.loads(answer(number, path))
        change(document)
        return json.dumps(document).encode()

    return hook


@pytest.mark.parametrize("conforms", [True, False])
@pytest.mark.parametrize("key", ["type", "stac_version", "id", "description"])
def test_a_root_that_lacks_what_no_search_needs_is_searched(tmp_path, key, conforms) -> None:
    def change(document: dict) -> None:
        if document["type"] == "Catalog":
            del document[key]
            document["conformsTo"] = [None, 5, *document["conformsTo"]] if conforms else None
            document["links"] += [None, {"rel": "a", "href": None}, {"rel": "root", "href": "./"}]

    with served(tmp_path, told_otherwise([{"features": [feature("a")]}], change)) as url:
        assert asked(f"{url}/") == ["a"]


@pytest.mark.parametrize("address", ["?page=1", "search?page=1", "./search?page=1"])
def test_the_address_of_the_next_page_may_be_relative(tmp_path, address) -> None:
    def change(document: dict) -> None:
        for link in document["links"]:
            if link["rel"] == "next":
                link |= {"href": address, "method": "get"}

    pages = [{"features": [feature("a")]}, {"features": [feature("b")]}]
    with http_server(tmp_path, told_otherwise(pages, change)) as url:
        assert sorted(asked(f"{url}/search")) == ["a", "b"]
        assert sorted(asked(f"{url}/")) == ["a", "b"]


@pytest.mark.parametrize("address", [None, ""])
def test_a_next_page_without_an_address_is_told(tmp_path, address) -> None:
    page = {"features": [feature("a")]}
    last = {"rel": "next", "href": address}

    def change(document: dict) -> None:
        if "features" in document:
            document["links"] = [last]

    with (
        served(tmp_path, told_otherwise([page], change)) as url,
        pytest.warns(UserWarning, match=r"next page without an address.*incomplete"),
    ):
        assert asked(f"{url}/") == ["a"]


def test_what_was_not_asked_for_is_left_out_and_told(tmp_path) -> None:
    """Servers that know no filter give all that they have."""
    other = feature("l1c") | {"collection": "sentinel-2-l1c"}
    late = items.earth_search(when="2031-06-28T10:05:41Z") | {"id": "late", "collection": L2A}
    pages = [{"features": [feature("a"), other]}, {"features": [late]}]
    with (
        served(tmp_path, api(pages)) as url,
        pytest.warns(UserWarning, match="2 items of other collections or times"),
    ):
        assert asked(f"{url}/") == ["a"]


def test_empty_pages_that_go_on_are_told(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s2sharp.catalog.stac_api, "MAX_EMPTY", 3)
    pages = [{"features": [feature("a")]}, *[{"features": []}] * 9]
    with (
        served(tmp_path, api(pages)) as url,
        pytest.warns(UserWarning, match="3 empty pages"),
    ):
        assert asked(f"{url}/") == ["a"]


def test_an_item_whose_server_fails_costs_itself_and_a_sick_server_the_search(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s2sharp.catalog.http, "BACKOFF", 0.001)
    names = [f"{number}.json" for number in range(6)]
    links = [{"rel": "item", "href": f"./{name}"} for name in names]
    about = {"type": "Collection", "stac_version": "1.0.0", "id": L2A, "extent": {}, "links": links}
    (tmp_path / "collection.json").write_text(json.dumps(about))
    for name in names:
        (tmp_path / name).write_text(json.dumps(feature(name)))

    def failing(count: int) -> Hook:
        return lambda _, path: 500 if path[1:] in names[:count] else None

    with (
        http_server(tmp_path, failing(2)) as url,
        pytest.warns(UserWarning, match=r"0\.json was not answered.* it is left out"),
    ):
        assert sorted(asked(f"{url}/collection.json")) == names[2:]
    with (
        http_server(tmp_path, failing(6)) as url,
        pytest.warns(UserWarning, match="is left out"),
        pytest.raises(S2SharpError, match="answered 500"),
    ):
        asked(f"{url}/collection.json")


# Saved searches, items, collections


def test_a_saved_search_an_item_and_a_folder_of_a_collection_are_catalogs(tmp_path) -> None:
    one, other = feature("a"), feature("b") | {"collection": "another"}
    saved = tmp_path / "saved.geojson"
    saved.write_text(json.dumps({"type": "FeatureCollection", "features": [one, other]}))
    assert asked(str(saved)) == ["a"]
    item = tmp_path / "item.json"
    item.write_text(json.dumps(one))
    assert asked(str(item)) == ["a"]
    folder = tmp_path / "folder"
    folder.mkdir()
    links = [{"rel": "item", "href": "../item.json"}]
    about = {"type": "Collection", "id": L2A, "extent": {}, "links": links}
    (folder / "collection.json").write_text(json.dumps(about))
    assert asked(str(folder)) == ["a"]
    with pytest.raises(S2SharpError, match="another") as caught:
        list(search(str(saved), "sentinel-3", BOX, "2023"))
    assert caught.value.kind == "collection-missing"


def test_a_page_that_was_saved_without_the_next_one_is_told(tmp_path) -> None:
    saved = tmp_path / "saved.json"
    page = {"type": "FeatureCollection", "features": [feature("a")]}
    saved.write_text(json.dumps(page | {"links": [{"rel": "next", "href": "https://x/2"}]}))
    with pytest.warns(UserWarning, match="has a next page"):
        assert asked(str(saved)) == ["a"]


def test_packed_documents_are_read_as_ever() -> None:
    body = gzip.compress(
        json.dumps({"type": "FeatureCollection", "features": [feature("a")]}).encode()
    )
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(head, body) as url:
        assert asked(url) == ["a"]


@pytest.mark.parametrize(
    "ring",
    [
        [(-180.3, -17.6), (-179.6, -17.6), (-179.6, -16.9), (-180.3, -16.9)],
        [(179.7, -17.6), (180.4, -17.6), (180.4, -16.9), (179.7, -16.9)],
        [(179.7, -17.6), (-179.6, -17.6), (-179.6, -16.9), (179.7, -16.9)],
        [(-180.0, -17.6), (180.0, -17.6), (180.0, -16.9), (-180.0, -16.9)],
    ],
    ids=["below -180", "beyond 180", "jumping", "from -180 to 180"],
)
@pytest.mark.parametrize("place", [(179.75, -17.5, 179.8, -17.4), (-179.9, -17.5, -179.8, -17.4)])
@pytest.mark.parametrize("told", ["geometry", "bbox"])
def test_a_footprint_across_the_antimeridian_is_found_however_it_is_written(
    tmp_path: Path, ring: list, place: tuple[float, float, float, float], told: str
) -> None:
    west, south, east, north = (*ring[0], *ring[2])
    shape = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    document = feature("a") | {"bbox": [west, south, east, north]}
    document["geometry"] = shape if told == "geometry" else None
    (tmp_path / "item.json").write_text(json.dumps(document))
    found = search(str(tmp_path / "item.json"), L2A, place, "2023")
    assert [item.id for item in found] == ["a"]
    if ring[0][0] != -180.0:
        far = (10.0, -17.5, 11.0, -17.4)
        assert not list(search(str(tmp_path / "item.json"), L2A, far, "2023"))
