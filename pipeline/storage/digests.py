"""Size and digest of written files, so that a record can vouch for them and damage is detected."""

import hashlib
import os
from contextlib import suppress
from typing import NamedTuple

from .files import read_bytes, size
from .location import Location, on_this_machine


class Digest(NamedTuple):
    """Size in bytes and SHA-256 of a file; 0 and "" for a missing file."""

    size: int
    sha256: str


ABSENT = Digest(0, "")
"""Digest of arrays without a file, because all their values are the fill value."""


def digest_of(file: Location) -> Digest:
    """Read a file and return its digest."""
    try:
        if on_this_machine(file):  # in pieces, because a COG is as large as its area
            with file.open("rb") as there:
                digest = hashlib.file_digest(there, "sha256")
                return Digest(there.tell(), digest.hexdigest())
        data = read_bytes(file)
    except FileNotFoundError:
        return ABSENT
    return Digest(len(data), hashlib.sha256(data).hexdigest())


def settled_digest(file: Location) -> Digest:
    """Return the digest of a finished file for a record."""
    settle(file)
    return digest_of(file)


def wrong(file: Location, expected: Digest) -> str:
    """Read a file and return its fault; "" if it has the expected size and digest.

    A file that a local disk cannot read is faulty; a store that does not answer raises its error.
    """
    try:
        if on_this_machine(file) and os.path.lexists(file) and not file.is_file():
            return "is not a readable file"
        found = size(file)
        if found != expected.size:
            return f"{found} bytes in place of {expected.size}" if found else "is missing or empty"
        if digest_of(file) != expected:
            return "its content is not what was written"
    except OSError as error:
        if not on_this_machine(file):
            raise
        return f"cannot be read ({error.strerror})"
    return ""


def settle(file: Location) -> None:
    """Flush a file to the disk, so that it survives a loss of power before a record vouches for it."""
    if on_this_machine(file):
        with suppress(FileNotFoundError):
            handle = os.open(file, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
