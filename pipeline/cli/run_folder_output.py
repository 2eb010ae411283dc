"""Implementation of ``s2sharp status``, ``clean`` and ``verify``. Each loads its own part of :mod:`..execution`."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from s2sharp_core import S2SharpError

from ..engine.lease import Holder, Lease
from ..engine.progress import Progress, at_work
from ..storage.location import Location
from ..ui.terminal import PARTIAL, console, problems, size_text

if TYPE_CHECKING:
    from ..planning.plan import Plan
    from ..planning.query_log import Query


class _Standing(NamedTuple):
    """Progress of a run or a mosaic, also as JSON; the beginning of its first line; and queries of a run that are not done."""

    progress: Progress[Any]
    facts: dict[str, Any]
    text: str
    owed: "tuple[Query, ...]" = ()


def show_status(outs: Sequence[Location], *, as_json: bool) -> None:
    """Print the progress of runs and mosaics; exit with :data:`PARTIAL` when one is not done."""
    found = {str(out): _standing(out) for out in outs}
    if as_json:
        facts = [{"out": out, **one.facts} for out, one in found.items()]
        console.print_json(json.dumps(facts[0] if len(facts) == 1 else facts))
    else:
        for out, one in found.items():
            if len(outs) > 1:
                console.print(f"[bold]{escape(out)}[/]")
            console.print(f"{one.text} is {_state(one.progress)}.")
            if not one.progress.left:
                print_unfinished(one.owed)
            _show_progress(one.progress)
    if any(one.progress.left or one.owed for one in found.values()):
        raise typer.Exit(PARTIAL)


def _standing(out: Location) -> _Standing:
    if (out / "mosaic.json").exists():
        from ..mosaic.execute import mosaic_status

        mosaic = mosaic_status(out)
        of = mosaic.plan.config
        text = f"Mosaic of {escape(str(of.out))}, one picture per {of.period} ({of.by}); it"
        return _Standing(mosaic, {"mosaic": mosaic.store, **_facts(mosaic)}, text)
    from ..execution.status import status_of

    run = status_of(out)
    owed = [query.model_dump(mode="json") for query in run.owed]
    config = run.plan.config
    text = f"{config.method} on {config.collection}, {config.datetime}; the cube"
    return _Standing(run, {"cube": run.store, **_facts(run), "owed": owed}, text, run.owed)


def _facts(progress: Progress[Any]) -> dict[str, Any]:
    held = progress.holder
    return {
        "holder": held and {**asdict(held), "alive": at_work(held)},
        "left": progress.left,
        "units": {phase: dict(count) for phase, count in progress.units.items()},
        "failed": [asdict(record) for record in progress.failed],
    }


def _show_progress(progress: Progress[Any]) -> None:
    console.print(_who(progress.holder), markup=False)
    table = Table()
    states = sorted({state for count in progress.units.values() for state in count})
    for column in ("", *states):
        table.add_column(column, justify="right" if column else "left")
    for phase, count in progress.units.items():
        table.add_row(phase, *(str(count[state]) if state in count else "" for state in states))
    console.print(table)
    for record in progress.failed:
        problems.print(
            f"[red]failed:[/] {escape(record.unit)} ({record.kind}): {escape(record.message)}"
        )
    if progress.left:
        units = "1 unit is" if progress.left == 1 else f"{progress.left} units are"
        console.print(f"{units} left: the same command does them.")


def _state(progress: Progress[Any]) -> str:
    """Return the state of a cube or a mosaic.

    Its metadata still say "writing" after its writer has died, and "complete" after ``verify`` found broken files.
    """
    broken = progress.store == "complete" and progress.left
    return "unfinished" if progress.store == "writing" or broken else progress.store


def _who(held: Holder | None) -> str:
    if held is None:
        return "No process is at work."
    name, beat = f"Process {held.pid} on {held.host}", f"{held.beat[:19]} UTC"
    if at_work(held):
        return f"{name} is at work; its last sign of life was at {beat}."
    return f"No process is at work: {name} has shown no sign of life since {beat}."


def print_unfinished(queries: tuple["Query", ...]) -> None:
    """Print earlier queries that are not done, and the commands that finish them."""
    for query in queries:
        problems.print(
            f"[yellow]The cube is partial:[/] an earlier query is not done. Run it again: `s2sharp run {query} …`."
        )


def clean_up(out: Location, *, dry_run: bool, keep: str | None = None) -> None:
    """Remove and list leftovers, and with ``keep`` the other dates of a run."""
    from ..execution.clean import REMOVED, clean, leftovers

    leftovers(out)  # raises for a folder without a run, before the lease is taken
    with Lease.taken(out) as lease:
        plan = _kept(out, keep) if keep else None
        found = leftovers(out, plan)
        # A removed date without files must still be marked, or a run would make it.
        if not dry_run and (plan or any(leftover.why == REMOVED for leftover in found)):
            # Imported here: it loads the writers of cubes.
            from ..execution.retention import take_out
            from ..planning.plan import Plan

            lease.check()
            take_out(plan or Plan.read(out))
        kinds = Counter(leftover.why for leftover in found)
        sizes = {why: sum(x.size for x in found if x.why == why) for why in kinds}
        lease.check()
        if not dry_run:
            clean(out, found)
    for why, count in kinds.items():
        console.print(
            f"{'would remove' if dry_run else 'removed'} {count} × {why}, {size_text(sizes[why])}"
        )
    if not found:
        console.print("There are no leftovers.")


def _kept(out: Location, keep: str) -> "Plan | None":
    """Print the dates to remove, and return the plan of the run without them; None where there are none."""
    if not (out / "run.json").exists():
        raise S2SharpError(
            "bad-config",
            f"{out} holds a mosaic, which has no dates to --keep.",
            "Clean the folder of the cube's run, and make the mosaic anew in another --to.",
        )
    from ..execution.retention import dates, removing
    from ..planning.plan import Plan

    before = Plan.read(out)
    plan = removing(before, keep)
    gone = dates(plan, set(plan.removed) - set(before.removed))
    stay = dates(
        plan, (name for layout in plan.layouts for name in layout.ids if name not in plan.removed)
    )
    console.print(f"Dates to keep: {len(stay)}, {stay[0]} to {stay[-1]}; to remove: {len(gone)}.")
    if not gone:
        return None
    console.print(f"To remove: {' '.join(map(str, gone))}")
    return plan


def verify_folder(out: Location, share: float) -> None:
    """Verify the files of a run or mosaic, and print the broken ones; exit with :data:`PARTIAL` if there are any."""
    if (out / "mosaic.json").exists():
        from ..mosaic.verify import verify_mosaic as verify

        again = "s2sharp mosaic"
    else:
        from ..execution.verify import verify_run as verify

        again = "s2sharp run"
    count, broken = verify(out, share, console.print)
    for found in broken:
        problems.print(f"[red]broken:[/] {escape(found.unit)}: {escape('; '.join(found.what))}")
    console.print(f"Units read: {count}, broken: {len(broken)}.")
    if broken:
        console.print(f"The same `{again}` makes {'them' if len(broken) > 1 else 'it'} anew.")
        raise typer.Exit(PARTIAL)
