"""Servers that are sick or hostile: a search has bounds, and is led nowhere inside."""

import json
import os
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import s2sharp.catalog.http
import s2sharp.catalog.sessions
import s2sharp.catalog.stac_api
import s2sharp.catalog.static
from s2sharp.catalog import private_hosts
from s2sharp.catalog.addresses import check_href
from s2sharp.catalog.faults import BrokenError
from s2sharp.catalog.http import as_json, read_regular
from s2sharp.catalog.search import search

from s2sharp_core import S2SharpError
from tests.web import http_server

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


def test_a_catalog_with_a_million_children_is_refused_after_few_requests(tmp_path) -> None:
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


def test_a_walk_through_a_catalog_has_an_end(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_public_catalog_names_nothing_inside(host: str) -> None:
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
    assert private_hosts.is_private(address)
    assert not private_hosts.is_private("2606:4700::1111")
    assert not private_hosts.is_private("8.8.8.8")


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

    monkeypatch.setattr(private_hosts.socket, "getaddrinfo", resolve)
    private_hosts.leads_to_private.cache_clear()
    with pytest.raises(S2SharpError, match="private network"):
        check_href("https://rebound.example/B02.tif", PUBLIC)
    private_hosts.leads_to_private.cache_clear()


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
    monkeypatch.setattr(s2sharp.catalog.sessions, "leads_to_private", lambda _: False)
    monkeypatch.setattr(s2sharp.catalog.addresses, "leads_to_private", lambda _: False)
    with (
        answering(HEAD + b"Content-Length: 2\r\n\r\n{}") as url,
        pytest.raises(S2SharpError, match="leads inside a private network"),
    ):
        asked(url)
