"""A run, as its workers know it."""

from dataclasses import dataclass

from ..planning.plan import Plan
from ..storage.location import Location

__all__ = ["TOPIC", "Run"]

TOPIC = "s2sharp-fit"
"""What workers tell of a fit under way: a dict of ``take``, ``step``, ``steps``, ``loss``."""


@dataclass(frozen=True)
class Run:
    """The place of a worker's plan, and how many threads the net may use (0: as they are set)."""

    out: Location
    stamp: str
    threads: int

    @property
    def plan(self) -> Plan:
        return Plan.under(self.out, self.stamp)

    def still(self) -> None:
        """Raise where another run has taken the folder over."""
        Plan.check(self.out, self.stamp)
