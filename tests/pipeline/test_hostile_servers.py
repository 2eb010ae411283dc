"""Servers that are sick or hostile: a search has bounds, and is led nowhere inside."""

import gzip
import json
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import s2sharp.catalog.api
import s2sharp.catalog.http
import s2sharp.catalog.sessions
import s2sharp.catalog.static
from s2sharp.catalog import hosts
from s2sharp.catalog.addresses import check_href
from s2sharp.catalog.api import PAGE
from s2sharp.catalog.broken import BrokenError
from s2sharp.catalog.http import as_json, read_regular
from s2sharp.catalog.search import search

from s2sharp_core import S2SharpError
from tests.services import Hook, http_server

from . import items

BOX = (16.0, 48.0, 17.0, 49.0)
L2A = "sentinel-2-l2a"
PUBLIC = "https://stac.example/v1"


def asked(catalog: str) -> list[str]:
    return [item.id for item in search(catalog, L2A, BOX, "2023")]


@contextmanager
def answering(*parts: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that sends these bytes, one part after the other with pauses, whatever it is asked."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(line,), daemon=True).start()

    def answer(line: socket.socket) -> None:
        with line:
            try:
                line.recv(65536)
                for part in parts:
                    line.sendall(part)
                    if pause and over.wait(pause):
                        return
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/catalog.json"
    finally:
        over.set()
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def test_what_unpacks_to_more_than_a_document_may_have_is_refused_in_little_memory() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b" " * (1 << 20)
    packed = b"".join(packer.compress(piece) for _ in range(400)) + packer.flush()
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    before = psutil.Process().memory_info().rss
    top = [before]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            top[0] = max(top[0], psutil.Process().memory_info().rss)

    threading.Thread(target=watch, daemon=True).start()
    with answering(head, packed) as url, pytest.raises(S2SharpError, match="MB at once") as caught:
        asked(url)
    over.set()
    assert caught.value.kind == "catalog-unreachable"
    assert top[0] - before < 150e6


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 1000],
        [HEAD + b"Connection: close\r\n\r\n", *[b" "] * 1000],
        [HEAD, *[b"X: 1\r\n"] * 1000],
        [b"HTTP/1.1 302 Found\r\n", *[b"X: 1\r\n"] * 1000],
    ],
    ids=["body", "body without end", "head", "redirect"],
)
def test_an_answer_that_comes_byte_by_byte_ends_with_its_time(
    monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr(s2sharp.catalog.http, "ANSWER_SECONDS", 1.0)
    start = time.monotonic()
    with (
        answering(*parts, pause=0.05) as url,
        pytest.raises(S2SharpError, match="took too long"),
    ):
        asked(url)
    assert time.monotonic() - start < 6


def test_redirects_share_the_time_of_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s2sharp.catalog.http, "ANSWER_SECONDS", 1.0)
    start = time.monotonic()
    slow = [b"HTTP/1.1 302 Found\r\nLocation: /catalog.json\r\n", *[b"X: 1\r\n"] * 10]
    with (
        answering(*slow, b"Content-Length: 0\r\n\r\n", pause=0.05) as url,
        pytest.raises(S2SharpError, match=r"took too long|did not answer"),
    ):
        asked(url)
    assert time.monotonic() - start < 6


def test_a_catalogue_with_a_million_children_is_refused_after_few_requests(tmp_path) -> None:
    count = 0

    def hook(_: int, path: str) -> bytes:
        nonlocal count
        count += 1
        deep = path.count("/") < 4
        links = [
            {"rel": "child", "href": f"{path.removesuffix('.json')}/{i}.json"} for i in range(1000)
        ]
        about = {"type": "Catalog", "id": path, "stac_version": "1.0.0", "description": ""}
        return json.dumps(about | {"links": links if deep else []}).encode()

    with (
        http_server(tmp_path, hook) as url,
        pytest.raises(S2SharpError, match="contains more than") as caught,
    ):
        asked(f"{url}/c.json")
    assert caught.value.kind == "too-many-items"
    assert count < 50


def test_a_walk_through_a_catalogue_has_an_end(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s2sharp.catalog.static, "SECONDS", -1.0)
    (tmp_path / "catalog.json").write_text(
        json.dumps({"type": "Catalog", "id": "x", "links": [{"rel": "child", "href": "./c.json"}]})
    )
    with pytest.raises(S2SharpError, match="did not end"):
        asked(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a":' * 90 + "1" + "}" * 90, "deep"),
        ("[" * 100_000, "not JSON"),
        ('{"a":[' + "[]," * 2_100_000 + "1]}", "parts"),
        ('["a"]', "not a JSON object"),
    ],
)
def test_a_document_is_bounded_in_its_parts_and_depth(text: str, why: str) -> None:
    with pytest.raises(BrokenError, match=why):
        as_json(text)
    assert as_json('{"a": [{"b": {"c": [1, 2]}}]}') == {"a": [{"b": {"c": [1, 2]}}]}


def test_a_pipe_and_a_folder_are_no_documents(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(bytes(11))
    for name in ("pipe", "long"):
        with pytest.raises(BrokenError):
            read_regular(tmp_path / name, 10)
    with pytest.raises(OSError, match="directory"):
        read_regular(tmp_path, 10)


# Inside


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "0", "0.0.0.0"),
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"),
        "168.63.129.16",
    ],
)
def test_a_public_catalogue_names_nothing_inside(host: str) -> None:
    href = f"http://{host}/latest/meta-data"
    with pytest.raises(S2SharpError, match="private network") as caught:
        check_href(href, PUBLIC)
    assert caught.value.kind == "href-refused"
    assert "--allow-private" in caught.value.remedy
    assert check_href(href, PUBLIC, private=True) == href
    for inside in ("/data/catalog.json", "http://127.0.0.1:8080/catalog.json"):
        assert check_href(href, inside) == href


@pytest.mark.parametrize(
    "address",
    [
        *("::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "224.0.0.1", "::"),
    ],
)
def test_addresses_that_stand_for_the_inside_are_of_it(address: str) -> None:
    assert hosts.is_inside(address)
    assert not hosts.is_inside("2606:4700::1111")
    assert not hosts.is_inside("8.8.8.8")


@pytest.mark.parametrize(
    "href",
    [
        *("http://[::1]/x", "http://127%2e0.0.1/x", "http://①27.0.0.1/x", "http://a\\@127.0.0.1/x"),
        *("http://127.0.0.1:80:80/x", "s3://me@127.0.0.1:9/x", "s3://bucket:80/x"),
    ],
)
@pytest.mark.parametrize("catalog", [PUBLIC, "/data/catalog.json"])
def test_hosts_that_programs_read_in_different_ways_are_refused(href: str, catalog: str) -> None:
    with pytest.raises(S2SharpError):
        check_href(href, catalog)


def test_a_name_that_leads_inside_counts_as_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = socket.getaddrinfo

    def resolve(host: str, *more, **options):
        names = {"rebound.example": "127.0.0.1", "stac.example": "8.8.8.8"}
        return ask(names.get(host, host), *more, **options)

    monkeypatch.setattr(hosts.socket, "getaddrinfo", resolve)
    hosts.leads_inside.cache_clear()
    with pytest.raises(S2SharpError, match="private network"):
        check_href("https://rebound.example/B02.tif", PUBLIC)
    hosts.leads_inside.cache_clear()


def redirecting(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_redirect_leads_to_no_other_origin_inside(tmp_path) -> None:
    count = 0

    def hook(*_: object) -> bytes:
        nonlocal count
        count += 1
        return b'{"type": "Catalog", "id": "inner", "links": []}'

    with http_server(tmp_path, hook) as inner, answering(redirecting(f"{inner}/keys")) as url:
        with pytest.raises(S2SharpError, match="leads inside a private network"):
            asked(url)
        assert count == 0
        with pytest.raises(S2SharpError, match="no collection"):
            list(search(url, L2A, BOX, "2023", private=True))
        assert count == 1


def test_where_a_name_really_led_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was public when it was looked up, and leads inside when it is connected to."""
    monkeypatch.setattr(s2sharp.catalog.sessions, "leads_inside", lambda _: False)
    monkeypatch.setattr(s2sharp.catalog.addresses, "leads_inside", lambda _: False)
    with (
        answering(HEAD + b"Content-Length: 2\r\n\r\n{}") as url,
        pytest.raises(S2SharpError, match="leads inside a private network"),
    ):
        asked(url)


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
    monkeypatch.setattr(s2sharp.catalog.api, "MAX_EMPTY", 3)
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


def test_a_saved_search_an_item_and_a_folder_of_a_collection_are_catalogues(tmp_path) -> None:
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
