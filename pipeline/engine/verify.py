"""Verify the files of records against their digests, and take back the records of broken files."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from ..storage.digests import wrong
from ..storage.location import Location
from .ledger import FINAL, Ledger, Record

Locate = Callable[[str, str], Location | None]
"""(path of a unit in the ledger, name of a file in its record) → the file; None for a file that is not expected."""

# Number of units that are read at a time, and of those that are fetched together.
_AT_ONCE, _RUN = 4, 32


@dataclass(frozen=True)
class Broken:
    """A unit that differs from its record: ``what``: the faults, a line for each file.

    ``record``: the latest readable record; ``torn``: names of unreadable ones.
    """

    unit: str
    what: tuple[str, ...]
    record: Record | None
    torn: tuple[str, ...] = ()


def recorded(ledger: Ledger, folder: str = "") -> dict[str, list[str]]:
    """Return the units recorded as done, with the names of their records."""
    found: dict[str, list[str]] = {}
    for name in ledger.names(folder):
        unit, _, status = name.rsplit(".", 2)
        if status in FINAL:
            found.setdefault(unit, []).append(name)
    return found


def some_recorded(ledger: Ledger, share: float) -> list[tuple[str, list[str]]]:
    """Return a share of the units recorded as done, at random; one at least, if there are any."""
    units = list(recorded(ledger).items())
    return random.sample(units, round(share * len(units)) or min(1, len(units)))


def revoke_broken(
    ledger: Ledger,
    units: Iterable[tuple[str, Sequence[str]]],
    locate: Locate,
    seconds: float = float("inf"),
    check: Callable[[], None] = lambda: None,
) -> tuple[int, list[Broken]]:
    """Read the files of units for at most ``seconds``, and take back the records of broken ones.

    ``units``: items of the result of :func:`recorded`; ``check``: called between units, raises to stop. Return the number
    of units that were read, and the broken ones.
    """
    end, count, broken, left = time.monotonic() + seconds, 0, [], iter(units)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while some := list(islice(left, _RUN)):
            for found in pool.map(lambda unit: _look(ledger, locate, *unit), some):
                check()
                count += 1
                if found is not None:
                    ledger.revoke(found.record, found.torn, "; ".join(found.what))
                    broken.append(found)
                if time.monotonic() > end:
                    return count, broken
    return count, broken


def _look(ledger: Ledger, locate: Locate, unit: str, names: Sequence[str]) -> Broken | None:
    """Read the records and the files of a unit; return None for an intact one."""
    read = {one: next(ledger.named([one]), None) for one in names}
    torn = tuple(one for one, record in read.items() if record is None)
    what = [f"the record {one} cannot be read, or is another unit's" for one in torn]
    there = [record for record in read.values() if record is not None]
    latest = max(there, key=lambda record: record.written, default=None)
    for variable, digest in latest.files.items() if latest else ():
        file = locate(unit, variable)
        found = wrong(file, digest) if file is not None else ""
        if found:
            what.append(f"{file}: {found}")
    return Broken(unit, tuple(what), latest, torn) if what else None


def broken_metadata(store: str, names: Sequence[str]) -> list[Broken]:
    """Report broken files of a store that no unit wrote: metadata and coordinates."""
    what = tuple(f"{name} is missing, or not as it was written" for name in names)
    return [Broken(store, what, None)] if what else []
