"""Files of catalogs, local or remote."""

from typing import BinaryIO
from urllib.parse import urlsplit

from upath import UPath

from .broken import unreachable


def open_file(href: str, *, private: bool = False) -> BinaryIO:
    """Open a path, an http(s) address or any URL that fsspec knows, for reading at any position.

    Raises
    ------
    S2SharpError
        ``catalog-unreachable``.
    """
    scheme = urlsplit(href).scheme.lower()
    try:
        if scheme in ("http", "https"):
            from .http import open_web

            return open_web(href, private)
        return UPath(href).open("rb")
    except (OSError, ImportError, ValueError) as err:
        why = getattr(err, "strerror", None) or type(err).__name__
        raise unreachable(href, f"can't be read ({why})") from None
