"""Files that records vouch for: read back, and taken back where they are not what was written."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from ..storage.digests import wrong
from ..storage.location import Location
from .ledger import FINAL, Ledger, Record

__all__ = ["Broken", "Locate", "around", "read_back", "recorded", "take_back"]

Locate = Callable[[str, str], Location | None]
"""(path of a unit in the ledger, name that its record has for a file) → the file; None for one that is not to be there."""

# Units that are looked at at a time, and before more are asked for.
_AT_ONCE, _RUN = 4, 32


@dataclass(frozen=True)
class Broken:
    """A unit that is not what its record says: ``what`` is wrong, a line for each file.

    ``record``: the latest that can be read; ``torn``: names of those that cannot.
    """

    unit: str
    what: tuple[str, ...]
    record: Record | None
    torn: tuple[str, ...] = ()


def recorded(ledger: Ledger, folder: str = "") -> dict[str, list[str]]:
    """Return the units that are recorded as done, with the names of their records."""
    found: dict[str, list[str]] = {}
    for name in ledger.names(folder):
        unit, _, status = name.rsplit(".", 2)
        if status in FINAL:
            found.setdefault(unit, []).append(name)
    return found


def read_back(
    ledger: Ledger, units: Iterable[tuple[str, Sequence[str]]], locate: Locate
) -> Iterator[Broken | None]:
    """Look at the files of units, one after the other; yield what is broken, and None for a unit that is whole.

    Parameters
    ----------
    units
        As :func:`recorded` gives them.
    """

    def look(unit: tuple[str, Sequence[str]]) -> Broken | None:
        name, names = unit
        read = {one: next(ledger.named([one]), None) for one in names}
        torn = tuple(one for one, record in read.items() if record is None)
        what = [f"the record {one} cannot be read, or is another unit's" for one in torn]
        there = [record for record in read.values() if record is not None]
        latest = max(there, key=lambda record: record.written, default=None)
        for variable, digest in latest.files.items() if latest else ():
            file = locate(name, variable)
            found = wrong(file, digest) if file is not None else ""
            if found:
                what.append(f"{file}: {found}")
        return Broken(name, tuple(what), latest, torn) if what else None

    left = iter(units)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while some := list(islice(left, _RUN)):
            yield from pool.map(look, some)


def take_back(
    ledger: Ledger,
    units: Iterable[tuple[str, Sequence[str]]],
    locate: Locate,
    seconds: float = float("inf"),
    check: Callable[[], None] = lambda: None,
) -> tuple[int, list[Broken]]:
    """Take back the records of what is broken among the units that can be looked at within ``seconds``.

    ``check``: called between units; raises to stop.

    Returns
    -------
    int, list
        How many units were looked at, and what was broken.
    """
    end, count, broken = time.monotonic() + seconds, 0, []
    for found in read_back(ledger, units, locate):
        check()
        count += 1
        if found is not None:
            ledger.revoke(found.record, found.torn, "shard-broken", "; ".join(found.what))
            broken.append(found)
        if time.monotonic() > end:
            break
    return count, broken


def around(store: str, names: Sequence[str]) -> list[Broken]:
    """Say that files of a store that no unit wrote, metadata and coordinates, are not as they were written."""
    what = tuple(f"{name} is missing, or not as it was written" for name in names)
    return [Broken(store, what, None)] if what else []
