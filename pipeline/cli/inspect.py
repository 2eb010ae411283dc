"""``s2sharp status``, ``clean`` and ``verify`` at work."""

import json
from collections import Counter
from dataclasses import asdict

import typer
from rich.markup import escape
from rich.table import Table

from ..engine.lease import Holder, Lease
from ..execution.clean import clean, leftovers
from ..execution.status import at_work, status_of
from ..planning.queries import Query
from ..storage.location import Location
from ..ui.terminal import PARTIAL, console, problems, size_text

__all__ = ["clean_up", "say_owed", "show_status", "verify_folder"]


def show_status(out: Location, *, as_json: bool) -> None:
    """How far a run is; leaves with :data:`PARTIAL` when something is left."""
    found = status_of(out)
    if as_json:
        facts = {
            "cube": found.cube,
            "holder": found.holder and {**asdict(found.holder), "alive": at_work(found.holder)},
            "left": found.left,
            "units": {phase: dict(count) for phase, count in found.units.items()},
            "failed": [asdict(record) for record in found.failed],
            "owed": [query.model_dump(mode="json") for query in found.owed],
        }
        console.print_json(json.dumps(facts))
    else:
        config = found.plan.config
        console.print(
            f"{config.method} on {config.collection}, {config.datetime}; the cube is {found.cube}."
        )
        console.print(_who(found.holder), markup=False)
        table = Table()
        states = sorted({state for count in found.units.values() for state in count})
        for column in ("", *states):
            table.add_column(column, justify="right" if column else "left")
        for phase, count in found.units.items():
            table.add_row(phase, *(str(count[state]) if state in count else "" for state in states))
        console.print(table)
        for record in found.failed:
            problems.print(
                f"[red]failed:[/] {escape(record.unit)} ({record.kind}): {escape(record.message)}"
            )
        if found.left:
            console.print(f"{found.left} units are left: the same `s2sharp run` does them.")
        else:
            say_owed(found.owed)
    if found.left or found.owed:
        raise typer.Exit(PARTIAL)


def _who(held: Holder | None) -> str:
    if held is None:
        return "Nobody is at work."
    name, beat = f"Process {held.pid} on {held.host}", f"{held.beat[:19]} UTC"
    if at_work(held):
        return f"{name} is at work; its last sign of life is of {beat}."
    return f"Nobody is at work: {name} has shown no sign of life since {beat}."


def say_owed(queries: tuple[Query, ...]) -> None:
    """What earlier queries left, and how to have it done."""
    for query in queries:
        problems.print(
            f"[yellow]The cube is partial:[/] an earlier query is not done. Run it again: `s2sharp run {query} …`."
        )


def clean_up(out: Location, *, dry_run: bool) -> None:
    """Remove leftovers, each told."""
    leftovers(out)  # a folder that holds no run gets no lease
    with Lease.taken(out) as lease:
        found = leftovers(out)
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
        console.print("Nothing is left over.")


def verify_folder(out: Location, share: float) -> None:
    """Read back what was written, and tell what is broken; leaves with :data:`PARTIAL` where something is."""
    if (out / "mosaic.json").exists():
        from ..mosaic.verify import verify_mosaic as verify

        again = "s2sharp mosaic"
    else:
        from ..execution.verify import verify_run as verify

        again = "s2sharp run"
    count, broken = verify(out, share, console.print)
    for found in broken:
        problems.print(f"[red]broken:[/] {escape(found.unit)}: {escape('; '.join(found.what))}")
    console.print(f"{count} units were read, {len(broken)} are broken.")
    if broken:
        console.print(f"The same `{again}` makes {'them' if len(broken) > 1 else 'it'} anew.")
        raise typer.Exit(PARTIAL)
