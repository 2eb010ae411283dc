"""What a run leaves behind that nobody needs: found by name, and nothing else is touched."""

from dataclasses import dataclass

from ..cube.keys import chunk_name
from ..engine.ledger import FINAL, Ledger
from ..planning.frozen import read_plan
from ..storage.files import files, remove, remove_empty
from ..storage.location import Location

__all__ = ["Leftover", "clean", "leftovers"]


@dataclass(frozen=True)
class Leftover:
    """A file below the folder of a run or a mosaic, by its name there, why it is none of the results, and its size in bytes."""

    name: str
    why: str
    size: int


def leftovers(out: Location) -> list[Leftover]:
    """What may go: the stage, drafts of killed writers, and records of failures that have been made good.

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
        read_plan(out)
    there = files(out)
    ledger = Ledger(out / "ledger")
    done = set(ledger.states().units(*FINAL))
    good = {
        f"ledger/{name}"
        for name in ledger.names()
        if name.endswith(".failed") and name.rsplit(".", 2)[0] in done
    }
    moves = _moves(out)
    return [
        Leftover(name, why, size)
        for name, size in there.items()
        if (why := _why(name, good, moves))
    ]


def _moves(out: Location) -> dict[str, int]:
    """How often each group of the cube was moved; none where there is no cube."""
    if not (out / "run.json").exists():
        return {}
    return {layout.group: layout.moves for layout in read_plan(out).layouts}


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
    """Whether a file of the cube is a chunk under a name of before it was moved, for readers that had opened it then."""
    group, _, rest = name.partition("/")
    return any(chunk_name(earlier, rest) for earlier in range(moves.get(group, 0)))


def clean(out: Location, found: list[Leftover]) -> None:
    """Remove them, and the folders that become empty by it."""
    for leftover in found:
        remove(out / leftover.name)
    remove_empty(out)
