"""What a run leaves behind that nobody needs: found by name, and nothing else is touched."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .ledger import FINAL, Ledger
from .plan import read_plan

__all__ = ["Leftover", "clean", "leftovers"]


@dataclass(frozen=True)
class Leftover:
    """A file or folder, why it is none of the results, and its size in bytes."""

    path: Path
    why: str
    size: int


def leftovers(out: Path) -> list[Leftover]:
    """What may go: the stage, drafts of killed writers, and records of failures that have been made good.

    Weights that were fitted stay: a run that is continued needs them, and the cube names them.

    Raises
    ------
    S2SharpError
        ``not-a-run``: nothing is removed from a folder that holds none.
    """
    read_plan(out)
    found = [Leftover(path, why, _size(path)) for path, why in _drafts(out)]
    stage = out / "stage"
    if stage.exists():
        found.append(Leftover(stage, "native bands, copied", _size(stage)))
    ledger = Ledger(out / "ledger")
    done = {unit for (unit, _), status in ledger.states().items() if status in FINAL}
    for path, unit, status in ledger.files():
        if status == "failed" and unit in done:
            found.append(Leftover(path, "a failure that has been made good", _size(path)))
    return found


def _drafts(out: Path) -> Iterator[tuple[Path, str]]:
    for pattern in (".run.json.*", ".cube.zarr.*"):
        # Without the cube, `.cube.zarr.old` is it: a run that is taken up again puts it back.
        if (out / "cube.zarr").exists():
            yield from ((path, "a draft") for path in sorted(out.glob(pattern)))
    for folder in ("ledger", "acquisitions", "fits", "cogs", "pictures"):
        yield from ((path, "a draft") for path in sorted((out / folder).rglob(".*.*")))
    yield from ((path, "a torn write") for path in sorted((out / "cube.zarr").rglob("*.partial")))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def clean(found: list[Leftover]) -> None:
    """Remove them."""
    for leftover in found:
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)
