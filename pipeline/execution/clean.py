"""Leftovers of a run that nobody needs: found by name, and nothing else is touched."""

from collections.abc import Callable
from dataclasses import dataclass

from ..cube.keys import KEYS, chunk_index, chunk_name
from ..engine.ledger import FINAL, Ledger
from ..planning.plan import Plan
from ..storage.files import files, remove, remove_empty
from ..storage.location import Location

__all__ = ["REMOVED", "Leftover", "clean", "leftovers"]


@dataclass(frozen=True)
class Leftover:
    """A file below the folder of a run or a mosaic, by its name there, why it is none of the results, and its size in bytes."""

    name: str
    why: str
    size: int


REMOVED = "a file of a date that is kept no more"
"""Why what :func:`~s2sharp.execution.retention.removing` chose goes."""


def leftovers(out: Location, plan: Plan | None = None) -> list[Leftover]:
    """List what may go: the stage, drafts of killed writers, records of failures that have been made good, and all of dates that
    were removed.

    ``plan``: that of the run, where it is not the one in ``out``.

    Sensors that were measured and weights that were fitted stay: a run that is continued needs them, and the cube names them.

    Raises
    ------
    S2SharpError
        ``not-a-run``: nothing is removed from a folder that holds no run and no mosaic.
    """
    if (out / "mosaic.json").exists():
        # Here: what mosaics are made with need not be installed to tidy a run.
        from ..mosaic.plan import MosaicPlan

        MosaicPlan.read(out)
    else:
        plan = plan or Plan.read(out)
    there = files(out)
    ledger = Ledger(out / "ledger")
    done = set(ledger.states().units(*FINAL))
    good = {
        f"ledger/{name}"
        for name in ledger.names()
        if name.endswith(".failed") and name.rsplit(".", 2)[0] in done
    }
    # Moves of each group of the cube; a mosaic is not moved.
    moves = {layout.group: layout.moves for layout in plan.layouts} if plan else {}
    removed = _of_removed(plan) if plan and plan.removed else lambda _: False
    return [
        Leftover(name, why, size)
        for name, size in there.items()
        if (why := REMOVED if removed(name) else _why(name, good, moves))
    ]


def _of_removed(plan: Plan) -> Callable[[str], bool]:
    """Return whether a file of a run belongs to a date that was removed: its shards, records, COGs, pictures, and what tells of it."""
    gone = frozenset(plan.removed)
    places = {
        layout.group: {i for i, name in enumerate(layout.ids) if name in gone}
        for layout in plan.layouts
    }

    def belongs(name: str) -> bool:
        top, _, rest = name.partition("/")
        whose, _, inner = rest.partition("/")
        if top == "cube.zarr":
            return any(index in places.get(whose, ()) for index in _times(inner))
        if top in ("acquisitions", "pictures"):
            stem = rest.rpartition(".")[0]
            return stem in gone or stem.removesuffix("-small") in gone
        if top == "stac":
            return whose == "items" and inner.removesuffix(".json") in gone
        return top in ("cogs", "ledger") and whose in gone and bool(inner)

    return belongs


def _times(path: str) -> list[int]:
    """Index in time of a file below a group of a cube, however often the group was moved; empty for what is no shard."""
    parts = path.split("/")
    # The array's folder is followed by the chunk's name, of one to four parts.
    names = ("/".join(parts[-count:]) for count in range(1, min(4, len(parts) - 1) + 1))
    found = (chunk_index(moves, name) for name in names for moves in range(KEYS))
    return [index[0] for index in found if index is not None and len(index) == 3]


_OURS = {
    *(
        "acquisitions",
        "cogs",
        "cube.zarr",
        "fits",
        "lease",
        "ledger",
        "pictures",
        "sensors",
        "stac",
    ),
    *("differences", "mosaic.zarr"),
}
"""Folders that a run or a mosaic writes to."""

_DRAFTS = (
    *(
        ".run.json.",
        ".run.stamp.",
        ".mosaic.stamp.",
        ".area.geojson.",
        ".items.parquet.",
        ".datatakes.parquet.",
        ".owed.json.",
    ),
    *(".mosaic.json.", ".differences.json."),
)
"""What drafts of its files begin with."""


def _why(name: str, good: set[str], moves: dict[str, int]) -> str:
    top, _, rest = name.partition("/")
    if top == "stage":
        return "a native band, copied"
    if name in good:
        return "a failure that has been made good"
    if top == "cube.zarr" and _outdated(rest, moves):
        return "a shard as it was called before the cube grew"
    ours = (top in _OURS and rest) or top.startswith(_DRAFTS)
    torn = name.endswith(".partial") or "/.partial-" in name  # the latter are folders of COGs
    return "a draft" if ours and torn else ""


def _outdated(name: str, moves: dict[str, int]) -> bool:
    """Return whether a file of the cube is a chunk under a name of before it was moved, for readers that had opened it then."""
    group, _, rest = name.partition("/")
    return any(chunk_name(earlier, rest) for earlier in range(moves.get(group, 0)))


def clean(out: Location, found: list[Leftover]) -> None:
    """Remove them, and the folders that become empty by it."""
    # Records before what they vouch for: of a clean that is killed, nothing is left that says it is done and is not.
    for leftover in sorted(found, key=lambda x: not x.name.startswith("ledger/")):
        remove(out / leftover.name)
    remove_empty(out)
