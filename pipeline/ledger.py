"""The record of which units are done, from what: status and key stand in a file's name, so that one
listing tells all.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from .place import Place, files, read_texts, remove, write_text

__all__ = ["Ledger", "Record", "Status"]

Status = Literal["ok", "empty", "cloudy", "failed"]

FINAL: frozenset[str] = frozenset({"ok", "empty", "cloudy"})
"""What need not be done again under the same key."""


@dataclass(frozen=True)
class Record:
    """What became of a unit.

    ``unit`` is its path in the ledger, ``key`` the digest of what its content follows from. ``kind``,
    ``message`` and, where they are to blame, ``item`` and ``band`` tell a failure; ``attempt`` counts from 1.
    ``disagreement``: band → DN by which neighbouring tiles differ where they overlap, the median of a sample (:func:`~s2sharp.agreement.disagreement`).
    ``seconds`` by phase; ``idle`` and ``peak`` are the worker's memory in
    bytes before its first unit and at its highest.
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


@dataclass(frozen=True)
class Ledger:
    """A folder with one file per unit, ``UNIT.KEY.STATUS``, its content the :class:`Record`."""

    folder: Place

    def _path(self, unit: str, key: str, status: str) -> Place:
        return self.folder / f"{unit}.{key[:24]}.{status}"

    def write(self, record: Record) -> None:
        """Record a unit, after its shards were written; an earlier failure is taken back."""
        path = self._path(record.unit, record.key, record.status)
        write_text(path, json.dumps(asdict(record), indent=1))
        if record.status in FINAL:
            remove(self._path(record.unit, record.key, "failed"))

    def states(self, folder: str = "") -> dict[tuple[str, str], str]:
        """(unit, first 24 digits of key) → status, from one listing of a folder of units, or of all."""
        found: dict[tuple[str, str], str] = {}
        for name in self.names(folder):
            unit, key, status = name.rsplit(".", 2)
            if found.get((unit, key)) not in FINAL:
                found[unit, key] = status
        return found

    def records(self) -> Iterator[Record]:
        """Every record, read."""
        yield from _read(self.folder, self.names())

    def read(self, unit: str, key: str, status: str) -> Record:
        """One record."""
        (record,) = _read(self.folder, [f"{unit}.{key[:24]}.{status}"])
        return record

    def names(self, folder: str = "") -> Iterator[str]:
        """``UNIT.KEY.STATUS`` of every record, in order."""
        for found in files(self.folder / folder):
            name = found.rpartition("/")[2]
            parts = name.rsplit(".", 2)
            if len(parts) == 3 and parts[2] in get_args(Status) and not name.startswith("."):
                yield f"{folder}/{found}" if folder else found


def _read(folder: Place, names: Iterable[str]) -> Iterator[Record]:
    for text in read_texts(folder, names):
        facts = json.loads(text)
        yield Record(**{**facts, "warnings": tuple(facts["warnings"])})
