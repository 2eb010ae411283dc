"""Progress of work in a folder, and its holder."""

from collections import Counter
from dataclasses import dataclass

from .lease import Holder
from .ledger import Record


@dataclass(frozen=True)
class Progress:
    """Progress of the phases of a plan.

    ``units``: phase → status → number, "left" for those without a record. ``failed``: records of failures. ``holder``: last
    holder of the lease, if it has not been released.
    """

    holder: Holder | None
    units: dict[str, Counter[str]]
    failed: tuple[Record, ...]

    @property
    def left(self) -> int:
        """Number of units that the same command would still do."""
        return sum(count["left"] + count["failed"] for count in self.units.values())


def at_work(held: Holder | None) -> bool:
    """Return whether the last holder of a lease is still at work, judged by the lease."""
    return bool(held and not held.released and not held.dead and held.age < held.seconds)
