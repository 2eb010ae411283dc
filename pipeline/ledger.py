"""The record of which units are done, from what: status and key stand in a file's name, so that one
listing tells all.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args
from uuid import uuid4

__all__ = ["Ledger", "Record", "Status"]

Status = Literal["ok", "empty", "cloudy", "failed"]

FINAL: frozenset[str] = frozenset({"ok", "empty", "cloudy"})
"""What need not be done again under the same key."""


@dataclass(frozen=True)
class Record:
    """What became of a unit.

    ``unit`` is its path in the ledger, ``key`` the digest of what its content follows from. ``kind``,
    ``message`` and, where they are to blame, ``item`` and ``band`` tell a failure; ``attempt`` counts from 1.
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
    seconds: dict[str, float] = field(default_factory=dict)
    idle: int = 0
    peak: int = 0
    worker: str = ""


@dataclass(frozen=True)
class Ledger:
    """A folder with one file per unit, ``UNIT.KEY.STATUS``, its content the :class:`Record`."""

    folder: Path

    def _path(self, unit: str, key: str, status: str) -> Path:
        return self.folder / f"{unit}.{key[:24]}.{status}"

    def write(self, record: Record) -> None:
        """Record a unit, after its shards were written; an earlier failure is taken back."""
        path = self._path(record.unit, record.key, record.status)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Workers on other machines may have this one's process id.
        draft = path.with_name(f".{path.name}.{uuid4().hex}")
        draft.write_text(json.dumps(asdict(record), indent=1))
        draft.replace(path)
        if record.status in FINAL:
            self._path(record.unit, record.key, "failed").unlink(missing_ok=True)

    def states(self, folder: str = "") -> dict[tuple[str, str], str]:
        """(unit, first 24 digits of key) → status, from one listing of a folder of units, or of all."""
        found: dict[tuple[str, str], str] = {}
        for path in self._files(folder):
            unit, key, status = path.relative_to(self.folder).as_posix().rsplit(".", 2)
            if found.get((unit, key)) not in FINAL:
                found[unit, key] = status
        return found

    def records(self) -> Iterator[Record]:
        """Every record, read."""
        for path in self._files():
            facts = json.loads(path.read_text())
            yield Record(**{**facts, "warnings": tuple(facts["warnings"])})

    def _files(self, folder: str = "") -> Iterator[Path]:
        root = self.folder / folder
        if root.exists():
            yield from (
                path
                for path in sorted(root.rglob("[!.]*.*.*"))
                if path.suffix[1:] in get_args(Status) and path.is_file()
            )
