"""Progress of work in a folder, and who does it."""

from collections import Counter
from dataclasses import dataclass

from .lease import Holder
from .ledger import Record

__all__ = ["Progress", "at_work"]


@dataclass(frozen=True)
class Progress:
    """Progress of the phases of a plan.

    ``units``: phase → status → how many, "left" being those of which there is no record. ``failed``: the records of
    those that failed. ``holder``: who took the lease last and has not released it.
    """

    holder: Holder | None
    units: dict[str, Counter[str]]
    failed: tuple[Record, ...]

    @property
    def left(self) -> int:
        """Units that the same command would still do."""
        return sum(count["left"] + count["failed"] for count in self.units.values())


def at_work(held: Holder | None) -> bool:
    """Return whether who took a lease last writes still, as far as the lease tells."""
    return bool(held and not held.released and not held.dead and held.age < held.seconds)
