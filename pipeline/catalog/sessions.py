"""Sessions with web servers that may be faulty or hostile: answers have limits and lead nowhere inside.

The bytes of an answer are limited as they arrive and as they unpack. The time from request to last byte is limited,
too, because a server that sends one byte now and then never triggers a socket's timeout. Every connected address is
checked, also those of redirects.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

from .private_hosts import is_private, leads_to_private, origin

ANSWER_SECONDS = 75.0
"""Seconds from a request to the last byte of its answer, for a document. A slower catalog is not usable."""

MAX_BYTES = 1 << 25
"""Largest size of a document, unpacked; a page of a hundred items has at most a few MB."""

REDIRECTS = 5

_PIECE = 1 << 14
_INSIDE = "leads inside a private network, which is not allowed (--allow-private allows it)"


class RefusedError(Exception):
    """An answer or its target is refused. The text gives the reason without an address: "took too long to answer"."""


class _Watch:
    """One request, from its sending to the end of its answer; a retry starts its time anew."""

    def __init__(self, inside: bool, seconds: float) -> None:
        self.inside, self.seconds = inside, seconds
        self.begun = time.monotonic()
        self._late = False
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        self.end()
        self.check()
        self.begun = time.monotonic()
        self._timer = threading.Timer(max(0.0, self.seconds), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def listens(self, sock: socket.socket) -> None:
        """Remember the socket to cut when time is up: a connection forgets one that its server closes."""
        self._socket = sock

    def _cut(self) -> None:
        self._late = True
        if self._socket is not None:
            with suppress(OSError):
                # This wakes a reader that waits for the next byte; with TLS, too, without a message to the other
                # side.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def check(self) -> None:
        if self._late:
            raise RefusedError("took too long to answer")

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)


class _Guarded:
    """A connection with watched answers that does not go inside, unless allowed."""

    def connect(self: Any) -> None:
        watch = _watch.get()
        if _closed_in(self, watch) and leads_to_private(self.host.strip("[]")):
            raise RefusedError(_INSIDE)
        super().connect()  # type: ignore[misc]
        _look(self, watch)

    def request(self: Any, *given: Any, **options: Any) -> None:
        watch = _watch.get()
        if watch:
            watch.begin()
        if self.sock is not None:
            _look(self, watch)
        super().request(*given, **options)  # type: ignore[misc]


def _closed_in(connection: Any, watch: _Watch | None) -> bool:
    """Return whether a connection may not go inside; if a proxy makes the connection, the proxy decides."""
    return watch is not None and not watch.inside and connection.proxy is None


def _look(connection: Any, watch: _Watch | None) -> None:
    """Check the address that a connection has reached: a name may resolve differently than before."""
    if _closed_in(connection, watch) and is_private(connection.sock.getpeername()[0]):
        connection.close()
        raise RefusedError(_INSIDE)
    if watch:
        watch.listens(connection.sock)


class _Connection(_Guarded, HTTPConnection):
    pass


class _SecureConnection(_Guarded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Adapter that sends a request and reads its answer within limits; a streamed one is left to :func:`bounded`."""

    def __init__(self, inside: bool, seconds: float, retries: Retry) -> None:
        self._inside, self._seconds = inside, seconds
        super().__init__(max_retries=retries)

    def init_poolmanager(self, *given: Any, **options: Any) -> None:
        super().init_poolmanager(*given, **options)
        _guard(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        _guard(manager)
        return manager

    def send(self, request: Any, stream: bool = False, *given: Any, **options: Any) -> Any:
        inside = self._inside and not getattr(request, "abroad", False)
        watch = _Watch(inside, self._seconds - getattr(request, "spent", 0.0))
        token = _watch.set(watch)
        try:
            answer: Any = super().send(request, True, *given, **options)
        except BaseException:
            watch.end()
            watch.check()
            raise
        finally:
            _watch.reset(token)
        answer.watch = watch
        if answer.is_redirect:  # a redirect's body is not needed
            answer._content = b""
            answer.close()
            watch.end()
        elif not stream:
            answer._content = bounded(answer, MAX_BYTES)
            answer._content_consumed = True
        return answer


def _guard(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def pieces(answer: Any, most: int) -> Iterator[bytes]:
    """Yield the unpacked content of an answer of :class:`Session`, piece by piece, and close it at the end.

    Raise :class:`RefusedError` beyond ``most`` bytes, or after too long.
    """
    size = 0
    try:
        for piece in answer.iter_content(_PIECE):
            size += len(piece)
            if size > most:
                raise RefusedError(f"sends more than {most >> 20} MB at once")
            yield piece
    except (requests.RequestException, OSError):
        answer.watch.check()
        raise
    finally:
        answer.watch.end()
        answer.close()
    answer.watch.check()


def bounded(answer: Any, most: int) -> bytes:
    """Return the content as in :func:`pieces`, in one piece."""
    return b"".join(pieces(answer, most))


class Session(requests.Session):
    """Session that retries, with the limits of this module.

    ``inside``: whether requests may go inside a private network. A redirect to another origin never may, except with
    ``anywhere``. ``seconds``: time from a request to the last byte of its answer.
    """

    def __init__(self, *, inside: bool, anywhere: bool, retries: Retry, seconds: float) -> None:
        super().__init__()
        self.max_redirects = REDIRECTS
        self._anywhere = anywhere
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(inside or anywhere, seconds, retries))

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        """Note, before each redirect, whether it leads to another origin, and the time that is spent."""
        super().rebuild_auth(prepared_request, response)
        first = (response.history or [response])[0].url
        abroad = origin(first) != origin(prepared_request.url)
        prepared_request.abroad = abroad and not self._anywhere
        took = time.monotonic() - response.watch.begun
        prepared_request.spent = getattr(response.request, "spent", 0.0) + took
