"""Retention: choose the dates to remove, and take them out of the plan and the cube's metadata before files are deleted."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from pydantic import TypeAdapter, ValidationError

from s2sharp_core import S2SharpError

from ..cube.create import finish, lay_out
from ..cube.intact import store_status
from ..planning.client_plan import as_frozen
from ..planning.plan import Plan
from .catalog import publish_catalog

_DURATION = TypeAdapter(timedelta)


def dates_to_keep(days: Sequence[date], keep: str) -> list[date]:
    """Return the dates to keep; ``bad-config`` for a wrong ``keep``.

    Parameters
    ----------
    days
        Dates in UTC.
    keep
        Number of the newest dates, or a period up to and including the newest: ISO 8601 ("P1Y", "P90D") or short ("90d",
        "12w", "6m", "1y"). A month has 30 days, a year 365.
    """
    newest_first = sorted(set(days), reverse=True)
    if re.fullmatch(r"[1-9]\d*", keep):
        return sorted(newest_first[: int(keep)])
    short = re.fullmatch(r"(\d+)([dwmy])", keep, flags=re.IGNORECASE)
    try:
        period = _DURATION.validate_python(f"P{short[1]}{short[2].upper()}" if short else keep)
    except ValidationError:
        period = timedelta()
    if period < timedelta(days=1) or not (short or keep.upper().startswith("P")):
        raise S2SharpError(
            "bad-config",
            f"--keep {keep!r} is neither a number of dates nor a period of a day or more.",
            "Write 24 for the newest 24 dates, or 90d, 12w, 6m, 1y or P1Y for a period.",
        )
    return sorted(day for day in newest_first if newest_first[0] - day < period)


def dates(plan: Plan, names: Iterable[str]) -> list[date]:
    """Return the dates in UTC of acquisitions of a plan, each once, in order."""
    wanted = frozenset(names)
    return sorted(
        {
            date.fromisoformat(when[:10])
            for layout in plan.layouts
            for name, when in zip(layout.ids, layout.times, strict=True)
            if name in wanted
        }
    )


def removing(plan: Plan, keep: str) -> Plan:
    """Return the plan with only the dates to ``keep``; dates that were removed before stay removed."""
    there = [name for layout in plan.layouts for name in layout.ids if name not in plan.removed]
    kept = frozenset(dates_to_keep(dates(plan, there), keep))
    gone = [name for name in there if not kept.intersection(dates(plan, [name]))]
    removed = (*plan.removed, *gone)
    asked = tuple(name for name in plan.asked if name not in removed)
    # If no acquisition of the latest query is left, the plan covers all remaining ones.
    asked = asked or tuple(name for name in there if name not in gone)
    repairs = tuple(name for name in plan.repairs if name.rpartition("/")[0] not in removed)
    return plan.model_copy(update={"removed": removed, "asked": asked, "repairs": repairs})


def take_out(plan: Plan) -> None:
    """Record removed dates in the plan, then in the cube, then in the catalog. Their files are not deleted yet.

    The next `clean` or run completes an interrupted call. Readers who open the cube afterwards do not see the dates; readers
    who had opened it before see no data once the files are deleted. The caller holds the run's lease.
    """
    out = plan.out
    whole = as_frozen(plan)  # if it cannot be read, nothing has changed yet
    if plan.removed != Plan.read(out).removed:
        plan.freeze()
    status = store_status(plan.store)
    if status == "missing":
        return
    lay_out(plan.store, plan.layouts, {x.group: whole.facts(x.epsg) for x in plan.layouts})
    finish(plan.store, "complete" if status == "complete" else "partial")
    if (out / "stac" / "collection.json").exists():
        publish_catalog(whole)
