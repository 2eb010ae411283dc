"""Leftovers of a run: found by their names, and removed without touching other files."""

from collections.abc import Callable
from dataclasses import dataclass

from ..cube.keys import KEYS, chunk_index, chunk_name
from ..engine.ledger import FINAL, Ledger
from ..planning.plan import Plan
from ..storage.files import files, remove, remove_empty
from ..storage.location import Location


@dataclass(frozen=True)
class Leftover:
    """A file below the folder of a run or a mosaic: its path there, the reason why it is no result, its size in bytes."""

    name: str
    why: str
    size: int


REMOVED = "a file of a date that is kept no more"
"""Reason for files of dates that :func:`~s2sharp.execution.retention.removing` chose."""


def leftovers(out: Location, plan: Plan | None = None) -> list[Leftover]:
    """List leftovers: the stage, temporary files of killed writers, records of repaired failures, and all files of
    removed dates.

    ``plan``: plan of the run, if it is not the one in ``out``.

    Measured sensors and fitted weights stay: a continued run needs them, and the cube names them.

    Error: ``not-a-run``, so that no file is removed from a folder without a run or a mosaic.
    """
    if (out / "mosaic.json").exists():
        # Imported here, because cleaning a run must not need the packages for mosaics.
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
    # Moves of each group of the cube; a mosaic has none.
    moves = {layout.group: layout.moves for layout in plan.layouts} if plan else {}
    removed = _of_removed(plan) if plan and plan.removed else lambda _: False
    return [
        Leftover(name, why, size)
        for name, size in there.items()
        if (why := REMOVED if removed(name) else _why(name, good, moves))
    ]


def _of_removed(plan: Plan) -> Callable[[str], bool]:
    """Return a test whether a file belongs to a removed date: shards, records, COGs, pictures, item."""
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
    """Return the indices in time that a path below a group may mean, in any encoding; none if it is not a shard."""
    parts = path.split("/")
    # The array's folder is followed by the chunk's name, of one to four parts.
    names = ("/".join(parts[-count:]) for count in range(1, min(4, len(parts) - 1) + 1))
    found = (chunk_index(moves, name) for name in names for moves in range(KEYS))
    return [index[0] for index in found if index is not None and len(index) == 3]


_OURS = frozenset(
    [
        "acquisitions",
        "cogs",
        "cube.zarr",
        "differences",
        "fits",
        "lease",
        "ledger",
        "mosaic.zarr",
        "pictures",
        "sensors",
        "stac",
    ]
)
"""Folders that a run or a mosaic writes to."""

_DRAFTS = (
    *(".run.json.", ".run.stamp.", ".area.geojson.", ".items.parquet.", ".datatakes.parquet."),
    *(".acquisitions.jsonl.gz.", ".datatakes.jsonl.gz."),
    *(".owed.json.", ".mosaic.json.", ".mosaic.stamp.", ".differences.json."),
)
"""Prefixes of temporary files."""


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
    """Return whether a file is a chunk under a name from before a move, kept for readers that had opened the cube then."""
    group, _, rest = name.partition("/")
    return any(chunk_name(earlier, rest) for earlier in range(moves.get(group, 0)))


def clean(out: Location, found: list[Leftover]) -> None:
    """Remove leftovers, and folders that become empty."""
    # Records are removed before the files that they describe, so that an interrupted call leaves no record without a file.
    for leftover in sorted(found, key=lambda x: not x.name.startswith("ledger/")):
        remove(out / leftover.name)
    remove_empty(out)
