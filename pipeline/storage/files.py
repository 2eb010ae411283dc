"""Files in a folder or an object store: reading, atomic writing, listing, removal."""

import errno
import glob
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from upath import UPath

from .location import Location, on_this_machine

_DRAFT = ".partial"
"""Suffix of draft files; zarr uses the same."""

_NOT_THERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)

AT_ONCE = 16
"""Number of concurrent requests for many small files."""


def read_bytes(file: Location) -> bytes:
    """Return the content of a file; ``FileNotFoundError`` without one."""
    return file.read_bytes() if on_this_machine(file) else bytes(file.fs.cat_file(file.path))


def read_text(file: Location) -> str:
    """Return the content as in :func:`read_bytes`, as text."""
    return read_bytes(file).decode()


def read_named(folder: Location, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names and contents of small files below ``folder``, in order; files that do not exist are skipped.

    Invalid bytes are replaced, so that a parser detects a damaged file.
    """

    def read(name: str) -> tuple[str, str] | None:
        with suppress(FileNotFoundError):
            return name, read_bytes(folder / name).decode(errors="replace")
        return None

    left = iter(names)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while some := list(islice(left, 64 * AT_ONCE)):
            yield from (found for found in pool.map(read, some) if found is not None)


def write_text(file: Location, text: str) -> None:
    """Write text as in :func:`write_bytes`."""
    write_bytes(file, text.encode())


def write_bytes(file: Location, data: bytes) -> None:
    """Write a file atomically: concurrent readers see the old or the new content."""
    if not on_this_machine(file):
        file.fs.pipe_file(file.path, data)
        return
    with _draft(file, data) as draft:
        draft.replace(file)


def create(file: Location, text: str) -> bool:
    """Write a small file unless it exists; of several concurrent writers, exactly one gets True.

    ``text`` must be unique to the writer. Clients of stores repeat a request whose answer was lost. The repeated
    request finds its own text, so it has created the file.
    """
    try:
        if on_this_machine(file):
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
    """Return whether the file exists, or another writer is just creating it."""
    answer = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {})
    return isinstance(error, FileExistsError) or answer.get("HTTPStatusCode") in (409, 412)


@contextmanager
def _draft(file: Path, data: bytes) -> Iterator[Path]:
    """Write ``data`` under another name beside ``file``, removed at the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Workers on other machines may have the same process id.
    draft = file.with_name(f".{file.name[:100]}.{uuid4().hex}{_DRAFT}")
    try:
        draft.write_bytes(data)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def draft_target(name: str) -> str | None:
    """Return the file name that a draft was for, or None if it is not a draft of this module."""
    found = re.fullmatch(rf"\.(.+)\.[0-9a-f]{{32}}{re.escape(_DRAFT)}", name)
    return found[1] if found else None


def write_all(folder: Location, contents: Mapping[str, bytes], last: Collection[str]) -> None:
    """Write files below ``folder``, those of ``last`` after all others."""

    def write(name: str) -> None:
        write_bytes(folder / name, contents[name])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(write, (name for name in contents if name not in last)))
        list(pool.map(write, last))


def put(file: Path, target: Location) -> None:
    """Move a finished file to its place; a local folder must be on the same file system."""
    if on_this_machine(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    else:
        target.fs.put_file(str(file), target.path)
        file.unlink()


def link(file: Location, other: Location) -> None:
    """Give a file a second name and replace any file there; in an object store, make a copy."""
    if not on_this_machine(file):
        file.fs.cp_file(file.path, str(other.path))  # type: ignore[union-attr]
        return
    assert on_this_machine(other)  # noqa: S101  (both lie in one store)
    other.parent.mkdir(parents=True, exist_ok=True)
    draft = other.with_name(f".{other.name}.{uuid4().hex}{_DRAFT}")
    try:
        draft.hardlink_to(file)
    except OSError:  # a disk without links
        shutil.copyfile(file, draft)
    draft.replace(other)


def files(folder: Location, prefix: str = "") -> dict[str, int]:
    """Return all files below ``folder``, or in its subfolders whose name begins with ``prefix``, in order: relative
    name → bytes; empty if it does not exist.
    """
    return {name: info["size"] for name, info in _infos(folder, prefix)}


def versions(folder: Location) -> dict[str, str]:
    """Return a version of each file below ``folder``, by the names of :func:`files`; it changes with each write."""
    about = ("ETag", "etag", "LastModified", "last_modified", "updated", "created", "mtime", "size")
    return {n: " ".join(str(i[k]) for k in about if k in i) for n, i in _infos(folder)}


def _infos(folder: Location, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return the files of :func:`files`, with the facts that their storage gives."""
    if on_this_machine(folder):
        tops = folder.glob(f"{glob.escape(prefix)}*/") if prefix else [folder]
        found = [entry for top in tops for entry in _walk(top, folder)]
    else:
        start = folder.path.rstrip("/") + "/"
        # s3fs lists the folder itself if its first file appears during the listing.
        there = _found(folder, start + prefix, prefix).items()
        found = [(p.removeprefix(start), info) for p, info in there if p.startswith(start + prefix)]
    return sorted(found, key=lambda entry: entry[0])


def _found(folder: UPath, beginning: str, prefix: str) -> dict[str, dict[str, Any]]:
    """Return what a store has below ``folder`` and, if ``prefix`` is not empty, below addresses with ``beginning`` alone."""
    if not prefix:
        return dict(folder.fs.find(folder.path, detail=True))
    if "prefix" in signature(getattr(folder.fs, "_find", folder.fs.find)).parameters:
        return dict(folder.fs.find(folder.path, detail=True, prefix=prefix))
    # Object stores know prefixes; others, such as SFTP, refuse the word or list everything.
    found: dict[str, dict[str, Any]] = {}
    with suppress(FileNotFoundError):
        for top in folder.fs.ls(folder.path, detail=False):
            if top.startswith(beginning):
                found |= folder.fs.find(top, detail=True)
    return found


def _walk(top: Path, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for root, _, names in os.walk(top):
        for name in names:
            file = Path(root, name)
            try:
                about = file.stat()
            except OSError as error:
                if error.errno in _NOT_THERE:  # it has vanished, or is a broken link
                    continue
                raise
            if stat.S_ISREG(about.st_mode):  # reading a pipe waits forever
                info = {"size": about.st_size, "mtime": about.st_mtime_ns}
                yield file.relative_to(folder).as_posix(), info


def size(file: Location) -> int:
    """Return the bytes of a file; 0 if it does not exist or is not a file."""
    if on_this_machine(file):
        return file.stat().st_size if file.is_file() else 0
    try:
        return int(file.fs.size(file.path))
    except FileNotFoundError:
        return 0


def version(file: Location) -> str:
    """Return a value that changes with each write of a file; ``FileNotFoundError`` without one."""
    return str(file.stat().st_mtime_ns) if on_this_machine(file) else str(file.fs.ukey(file.path))


def contents(folder: Location) -> str:
    """Return a value that changes with each change of a folder's files; ``FileNotFoundError`` without any."""
    if on_this_machine(folder):
        return str(folder.stat().st_mtime_ns)
    found = versions(folder)
    if not found:
        raise FileNotFoundError(str(folder))
    return hashlib.sha256(str(found).encode()).hexdigest()


def remove(file: Location) -> None:
    """Remove a file, if it exists."""
    if on_this_machine(file):
        file.unlink(missing_ok=True)
    else:
        with suppress(FileNotFoundError):
            file.fs.rm_file(file.path)


def clear_place(file: Location) -> None:
    """Remove anything at the place of a file that is not a file: a folder, a pipe, a broken link."""
    if on_this_machine(file) and os.path.lexists(file) and not file.is_file():
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)


def remove_tree(folder: Location) -> None:
    """Remove a folder with its content, if it exists."""
    if on_this_machine(folder):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            folder.fs.rm(folder.path, recursive=True)


def remove_empty(folder: Location) -> None:
    """Remove the empty folders below ``folder``; an object store has none."""
    if on_this_machine(folder):
        for root, _, _ in os.walk(folder, topdown=False):
            if Path(root) != folder:
                with suppress(OSError):  # not empty
                    Path(root).rmdir()


def sweep(folder: Location, *, deep: bool = True) -> None:
    """Remove the drafts of killed writers; an object store has none.

    ``deep``: also in subfolders. Otherwise only hidden drafts in ``folder``, which may hold files of others.
    """
    if on_this_machine(folder):
        for draft in folder.rglob(f"*{_DRAFT}") if deep else folder.glob(f".*{_DRAFT}"):
            draft.unlink(missing_ok=True)
