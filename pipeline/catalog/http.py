"""Documents and parts of files, local or from the web, asked for patiently."""

import io
import re
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, Retry

from s2sharp_core.errors import S2SharpError

from .addresses import public

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

__all__ = ["BrokenError", "RangeFile", "answer", "open_file", "read_json", "stac_io", "unreachable"]

RETRIES = 5

BACKOFF = 0.4
"""Seconds; the waits are 0, 2, 4, 8, 16 times this, or what the server asks for, up to a minute."""

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""

PART = 1 << 20
"""Bytes that are asked for at once of a remote file."""


class BrokenError(Exception):
    """One document is missing or says no JSON object; the rest of the catalogue may be sound."""


class _Patience(Retry):
    """Waits as long as a server asks for, but no longer than a minute."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, 60.0)


def stac_io(headers: dict[str, str] | None = None) -> "StacApiIO":
    """What reads documents, local or remote, patiently: a search is safe to repeat, POST too."""
    from pystac_client.stac_api_io import StacApiIO

    retry = _Patience(
        total=RETRIES,
        connect=2,
        backoff_factor=BACKOFF,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        raise_on_status=False,
    )
    return StacApiIO(headers=headers, max_retries=retry, timeout=TIMEOUT)


def read_json(io: "StacApiIO", href: str) -> dict[str, Any]:
    """A JSON object. Raises `BrokenError`, or ``catalog-unreachable`` if the server may know better."""
    from pystac_client.exceptions import APIError

    try:
        document = io.read_json(href)
    except APIError as err:
        if getattr(err, "status_code", None) in (404, 410):
            raise BrokenError(answer(err)) from None
        raise unreachable(href, answer(err)) from None
    except OSError as err:
        raise BrokenError(f"can't be read ({err.strerror or type(err).__name__})") from None
    except (ValueError, RecursionError):
        raise BrokenError("is no JSON") from None
    if not isinstance(document, dict):
        raise BrokenError("is no JSON object")
    return document


def open_file(href: str) -> BinaryIO:
    """A path, an http(s) address or any URL that fsspec knows, open for reading at any place.

    Raises
    ------
    S2SharpError
        ``catalog-unreachable``.
    """
    scheme = urlsplit(href).scheme.lower()
    try:
        if scheme in ("http", "https"):
            return _open_web(href)
        from upath import UPath

        return UPath(href).open("rb")
    except (OSError, ImportError, ValueError) as err:
        why = getattr(err, "strerror", None) or type(err).__name__
        raise unreachable(href, f"can't be read ({why})") from None


def _open_web(href: str) -> BinaryIO:
    file = RangeFile(href)
    if file.ranged:
        return cast(BinaryIO, io.BufferedReader(file, PART))
    # A server that knows no ranges gives all of it; on disk, since there may be much.
    copy = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    with file.ask() as whole:
        for part in whole.iter_content(PART):
            copy.write(part)
    copy.seek(0)
    return cast(BinaryIO, copy)


class RangeFile(io.RawIOBase):
    """A file on a web server, of which only what is read is fetched."""

    def __init__(self, href: str) -> None:
        self._href, self._session, self._at = href, stac_io().session, 0
        with self.ask(0, 1) as first:
            said = re.fullmatch(r"bytes \d+-\d+/(\d+)", first.headers.get("Content-Range", ""))
            self.ranged = first.status_code == 206 and said is not None
            self._size = int(said[1]) if said else 0

    def ask(self, start: int | None = None, stop: int | None = None) -> Any:
        """The answer to a request for all of the file, or bytes ``start`` … ``stop - 1``."""
        import requests

        asked = {} if start is None or stop is None else {"Range": f"bytes={start}-{stop - 1}"}
        try:
            said = self._session.get(self._href, headers=asked, timeout=TIMEOUT, stream=True)
        except requests.RequestException as err:
            raise unreachable(self._href, answer(err)) from None
        if not said.ok:
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
        with self.ask(self._at, stop) as said:
            data = said.content
        if len(data) != stop - self._at:
            raise unreachable(self._href, "broke off in the middle of its answer")
        buffer[: len(data)] = data
        self._at = stop
        return len(data)


def answer(err: Exception) -> str:
    """What a failed request came to. Never the error's own text: it holds the address, secrets and all."""
    status = getattr(err, "status_code", None)
    return f"answered {status}" if status else "did not answer"


def unreachable(href: str, why: str) -> S2SharpError:
    return S2SharpError(
        "catalog-unreachable",
        f"The catalogue {public(href)} {why}.",
        "Check the address, the network and, where one is needed, the login; then run again.",
    )
