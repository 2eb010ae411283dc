"""Web servers and proxies that tests start in threads of their own: on the loopback address, with failures as told."""

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Hook = Callable[[int, str], int | bytes | None]
"""(number of the request, from 1; its path and query) → a status to fail with, a JSON body to answer
with, or None for the file."""


def every(n: int, status: int = 500) -> Hook:
    """Makes every n-th request answer ``status``."""
    return lambda number, _path: status if number % n == 0 else None


def missing(*names: str) -> Hook:
    """Makes requests for files of these names answer 404."""
    return lambda _number, path: 404 if Path(urlsplit(path).path).name in names else None


@contextmanager
def http_server(folder: Path, hook: Hook | None = None) -> Iterator[str]:
    """Serves ``folder`` with range requests, so that GDAL reads COGs from it; yields the URL."""
    with _serving(_handler(folder, hook)) as url:
        yield url


def _handler(folder: Path, hook: Hook | None) -> type[BaseHTTPRequestHandler]:
    count, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's ACK

        def do_GET(self) -> None:
            with lock:
                count[0] += 1
                number = count[0]
            said = hook(number, self.path) if hook else None
            if isinstance(said, int):
                self.answer(said, b"")
            elif isinstance(said, bytes):
                self.answer(200, said, {"Content-Type": "application/json"})
            else:
                self.file()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def file(self) -> None:
            path = (folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            if not path.is_relative_to(folder.resolve()) or not path.is_file():
                return self.answer(404, b"")
            data = path.read_bytes()
            start, stop = _range(self.headers.get("Range"), len(data))
            about = {"Accept-Ranges": "bytes"}
            if (start, stop) == (0, len(data)):
                return self.answer(200, data, about)
            if start >= stop:
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            about["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return self.answer(206, data[start:stop], about)

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _range(header: str | None, size: int) -> tuple[int, int]:
    if not header or not header.startswith("bytes=") or "," in header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


@contextmanager
def proxy(target: str, hook: Hook) -> Iterator[str]:
    """Passes requests on to ``target``, but for those that ``hook`` has fail; yields the URL."""
    count, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                count[0] += 1
                number = count[0]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = hook(number, self.path)
            if isinstance(said, int):
                return self.answer(said, b"", "")
            passed = urllib.request.Request(
                f"{target}{self.path}", body or None, method=self.command
            )
            # With its host: the service links to the address that it is known by.
            for name in ("Host", "Content-Type", "Accept"):
                if name in self.headers:
                    passed.add_header(name, self.headers[name])
            try:
                with urllib.request.urlopen(passed, timeout=30) as answer:
                    self.answer(answer.status, answer.read(), answer.headers["Content-Type"])
            except urllib.error.HTTPError as error:
                self.answer(error.code, error.read(), error.headers["Content-Type"])

        do_POST = do_GET  # noqa: N815  (as http.server has it)

        def answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Trouble = Callable[[str, str], int | float | None]
"""(method, path and query of a request) → a status to answer with, seconds to be silent for before the
connection is closed, or None to pass it on."""


class Proxy:
    """A real HTTP proxy in front of a store: it passes requests on, counts them, and makes trouble."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.trouble: Trouble = lambda _method, _path: None
        self.requests: list[tuple[str, str]] = []
        self.one_by_one = threading.Lock()

    def met(self, method: str, path: str) -> int | float | None:
        self.requests.append((method, path))
        return self.trouble(method, path)


@contextmanager
def proxied(target: str) -> Iterator[tuple[Proxy, str]]:
    """A :class:`Proxy` in front of the server at ``target``, and its own URL."""
    proxy = Proxy(target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _passing(proxy))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Of this connection, not of the message; and what this server says itself.
_HOP_BY_HOP = {"connection", "content-length", "date", "expect", "server", "transfer-encoding"}


def _passing(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = proxy.met(self.command, self.path)
            if isinstance(said, float):
                time.sleep(said)
                self.close_connection = True
            elif said is not None:
                self.answer(said, {}, b"", 0)
            elif "If-None-Match" in self.headers:
                # In a store that is one step; moto looks first, then writes.
                with proxy.one_by_one:
                    self.pass_on(body)
            else:
                self.pass_on(body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def pass_on(self, body: bytes) -> None:
            upstream = http.client.HTTPConnection(proxy.target, timeout=60)
            kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            upstream.request(self.command, self.path, body, kept)
            answer = upstream.getresponse()
            content = answer.read()
            size = int(answer.headers.get("Content-Length", len(content)))
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP}
            self.answer(answer.status, headers, content, size)
            upstream.close()

        def answer(self, status: int, headers: dict[str, str], body: bytes, size: int) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
