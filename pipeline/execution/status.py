"""Status of a run from its store alone, while it works and afterwards."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from ..cube.intact import store_status
from ..engine.progress import Progress, held
from ..planning.client_plan import as_frozen
from ..planning.plan import Plan
from ..planning.query_log import Query, unfinished_queries
from ..planning.unit_states import UnitStates
from ..storage.location import Location


@dataclass(frozen=True)
class Status(Progress[Plan]):
    """Progress of a run; ``owed``: queries that are not done; the latest is among them while it is not."""

    owed: tuple[Query, ...]


def status_of(out: Location) -> Status:
    """Read the plan and list the ledger; nothing is written."""
    plan = as_frozen(Plan.read(out))
    units: defaultdict[str, Counter[str]] = defaultdict(Counter)
    failed = []
    for found in UnitStates(plan).every():
        units[found.phase][found.state] += 1
        if found.state == "failed":
            failed.append(plan.ledger.read(found.name, found.key, "failed"))
    return Status(
        plan=plan,
        store=store_status(plan.store),
        units=dict(units),
        failed=tuple(failed),
        holder=held(out),
        owed=unfinished_queries(out),
    )
