"""Verify a cube: broken files are recorded as failed, so that the same run makes them anew."""

import random
from collections.abc import Callable, Iterator, Sequence

from ..cube.create import misplaced
from ..cube.layout import shard_file
from ..engine.lease import Lease
from ..engine.verify import Broken, broken_metadata, recorded, revoke_broken, some_recorded
from ..planning.plan import Plan
from ..storage.location import Location

# Most seconds of a run for reading back some files.
_LOOK = 2.0


def file_of(plan: Plan, name: str, variable: str) -> Location | None:
    """Return the file of a unit's ``variable``, as in its record; None if the cube has no such unit."""
    unit = plan.unit(name)
    if unit is None:
        return None
    if unit.level < 0:
        return plan.out / "cogs" / plan.acquisition_id(unit) / f"{variable}.tif"
    layout = plan.layout(unit.epsg)
    native = layout.native
    within = native if native is not None and variable in native.bands else layout
    file = shard_file(within, variable, unit.time, unit.row, unit.col, unit.level)
    return plan.store / file


def verify_run(
    out: Location, share: float = 1.0, tell: Callable[[str], None] = lambda _: None
) -> tuple[int, list[Broken]]:
    """Read back the files of a run, and record the broken ones as failed; the same run makes exactly these anew.

    ``share``: of the units to read, chosen at random; ``tell``: called with a line of text before a wait. Return the
    number of units that were read, and the broken ones.

    Errors: ``not-a-run``, ``other-run``; ``busy`` while a run is at work.
    """
    Plan.read(out)
    with Lease.taken(out, tell=tell) as lease:
        plan = Plan.read(out)
        chosen = some_recorded(plan.ledger, share)
        count, broken = revoke_broken(
            plan.ledger, chosen, lambda *x: file_of(plan, *x), check=lease.check
        )
        broken += broken_metadata(plan.store.name, misplaced(plan.store, plan.layouts))
        if broken:
            # The next run repairs them, whatever its query.
            repairs = tuple(sorted({*plan.repairs, *(found.unit for found in broken)}))
            plan.model_copy(update={"repairs": repairs}).freeze()
    return count, broken


def quick_audit(plan: Plan, *, overviews: bool = True) -> list[Broken]:
    """Read back some of what is there of the acquisitions that a run works on, for two seconds at most.

    ``overviews``: also those of overviews; after a move of the cube, all overviews are made anew.
    """

    def wanted(name: str) -> bool:
        unit = None if overviews else plan.unit(name)
        return unit is None or unit.level <= 0

    def units() -> Iterator[tuple[str, Sequence[str]]]:
        for acquisition in random.sample(plan.asked, len(plan.asked)):
            every = recorded(plan.ledger, acquisition).items()
            found = [one for one in every if wanted(one[0])]
            yield from random.sample(found, len(found))

    return revoke_broken(plan.ledger, units(), lambda *x: file_of(plan, *x), _LOOK)[1]
