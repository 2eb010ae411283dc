"""Progress of work in a folder, and its holder."""

from collections import Counter
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..storage.location import Location
from .frozen_plan import Frozen
from .lease import Holder, holder
from .ledger import Record

P = TypeVar("P", bound=Frozen, covariant=True)


@dataclass(frozen=True)
class Progress(Generic[P]):
    """Progress of the phases of a plan.

    ``store``: what the cube or the mosaic says of itself, as of :func:`~s2sharp.cube.intact.store_status`. ``units``: phase →
    status → number, "left" for those without a record. ``failed``: records of failures. ``holder``: as of :func:`held`.
    """

    plan: P
    store: str
    units: dict[str, Counter[str]]
    failed: tuple[Record, ...]
    holder: Holder | None

    @property
    def left(self) -> int:
        """Number of units that the same command would still do."""
        return sum(count["left"] + count["failed"] for count in self.units.values())


def held(out: Location) -> Holder | None:
    """Return the last holder of the lease of ``out``, if it has not been released."""
    last = holder(out)
    return None if last is None or last.released else last


def at_work(held: Holder | None) -> bool:
    """Return whether the last holder of a lease is still at work, judged by the lease."""
    return bool(held and not held.released and not held.dead and held.age < held.seconds)
