"""Answers of STAC APIs that are busy, gone, broken or without end."""

import json
import socket
from typing import Any

import pytest
import s2sharp.catalog.http
import s2sharp.catalog.stac_api
import s2sharp.catalog.static
from s2sharp.catalog.search import search
from urllib3 import HTTPResponse

from tests.web import every, http_server

from . import items
from .catalogs import L2A, MAY, VIENNA, ids, refused, root

pytestmark = pytest.mark.usefixtures("impatient")


def _api_of(pages: Any, method: str = "POST") -> Any:
    """An API's answers for the hook of `http_server`; ``pages(n)`` makes the n-th page."""
    link = {"rel": "search", "href": "/search", "type": "application/geo+json", "method": method}
    landing = root() | {
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
    monkeypatch.setattr(s2sharp.catalog.stac_api, "MAX_ITEMS", 20)
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


@pytest.mark.timeout(60)
def test_pages_of_a_few_items_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.stac_api, "MAX_PAGES", 20)
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
