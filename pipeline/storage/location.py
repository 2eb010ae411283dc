"""Locations of a run's data: a local folder, or an object store behind any URL that fsspec knows.

Paths of both behave alike (``/``, ``name``, ``exists()``). The functions of this package handle the differences:
atomic writing, exclusive creation, listing, removal. Credentials and endpoints come from the environment of each
process (the AWS_* variables for S3, and FSSPEC_* for settings of fsspec), and no path holds them.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

from fsspec.config import conf
from fsspec.registry import known_implementations
from pydantic import PlainSerializer, PlainValidator
from upath import UPath

from s2sharp_core import S2SharpError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Location = Path | UPath
"""A local path (Path), or a path of an object store (UPath)."""

# botocore repeats a failed or unanswered request up to five times. If there was no answer at all, s3fs repeats these
# five up to five times. So a silent store is given up after some minutes.
_PATIENCE = {
    "connect_timeout": 10,
    "read_timeout": 15,
    "retries": {"mode": "adaptive", "total_max_attempts": 5},
}
# Cached listings would hide the files of other workers. One request per object, instead of one for its size and several for
# its parts: zarr already sends many at once.
_CLOUD: dict[str, dict[str, Any]] = {
    **{name: {"use_listings_cache": False} for name in ("gs", "gcs", "az", "abfs", "abfss")},
    **{
        name: {"use_listings_cache": False, "max_concurrency": 1, "config_kwargs": _PATIENCE}
        for name in ("s3", "s3a")
    },
}

# Errors of store clients beyond OSError, by the module that must be loaded before they can occur.
_ERRORS = {
    "aiohttp": ("ClientError",),
    "azure.core.exceptions": ("AzureError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
    "icechunk": ("IcechunkError",),
    "zarr.errors": ("BaseZarrError",),
}


def store_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the errors of reading or writing at a place, and ``others``; made for ``except``, which evaluates late."""
    there = [(sys.modules[m], names) for m, names in _ERRORS.items() if m in sys.modules]
    return OSError, *(getattr(module, name) for module, names in there for name in names), *others


@contextmanager
def writing(failed: str, remedy: str) -> Iterator[None]:
    """Turn errors of reading or writing at a place into ``store-unwritable``; ``failed``: beginning of the message."""
    try:
        yield
    except store_errors() as error:
        raise S2SharpError("store-unwritable", f"{failed}: {error}.", remedy) from error


def on_this_machine(location: object) -> "TypeIs[Path]":
    """Return whether a path is local and not in an object store."""
    return isinstance(location, Path)


def place(text: str | Location) -> Location:
    """Return the place that a path or URL names; a path is made absolute, because workers may run elsewhere.

    Error: ``bad-config`` for an invalid URL, for one that nothing installed can open, and for one with a possible secret,
    which would be printed and written to the plan.
    """
    if isinstance(text, Path):
        return Path(text).expanduser().resolve()
    if isinstance(text, UPath):
        return text
    if "://" not in text:
        return Path(text).expanduser().resolve()
    try:
        url = urlsplit(text)
    except ValueError:
        raise S2SharpError(
            "bad-config", "An address is not a URL.", "Write s3://BUCKET/…."
        ) from None
    if url.scheme == "file":
        return Path(unquote(url.path)).resolve()
    host = re.sub(r":\d+$", "", url.netloc)
    if url.scheme in ("abfs", "abfss"):
        host = host.replace("@", "", 1)  # CONTAINER@ACCOUNT
    if set(host) & {"@", ":"} or url.query or url.fragment:
        raise S2SharpError(
            "bad-config",
            f"A {url.scheme}:// address holds a user, a key or a query; it would be printed and written to "
            "the plan.",
            "Leave them out; credentials are taken from the environment (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY for S3).",
        )
    settled = conf.get(url.scheme, {})
    options = {k: v for k, v in _CLOUD.get(url.scheme, {}).items() if k not in settled}
    try:
        there = UPath(text.rstrip("/"), **options)
        there.fs  # noqa: B018  (loads what opens it)
    except ImportError as error:
        extra = str(known_implementations.get(url.scheme, {}).get("err", "Install it")).rstrip(".")
        if url.scheme in ("s3", "s3a"):
            extra = "pip install 's2sharp[s3]'"
        raise S2SharpError(
            "bad-config", f"No installed package opens {url.scheme}:// addresses.", f"{extra}."
        ) from error
    except ValueError as error:
        raise S2SharpError(
            "bad-config",
            f"{url.scheme}:// is not a kind of store that fsspec knows.",
            "Give a folder, or a URL such as s3://BUCKET/PREFIX.",
        ) from error
    return there


def _located(value: Any) -> Location:
    if not isinstance(value, str | Path | UPath):
        raise ValueError("must be a path or a URL")
    try:
        return place(value)
    except S2SharpError as error:
        raise ValueError(str(error)) from None


Located = Annotated[Location, PlainValidator(_located), PlainSerializer(str, return_type=str)]
"""A field of a pydantic model: a place, written as a path or URL."""


def user_cache() -> Path:
    """Return the folder for this user's caches, which may not exist yet; ``RuntimeError`` for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "s2sharp"
