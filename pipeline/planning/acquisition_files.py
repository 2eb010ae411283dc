"""Acquisitions of a plan in its folder: all of them in one file, for whoever looks at the run; and each in one, for workers.

They are made from the frozen items by :mod:`.items`. Who only reads a plan needs no items, and none of the libraries that
read them.
"""

import gzip
import zlib
from collections.abc import Iterable
from io import BytesIO

from pydantic import TypeAdapter

from s2sharp_core import S2SharpError

from ..scenes.acquisition import Acquisition
from ..storage.files import read_bytes, read_text, write_bytes, write_text
from ..storage.location import Location

_ONE = TypeAdapter(Acquisition)


def freeze_acquisitions(file: Location, acquisitions: Iterable[Acquisition]) -> None:
    """Write acquisitions as one file, a line of JSON each."""
    packed = BytesIO()
    # A year of a continent has gigabytes of text, so it is packed line by line.
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as lines:
        for acquisition in acquisitions:
            lines.write(_ONE.dump_json(acquisition) + b"\n")
    write_bytes(file, packed.getvalue())


def frozen_acquisitions(file: Location) -> list[Acquisition]:
    """Return the acquisitions that :func:`freeze_acquisitions` wrote; ``file-broken`` if they cannot be read."""
    try:
        packed = read_bytes(file)
        with gzip.GzipFile(fileobj=BytesIO(packed)) as lines:
            there = [_ONE.validate_json(line) for line in lines]
    except (FileNotFoundError, EOFError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else "broken"
        raise broken_plan(file, f"is {what}") from None
    if not packed:  # gzip takes that for no lines
        raise broken_plan(file, "is empty")
    return there


def broken_plan(file: Location, what: str) -> S2SharpError:
    """Return the error for a file of a frozen plan that the next run writes again."""
    return S2SharpError(
        "file-broken",
        f"{file}, the acquisitions of the run, {what}.",
        "Give the same `s2sharp run` again, which writes it anew.",
    )


def freeze_acquisition(out: Location, acquisition: Acquisition) -> None:
    """Write an acquisition for the workers, before its first unit."""
    file = _own_file(out, acquisition.id)
    text = _ONE.dump_json(acquisition, indent=1).decode()
    if not file.exists() or read_text(file) != text:
        write_text(file, text)


def frozen_acquisition(out: Location, name: str) -> Acquisition:
    """Return the acquisition that :func:`freeze_acquisition` wrote."""
    return _ONE.validate_json(read_text(_own_file(out, name)))


def _own_file(out: Location, name: str) -> Location:
    return out / "acquisitions" / f"{name}.json"
