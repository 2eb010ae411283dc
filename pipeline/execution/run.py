"""Reference to a run, for its workers."""

from dataclasses import dataclass

from ..planning.plan import Plan
from ..storage.location import Location

TOPIC = "s2sharp-fit"
"""Topic of the workers' messages about a fit: a dict of ``take``, ``step``, ``steps``, ``loss``."""


@dataclass(frozen=True)
class Run:
    """Folder and stamp of a worker's plan, and the number of threads for the net (0: unchanged)."""

    out: Location
    stamp: str
    threads: int

    @property
    def plan(self) -> Plan:
        return Plan.under(self.out, self.stamp)

    def still(self) -> None:
        """Raise if another run has taken the folder over."""
        Plan.check(self.out, self.stamp)
