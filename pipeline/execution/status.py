"""Status of a run, from its store alone: while it works, and after it died."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from ..engine.lease import holder
from ..engine.ledger import Ledger
from ..engine.progress import Progress
from ..planning.items import with_acquisitions
from ..planning.plan import Plan
from ..planning.queries import Query, owed
from ..planning.standings import standings
from ..storage.files import read_text
from ..storage.location import Location

__all__ = ["Status", "cube_status", "status_of"]


@dataclass(frozen=True)
class Status(Progress):
    """Progress of a run.

    ``cube``: what the cube says of itself: "writing", "partial" or "complete", "missing" before it is laid out,
    "broken" where that cannot be read: the next run lays it out again.
    ``owed``: queries that are not done; the latest is among them while it is not.
    """

    plan: Plan
    cube: str
    owed: tuple[Query, ...]


def status_of(out: Location) -> Status:
    """Read the plan and list the ledger; no worker is asked, and nothing is written.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    plan = with_acquisitions(Plan.read(out))
    ledger = Ledger(out / "ledger")
    units: defaultdict[str, Counter[str]] = defaultdict(Counter)
    failed = []
    for found in standings(plan, ledger):
        units[found.phase][found.state] += 1
        if found.state == "failed":
            failed.append(ledger.read(found.name, found.key, "failed"))
    held = holder(out)
    return Status(
        holder=held if held and not held.released else None,
        units=dict(units),
        failed=tuple(failed),
        plan=plan,
        cube=cube_status(plan),
        owed=owed(out),
    )


def cube_status(plan: Plan) -> str:
    """Return what the cube says of itself, as of :class:`Status`."""
    if not (plan.store / "zarr.json").exists():
        return "missing"
    try:
        root = json.loads(read_text(plan.store / "zarr.json"))
        return str(root["attributes"]["s2sharp"]["status"])
    except (ValueError, KeyError, TypeError):
        return "broken"
