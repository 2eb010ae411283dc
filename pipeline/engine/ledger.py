"""Ledger of finished units: each file name has unit, key and status, so that one listing shows all."""

import json
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError

from s2sharp_core.errors import Kind

from ..storage.digests import Digest
from ..storage.files import clear_place, files, read_named, remove, write_text
from ..storage.location import Location

Status = Literal["ok", "empty", "cloudy", "failed"]

FINAL: frozenset[str] = frozenset({"ok", "empty", "cloudy"})
"""Statuses of units that need no more work under the same key."""

PASSING = frozenset(kind for kind in Kind if kind.may_pass)
"""Kinds of failures that may pass; records hold them by name."""

# Number of a key's digits in a file name.
_DIGITS = 24


@dataclass(frozen=True)
class Record:
    """Outcome of a unit.

    ``unit``: its path in the ledger; ``key``: digest of all that determines its content. ``kind``, ``message`` and, if
    known, ``item`` and ``band`` describe a failure; ``attempt`` counts from 1. ``disagreement``: band → median difference
    in DN between overlapping tiles, of a sample (:func:`~s2sharp.scenes.disagreement.disagreement`). ``seconds``: by step.
    ``idle``, ``peak``: the worker's memory in bytes before its first unit and at its highest. ``written``: time of the
    record, ISO 8601 in UTC. ``files``: size and digest of each file, by a name within the unit; ``software``: version that
    made them.
    """

    unit: str
    key: str
    status: Status
    kind: str = ""
    message: str = ""
    item: str = ""
    band: str = ""
    attempt: int = 1
    warnings: tuple[str, ...] = ()
    windows: int = 0
    valid: int = 0
    disagreement: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    idle: int = 0
    peak: int = 0
    worker: str = ""
    written: str = ""
    files: dict[str, Digest] = field(default_factory=dict)
    software: str = ""


@dataclass(frozen=True)
class Ledger:
    """A folder with one file per unit, ``UNIT.KEY.STATUS``, that holds its :class:`Record`."""

    folder: Location

    def _path(self, unit: str, key: str, status: str) -> Location:
        return self.folder / _name(unit, key, status)

    def write(self, record: Record) -> None:
        """Record a unit after its shards were written; remove the record of an earlier failure."""
        path = self._path(record.unit, record.key, record.status)
        written = record.written or datetime.now(UTC).isoformat(timespec="milliseconds")
        clear_place(path)
        write_text(path, json.dumps({**asdict(record), "written": written}, indent=1))
        if record.status in FINAL:
            remove(self._path(record.unit, record.key, "failed"))

    def states(self, folder: str = "") -> "States":
        """Return the status of every record, from one listing of a folder of units, or of all."""
        return States.of_names(self.names(folder))

    def records(self) -> Iterator[Record]:
        """Read every record."""
        yield from _read(self.folder, self.names())

    def read(self, unit: str, key: str, status: Status) -> Record:
        """Read one record; if it is torn or was removed meanwhile, return the facts in its name."""
        unreadable = f"The record {_name(unit, key, status)} cannot be read."
        told = Record(unit, key, status, kind="file-broken", message=unreadable)
        return next(self.reads([(unit, key, status)]), told)

    def reads(self, wanted: Iterable[tuple[str, str, str]]) -> Iterator[Record]:
        """Read the records of some (unit, key, status), in order, without those that were removed meanwhile."""
        yield from _read(self.folder, (_name(*one) for one in wanted))

    def latest(self, unit: str) -> Record | None:
        """Return the newest record of a unit as done, under any key; None if there is none."""
        parts = ((name, *name.rsplit(".", 2)) for name in self.names(unit.rpartition("/")[0]))
        own = [name for name, whose, _, status in parts if whose == unit and status in FINAL]
        return max(_read(self.folder, own), key=lambda record: record.written, default=None)

    def revoke(self, record: Record | None, torn: Iterable[str], message: str) -> None:
        """Take back that a unit is done: what it had written is not there any more, or ``torn`` are names of its records."""
        if record is not None:
            failed = replace(record, status="failed", kind="shard-broken", message=message)
            self.write(replace(failed, files={}, written=""))
            remove(self._path(record.unit, record.key, record.status))
        for name in torn:
            remove(self.folder / name)

    def named(self, names: Iterable[str]) -> Iterator[Record]:
        """Yield the records of some names from :meth:`names`; unreadable ones are left out."""
        yield from _read(self.folder, names)

    def names(self, folder: str = "", prefix: str = "") -> Iterator[str]:
        """Yield the name ``UNIT.KEY.STATUS`` of every record in order, or of those in folders that begin with ``prefix``."""
        for found in files(self.folder / folder, prefix):
            name = found.rpartition("/")[2]
            parts = name.rsplit(".", 2)
            if len(parts) == 3 and parts[2] in get_args(Status) and not name.startswith("."):
                yield f"{folder}/{found}" if folder else found


@dataclass(frozen=True)
class States:
    """Status of units by their key, from one listing of a ledger."""

    of: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(unit, first digits of its key) → status."""

    @classmethod
    def of_names(cls, names: Iterable[str]) -> "States":
        """Return the status of each unit and key among names of records: a final one, if there is one."""
        found: dict[tuple[str, str], str] = {}
        for name in names:
            unit, key, status = name.rsplit(".", 2)
            if found.get((unit, key)) not in FINAL:
                found[unit, key] = status
        return cls(found)

    def get(self, unit: str, key: str) -> str | None:
        """Return the status of ``unit`` under ``key``, None without a record."""
        return self.of.get((unit, key[:_DIGITS]))

    def done(self, unit: str, key: str) -> bool:
        """Return whether ``unit`` needs no more work under ``key``."""
        return self.get(unit, key) in FINAL

    def units(self, *statuses: str) -> list[str]:
        """Return the units that have one of ``statuses``, in order."""
        return sorted({unit for (unit, _), status in self.of.items() if status in statuses})


class KnownRecords:
    """Records of a ledger as one process knows them: each folder of units listed once, and then as it hears of new ones.

    A listing is a request for each thousand records, and a continent has millions. So their names are kept, those of a
    folder in one piece of bytes, and folders whose names begin alike are listed together.

    Parameters
    ----------
    wanted
        Folders that will be asked for.
    others
        Other folders of the ledger, which are not listed with them.
    """

    def __init__(
        self, ledger: Ledger, wanted: Collection[str] = (), others: Collection[str] = ()
    ) -> None:
        self._ledger = ledger
        self._wanted, self._others = sorted(wanted), sorted(others)
        self._names: dict[str, bytes] = {}
        self._last: tuple[str, States] | None = None

    def states(self, folder: str) -> States:
        """Return the status of every record in a folder of units."""
        if self._last is None or self._last[0] != folder:
            if folder not in self._names:
                self._list(folder)
            names = self._names[folder].decode(errors=_ODD).split(_END)[:-1]
            self._last = folder, States.of_names(names)
        return self._last[1]

    def _list(self, folder: str) -> None:
        prefix, together = self._beginning(folder)
        if not prefix:
            self._names[folder] = _packed(self._ledger.names(folder))
            return
        new = together.difference(self._names)
        self._names |= dict.fromkeys(new, b"")
        names = self._ledger.names(prefix=prefix)
        for whose, some in groupby(names, lambda name: name.partition("/")[0]):
            if whose in new:
                self._names[whose] = _packed(some)

    def _beginning(self, folder: str) -> tuple[str, frozenset[str]]:
        """Return the shortest beginning of a folder's name that only few wanted folders share, and these; "" if none."""
        for end in range(1, len(folder)):
            prefix = folder[:end]
            shared = _beginning_with(prefix, self._wanted)
            few = 1 < len(shared) <= _TOGETHER and folder in shared
            if few and not _beginning_with(prefix, self._others):
                return prefix, frozenset(shared)
        return "", frozenset()

    def hear(self, record: Record) -> None:
        """Take in that a record was written."""
        folder = record.unit.rpartition("/")[0]
        if folder in self._names:
            self._names[folder] += _packed([_name(record.unit, record.key, record.status)])
            self._last = None


# Folders of one listing: a page of a thousand names is seldom full at the end of a folder. All are in memory at once.
_TOGETHER = 32


def _beginning_with(prefix: str, names: Sequence[str]) -> Sequence[str]:
    """Return those of sorted names that begin with ``prefix``."""
    return names[bisect_left(names, prefix) : bisect_left(names, f"{prefix}{chr(sys.maxunicode)}")]


# A folder may hold files of others, with names that are no text.
_END, _ODD = "\n", "surrogateescape"


def _packed(names: Iterable[str]) -> bytes:
    return "".join(f"{name}{_END}" for name in names if _END not in name).encode(errors=_ODD)


def _name(unit: str, key: str, status: str) -> str:
    return f"{unit}.{key[:_DIGITS]}.{status}"


@lru_cache(maxsize=1)
def _form() -> TypeAdapter[Record]:
    """Return the parser of records, which ignores fields of later versions."""
    return TypeAdapter(Record)


def _read(folder: Location, names: Iterable[str]) -> Iterator[Record]:
    """Yield records; torn ones, and those whose content contradicts their name, are left out.

    Units without a valid record count as not done.
    """
    for name, text in read_named(folder, names):
        try:
            record = _form().validate_json(text)
        except ValidationError:
            continue
        plain = all(file.isprintable() and "/" not in file for file in record.files)
        if plain and _name(record.unit, record.key, record.status) == name:
            yield record
