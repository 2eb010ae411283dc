"""Local copies of files in an object store, for libraries that need a path."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from upath import UPath

from .files import contents, files, read_bytes, remove, write_bytes
from .location import Location, on_this_machine


def local(folder: Location) -> Path:
    """Return a folder of weights for code that reads paths of this machine: itself, or a copy, which lasts as long as
    this process; ``FileNotFoundError`` without any.
    """
    if on_this_machine(folder):
        return folder
    return Path(_copy(folder, contents(folder)).name)


@lru_cache(maxsize=16)
def _copy(folder: UPath, contents: str) -> "TemporaryDirectory[str]":  # noqa: ARG001  (part of the cache's key)
    copy = TemporaryDirectory(prefix="s2sharp-")
    for name in files(folder):
        if "/" not in name and name.endswith((".json", ".safetensors")):
            (Path(copy.name) / name).write_bytes(read_bytes(folder / name))
    return copy


@contextmanager
def mirrored(folder: Location) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Provide ``folder`` for code that writes local paths: the folder itself, or a copy of the files directly in it.

    Yield its path, and a function that copies all changes since to their place. It also runs at the end, whatever
    happened.
    """
    if on_this_machine(folder):
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
            # Files are copied in the order of writing, because the last file of a writer means that the others exist.
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
