"""Where a run's things lie: a folder of this machine, or an object store behind any URL that fsspec knows.

Paths behave alike (``/``, ``name``, ``exists()``); what does not is here: writing whole, creating
exclusively, listing, removing. Credentials and endpoints come from the environment (for S3 the AWS_*
variables; settings of fsspec from its own FSSPEC_* ones) of each process, and are part of no path.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from fsspec.config import conf
from fsspec.registry import known_implementations
from pydantic import PlainSerializer, PlainValidator
from upath import UPath

from s2sharp_core import S2SharpError

if TYPE_CHECKING:
    from zarr.storage import StoreLike

__all__ = [
    "Located",
    "Place",
    "contents",
    "create",
    "files",
    "local",
    "mirrored",
    "place",
    "put",
    "read_bytes",
    "read_text",
    "read_texts",
    "remove",
    "remove_empty",
    "remove_tree",
    "size",
    "store_errors",
    "sweep",
    "version",
    "versions",
    "write_all",
    "write_bytes",
    "write_text",
    "zarr_store",
]

Place = Path | UPath
"""A path of this machine (Path), or of an object store (UPath)."""

_DRAFT = ".partial"
"""How drafts of files end; zarr's own do, too."""

_AT_ONCE = 16
"""Requests under way at a time, where there are many small files."""

# A failed or unanswered request is repeated by botocore, up to five tries; s3fs repeats the five, up to five
# times, where there was no answer at all: a store that is silent for good is given up after some minutes.
_PATIENCE = {
    "connect_timeout": 10,
    "read_timeout": 15,
    "retries": {"mode": "adaptive", "total_max_attempts": 5},
}

# Cached listings would hide what other workers write.
_CLOUD: dict[str, dict[str, Any]] = {
    protocol: {"use_listings_cache": False} for protocol in ("gs", "gcs", "az", "abfs", "abfss")
}
# One request for an object, in place of one for its size and several for its parts: zarr has many under way anyway.
_CLOUD |= {
    protocol: {"use_listings_cache": False, "max_concurrency": 1, "config_kwargs": _PATIENCE}
    for protocol in ("s3", "s3a")
}

# Beyond OSError: what clients of stores raise, by the module that must be loaded before they can.
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
    """What reading or writing at a place may raise, and ``others``; made for ``except``, which asks late."""
    there = [(sys.modules[m], names) for m, names in _ERRORS.items() if m in sys.modules]
    return OSError, *(getattr(module, name) for module, names in there for name in names), *others


def place(text: str | Place) -> Place:
    """The place that a path or URL names; a path is made absolute, since workers may run elsewhere.

    Raises
    ------
    S2SharpError
        ``bad-config`` for a URL that holds what may be secret (it would be printed and written to the
        plan), that nothing installed can open, or that is none.
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
        raise S2SharpError("bad-config", "An address is no URL.", "Write s3://BUCKET/….") from None
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
        extra = (
            "pip install 's2sharp[s3]'" if url.scheme in ("s3", "s3a") else _installs(url.scheme)
        )
        raise S2SharpError(
            "bad-config", f"Nothing installed opens {url.scheme}:// addresses.", f"{extra}."
        ) from error
    except ValueError as error:
        raise S2SharpError(
            "bad-config",
            f"{url.scheme}:// is no kind of store that fsspec knows.",
            "Give a folder, or a URL such as s3://BUCKET/PREFIX.",
        ) from error
    return there


def _installs(protocol: str) -> str:
    return str(known_implementations.get(protocol, {}).get("err", "Install it")).rstrip(".")


def _located(value: Any) -> Place:
    if not isinstance(value, str | Path | UPath):
        raise ValueError("must be a path or a URL")
    try:
        return place(value)
    except S2SharpError as error:
        raise ValueError(str(error)) from None


Located = Annotated[Place, PlainValidator(_located), PlainSerializer(str, return_type=str)]
"""A field of a pydantic model: a place, written as a path or URL."""


def read_bytes(file: Place) -> bytes:
    """The content of a file.

    Raises
    ------
    FileNotFoundError
    """
    return file.read_bytes() if isinstance(file, Path) else bytes(file.fs.cat_file(file.path))


def read_text(file: Place) -> str:
    """As :func:`read_bytes`."""
    return read_bytes(file).decode()


def read_texts(folder: Place, names: Iterable[str]) -> Iterator[str]:
    """The contents of small files below ``folder``, in order; what went meanwhile is left out."""

    def read(name: str) -> str | None:
        with suppress(FileNotFoundError):
            return read_text(folder / name)
        return None

    left = iter(names)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while some := list(islice(left, 64 * _AT_ONCE)):
            yield from (text for text in pool.map(read, some) if text is not None)


def write_text(file: Place, text: str, *, private: bool = False) -> None:
    """As :func:`write_bytes`."""
    write_bytes(file, text.encode(), private=private)


def write_bytes(file: Place, data: bytes, *, private: bool = False) -> None:
    """Write a file whole or not at all; who reads it meanwhile sees the old one or the new one.

    ``private``: for its owner's eyes, where the place knows owners.
    """
    if not isinstance(file, Path):
        file.fs.pipe_file(file.path, data)
        return
    with _draft(file, data, private=private) as draft:
        draft.replace(file)


def create(file: Place, text: str) -> bool:
    """Write a small file unless it is there: of several that try at once, exactly one is told True.

    ``text`` must be the writer's own: who repeats a request whose answer was lost, as clients of
    stores do, finds what it wrote itself, and has created it.
    """
    try:
        if isinstance(file, Path):
            with _draft(file, text.encode()) as draft:
                file.hardlink_to(draft)
        else:
            file.fs.pipe_file(file.path, text.encode(), mode="create")
    except OSError as error:
        if not _taken(error):
            raise
        with suppress(FileNotFoundError):
            return read_text(file) == text
        return False
    return True


def _taken(error: OSError) -> bool:
    """Whether it means that the file is there, or that another is just creating it."""
    answer = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {})
    return isinstance(error, FileExistsError) or answer.get("HTTPStatusCode") in (409, 412)


@contextmanager
def _draft(file: Path, data: bytes, *, private: bool = False) -> Iterator[Path]:
    """``data`` under another name beside ``file``; gone in the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Workers on other machines may have this one's process id.
    draft = file.with_name(f".{file.name[:100]}.{uuid4().hex}{_DRAFT}")
    try:
        if private:
            draft.touch(mode=0o600)
        draft.write_bytes(data)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def write_all(folder: Place, contents: Mapping[str, bytes], last: str) -> None:
    """Write files below ``folder``, ``last`` when all others are there."""

    def write(name: str) -> None:
        write_bytes(folder / name, contents[name])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(write, (name for name in contents if name != last)))
    write(last)


def put(file: Path, target: Place) -> None:
    """Move a finished file to its place; to a folder of this machine only from the same file system."""
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    else:
        target.fs.put_file(str(file), target.path)
        file.unlink()


def files(folder: Place) -> dict[str, int]:
    """All files below ``folder``: name relative to it → bytes, in order; none if it is not there."""
    return {name: info["size"] for name, info in _infos(folder)}


def versions(folder: Place) -> dict[str, str]:
    """All files below ``folder``, as :func:`files` lists them: name → what changes whenever it is written anew."""
    about = ("ETag", "etag", "LastModified", "last_modified", "updated", "created", "mtime", "size")
    return {n: " ".join(str(i[k]) for k in about if k in i) for n, i in _infos(folder)}


def _infos(folder: Place) -> list[tuple[str, dict[str, Any]]]:
    """All files below ``folder``, by name relative to it, and what its kind of store tells of each."""
    if isinstance(folder, Path):
        found = list(_walk(folder))
    else:
        start = folder.path.rstrip("/") + "/"
        there = folder.fs.find(folder.path, detail=True).items()
        # s3fs gives the folder itself where the first file comes while it looks.
        found = [(p.removeprefix(start), info) for p, info in there if p.startswith(start)]
    return sorted(found, key=lambda entry: entry[0])


def _walk(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root, name)
            with suppress(FileNotFoundError):  # it went meanwhile
                about = file.stat()
                info = {"size": about.st_size, "mtime": about.st_mtime_ns}
                yield file.relative_to(folder).as_posix(), info


def size(file: Place) -> int:
    """Bytes of a file; 0 if it is not there."""
    try:
        return file.stat().st_size if isinstance(file, Path) else int(file.fs.size(file.path))
    except FileNotFoundError:
        return 0


def version(file: Place) -> str:
    """Something that changes whenever a file is written anew.

    Raises
    ------
    FileNotFoundError
    """
    return str(file.stat().st_mtime_ns) if isinstance(file, Path) else str(file.fs.ukey(file.path))


def contents(folder: Place) -> str:
    """Something that changes whenever a file in a folder comes, goes or is written anew.

    Raises
    ------
    FileNotFoundError
    """
    if isinstance(folder, Path):
        return str(folder.stat().st_mtime_ns)
    found = versions(folder)
    if not found:
        raise FileNotFoundError(str(folder))
    return hashlib.sha256(str(found).encode()).hexdigest()


def remove(file: Place) -> None:
    """Remove a file, if it is there."""
    if isinstance(file, Path):
        file.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):
            file.fs.rm_file(file.path)


def remove_tree(folder: Place) -> None:
    """Remove a folder and all below it, if it is there."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            folder.fs.rm(folder.path, recursive=True)


def remove_empty(folder: Place) -> None:
    """Remove the folders below ``folder`` that hold nothing; an object store has none."""
    if isinstance(folder, Path):
        for root, _, _ in os.walk(folder, topdown=False):
            if Path(root) != folder:
                with suppress(OSError):  # it holds something
                    Path(root).rmdir()


def sweep(folder: Place) -> None:
    """Remove the drafts that killed writers left behind; an object store knows none."""
    if isinstance(folder, Path):
        for draft in folder.rglob(f"*{_DRAFT}"):
            draft.unlink(missing_ok=True)


def zarr_store(folder: Place) -> "StoreLike":
    """``folder`` as zarr and xarray take it."""
    if isinstance(folder, Path):
        return folder
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(str(folder), storage_options=dict(folder.storage_options))


def local(folder: Place, suffixes: tuple[str, ...] = (".json", ".safetensors")) -> Path:
    """``folder`` for code that reads paths of this machine: itself, or a copy of the files with ``suffixes``
    directly in it, which lasts as long as this process.

    Raises
    ------
    FileNotFoundError
    """
    if isinstance(folder, Path):
        return folder
    return Path(_copy(folder, suffixes, contents(folder)).name)


@lru_cache(maxsize=16)
def _copy(
    folder: UPath,
    suffixes: tuple[str, ...],
    contents: str,  # noqa: ARG001  (part of the cache's key)
) -> "TemporaryDirectory[str]":
    copy = TemporaryDirectory(prefix="s2sharp-")
    for name in files(folder):
        if "/" not in name and name.endswith(suffixes):
            (Path(copy.name) / name).write_bytes(read_bytes(folder / name))
    return copy


@contextmanager
def mirrored(folder: Place) -> Iterator[tuple[Path, Callable[[], None]]]:
    """``folder`` for code that writes paths of this machine: itself, or a copy of what lies directly in it.

    Yields
    ------
    tuple
        The path, and what brings all that was written or removed since to its place; in the end that
        is done once more, whatever happened.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder, lambda: None
        return
    with TemporaryDirectory(prefix="s2sharp-") as scratch:
        here = Path(scratch)
        for name in files(folder):
            if "/" not in name:
                (here / name).write_bytes(read_bytes(folder / name))
        before = _state(here)

        def push() -> None:
            nonlocal before
            after = _state(here)
            # In the order they were written: what a writer leaves for last means that the rest is there.
            for name, when in sorted(after.items(), key=lambda entry: entry[1]):
                if before.get(name) != when:
                    write_bytes(folder / name, (here / name).read_bytes())
            for name in before.keys() - after.keys():
                remove(folder / name)
            before = after

        try:
            yield here, push
        finally:
            push()


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    stats = ((path.name, path.stat()) for path in folder.iterdir() if path.is_file())
    return {name: (about.st_mtime_ns, about.st_size) for name, about in stats}
