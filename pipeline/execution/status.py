"""Where a run stands, from its store alone: while it works, and after it died."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from ..engine.lease import Holder, holder
from ..engine.ledger import Ledger, Record
from ..planning.frozen import read_plan
from ..planning.items import with_acquisitions
from ..planning.plan import Plan
from ..planning.queries import Query, owed
from ..planning.standings import standings
from ..storage.files import read_text
from ..storage.location import Location

__all__ = ["Status", "at_work", "cube_status", "status_of"]


@dataclass(frozen=True)
class Status:
    """How far a run is.

    ``cube``: what the cube says of itself: "writing", "partial" or "complete", "missing" before it is laid out,
    "broken" where that cannot be read: the next run lays it out again.
    ``units``: phase → status → how many, "left" being those of which there is no record. ``failed``: the records of
    those that failed. ``holder``: who took the lease last and has not released it. ``owed``: queries that are not done;
    the latest is among them while it is not.
    """

    plan: Plan
    cube: str
    holder: Holder | None
    units: dict[str, Counter[str]]
    failed: tuple[Record, ...]
    owed: tuple[Query, ...]

    @property
    def left(self) -> int:
        """Units that the same command would still do."""
        return sum(count["left"] + count["failed"] for count in self.units.values())


def status_of(out: Location) -> Status:
    """Read the plan and list the ledger; no worker is asked, and nothing is written.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    plan = with_acquisitions(read_plan(out))
    ledger = Ledger(out / "ledger")
    units: defaultdict[str, Counter[str]] = defaultdict(Counter)
    failed = []
    for found in standings(plan, ledger):
        units[found.phase][found.state] += 1
        if found.state == "failed":
            failed.append(ledger.read(found.name, found.key, "failed"))
    held = holder(out)
    return Status(
        plan,
        cube_status(plan),
        held if held and not held.released else None,
        dict(units),
        tuple(failed),
        owed(out),
    )


def at_work(held: Holder | None) -> bool:
    """Whether who took a lease last writes still, as far as the lease tells."""
    return bool(held and not held.released and not held.dead and held.age < held.seconds)


def cube_status(plan: Plan) -> str:
    """What the cube says of itself, as of :class:`Status`."""
    if not (plan.store / "zarr.json").exists():
        return "missing"
    try:
        root = json.loads(read_text(plan.store / "zarr.json"))
        return str(root["attributes"]["s2sharp"]["status"])
    except (ValueError, KeyError, TypeError):
        return "broken"
