"""Documents and parts of files, local or from the web, requested with retries."""

import io
import json
import lzma
import os
import re
import stat
import tempfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from urllib3 import BaseHTTPResponse, Retry

from ..storage.location import Location, on_this_machine
from .addresses import may_use_private_hosts, public
from .faults import BrokenError, unreachable
from .sessions import ANSWER_SECONDS, MAX_BYTES, RefusedError, Session, bounded, pieces

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

RETRIES = 5

BACKOFF = 0.4
"""Seconds. The waits are 0, 2, 4, 8, 16 times this, or as long as the server asks for, up to a minute."""

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""

PART = 1 << 20
"""Bytes of a remote file in one request."""

MAX_FILE = 1 << 34
"""Largest size in bytes of a remote file whose server does not serve parts."""

FILE_SECONDS = 1800.0
"""Seconds for one request to a remote file, which may be for the whole file."""

MAX_JSON = 2_000_000
"""Largest number of parts of a JSON document. A page of a hundred items has about ten thousand, the longest list of a
catalog a million."""

MAX_NESTING = 64
"""Deepest nesting of lists and objects; STAC needs ten levels."""


class _Patience(Retry):
    """Retries that wait as long as a server asks for, but no longer than a minute."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, 60.0)


def stac_io(
    home: str, headers: dict[str, str] | None = None, *, private: bool = False
) -> "StacApiIO":
    """Return a reader of local and remote documents that retries. A search is safe to repeat, with POST too.

    ``home``: the catalog or item that is read. It decides whether addresses may lead inside a private network; see
    :func:`~s2sharp.catalog.addresses.may_use_private_hosts`.
    """
    reader: StacApiIO = _reader()(headers=headers, timeout=TIMEOUT)
    reader.session = _session(home, private, ANSWER_SECONDS)
    reader.session.headers.update(headers or {})
    return reader


def _session(home: str, private: bool, seconds: float) -> Session:
    retry = _Patience(
        total=RETRIES,
        connect=2,
        redirect=0,
        backoff_factor=BACKOFF,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        raise_on_status=False,
    )
    inside = may_use_private_hosts(home, private)
    return Session(inside=inside, anywhere=private, retries=retry, seconds=seconds)


@lru_cache(maxsize=1)
def _reader() -> "type[StacApiIO]":
    """Make the class when it is first needed, because pystac-client loads slowly."""
    from pystac_client.stac_api_io import StacApiIO

    class Documents(StacApiIO):
        """Reader with limits: bytes and seconds, as its session has them, parts and depth."""

        def read_text(self, source: Any, *given: Any, **options: Any) -> str:
            if isinstance(source, str) and not re.match(r"https?://", source, re.IGNORECASE):
                return read_regular(Path(source), MAX_BYTES).decode()
            return str(super().read_text(source, *given, **options))

        def json_loads(self, txt: str, *_: Any, **__: Any) -> dict[str, Any]:
            return as_json(txt)

    return Documents


def as_json(text: str) -> dict[str, Any]:
    """Parse a JSON object within limits, or raise :class:`BrokenError`."""
    # A part of a document takes fifty times its text in memory, and deep nesting breaks recursive readers.
    if sum(map(text.count, ",{[")) > MAX_JSON:
        raise BrokenError(f"has more than {MAX_JSON} parts")
    try:
        # Windows writes a byte order mark, which JSON does not allow. An endlessly long integer counts as infinite.
        text = text.removeprefix("\ufeff")
        document = json.loads(text, parse_int=lambda n: int(n) if len(n) < 400 else float(n))
    except (ValueError, RecursionError):
        raise BrokenError("is not JSON") from None
    if not isinstance(document, dict):
        raise BrokenError("is not a JSON object")
    level: list[Any] = [document]
    for _ in range(MAX_NESTING):
        level = [
            part
            for parent in level
            for part in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(part, dict | list)
        ]
        if not level:
            return document
    raise BrokenError(f"is nested more than {MAX_NESTING} levels deep")


def read_json(io: "StacApiIO", href: str, **asked: Any) -> dict[str, Any]:
    """Read a JSON object. ``asked`` holds the method and parameters of a request.

    Raise :class:`BrokenError` if the document is missing or unreadable; ``catalog-unreachable`` if a later attempt may
    succeed.
    """
    from pystac_client.exceptions import APIError

    try:
        return dict(io.read_json(href, **asked))
    except APIError as err:
        if getattr(err, "status_code", None) in (404, 410):
            raise BrokenError(failure_text(err)) from None
        raise unreachable(public(str(getattr(href, "href", href))), failure_text(err)) from None
    except OSError as err:
        raise BrokenError(f"can't be read ({err.strerror or type(err).__name__})") from None
    except UnicodeDecodeError:
        raise BrokenError("is not JSON") from None


def read_regular(file: Path, most: int) -> bytes:
    """Read a regular local file. A pipe or a device might never end.

    Raise :class:`BrokenError` if it is not a regular file, or is longer than ``most`` bytes; ``OSError``.
    """
    # Opening a pipe would wait for its writer.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise BrokenError(f"has a {file.name} that is not a regular file")
        content = stream.read(most + 1)
    if len(content) > most:
        raise BrokenError(f"has a {file.name} of more than {most >> 20} MB")
    return content


def read_member(file: Location | zipfile.Path, most: int) -> bytes:
    """Read one file of a product: in a folder, in a store or in a zip.

    Raise :class:`BrokenError` if it is missing, longer than ``most`` bytes, encrypted, packed by an unknown method, or
    damaged; ``OSError`` and the errors of stores.
    """
    if on_this_machine(file):
        return read_regular(file, most)
    try:
        with file.open("rb") as stream:
            content = bytes(stream.read(most + 1))
    except _ROT as err:
        why = "encrypted" if "encrypted" in str(err) else type(err).__name__
        raise BrokenError(f"has a {file.name} that can't be unpacked ({why})") from None
    if len(content) > most:
        raise BrokenError(f"has a {file.name} of more than {most >> 20} MB")
    return content


# Errors of unpacking an entry of a zip: RuntimeError for a password, NotImplementedError for a method.
_ROT = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


def open_web(href: str, private: bool) -> BinaryIO:
    file = RangeFile(href, private)
    if file.ranged:
        return cast(BinaryIO, io.BufferedReader(file, PART))
    # A server without ranges sends the whole file. It goes to disk, because it may be large.
    copy = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    try:
        for part in pieces(file.ask(), MAX_FILE):
            copy.write(part)
    except (RefusedError, OSError) as err:
        copy.close()
        raise unreachable(href, failure_text(err)) from None
    copy.seek(0)
    return cast(BinaryIO, copy)


class RangeFile(io.RawIOBase):
    """A file on a web server, fetched only in the parts that are read."""

    def __init__(self, href: str, private: bool = False) -> None:
        self._href, self._at = href, 0
        self._session = _session(href, private, FILE_SECONDS)
        first = self.ask(0, 1)
        first.close()
        first.watch.end()
        said = re.fullmatch(r"bytes \d+-\d+/(\d+)", first.headers.get("Content-Range", ""))
        self.ranged = first.status_code == 206 and said is not None
        self._size = int(said[1]) if said else 0

    def ask(self, start: int | None = None, stop: int | None = None) -> Any:
        """Request the whole file, or bytes ``start`` … ``stop - 1``, and return the answer unread."""
        import requests

        # Compressed bytes would not be the requested ones.
        asked = {"Accept-Encoding": "identity"}
        if start is not None and stop is not None:
            asked["Range"] = f"bytes={start}-{stop - 1}"
        try:
            said: Any = self._session.get(self._href, headers=asked, timeout=TIMEOUT, stream=True)
        except (RefusedError, requests.RequestException) as err:
            raise unreachable(self._href, failure_text(err)) from None
        if not said.ok:
            said.watch.end()
            raise unreachable(self._href, f"answered {said.status_code}")
        return said

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        try:
            data = bounded(self.ask(self._at, stop), stop - self._at)
        except (RefusedError, OSError) as err:
            raise unreachable(self._href, failure_text(err)) from None
        if len(data) != stop - self._at:
            raise unreachable(self._href, "broke off during its answer")
        buffer[: len(data)] = data
        self._at = stop
        return len(data)


def failure_text(err: BaseException) -> str:
    """Describe a failed request. The error's own text is never shown, because it holds the address and its secrets."""
    said: BaseException | None = err
    while said is not None:
        if isinstance(said, RefusedError):
            return str(said)
        if isinstance(said, UnicodeDecodeError):
            return "sent an answer that is not text in UTF-8"
        said = said.__cause__ or said.__context__
    status = getattr(err, "status_code", None)
    return f"answered {status}" if status else "did not answer"
