"""Every method through whole runs on a real scene: ``python -m tests.benchmarks.methods [--only NAME]``.

Three runs of each: the scene in units of 32 cells; a random part of it in units of 64 cells, which
fits anew; and the first one again in another folder. The fits must give the same weights, since the sample
does not depend on the area; the part must show what the whole shows (no seam); the second run must
write the same shards. Fits are cut to a few steps: what is looked at does not depend on how good they are.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from s2sharp.scenes.read import Files

from s2sharp_core import BANDS, METHODS, S2SharpError
from s2sharp_core.lattice import Lattice

from ..pipeline.cuts import random_area, settings, stored, write_cut
from ..pipeline.runs import run, shards
from .seams import WINDOW, acquisition_of, compare

SCENE = "iceland"
STEPS = 20


def weights(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / "fits").rglob("*.safetensors"))}


def try_method(name: str, catalog: Path, area: tuple[float, ...], folder: Path) -> list[str]:
    """One row of the table: units, seconds, fits alike, pixels that differ, shards alike."""
    fit = {"fit_windows": 4, "fit_steps": STEPS} if METHODS[name].fit else {}
    common = {"method": name, "window": WINDOW, **fit}
    begin = time.perf_counter()
    plan, outcome = run(settings(catalog, folder / "a", None, shard=32, **common))
    seconds = time.perf_counter() - begin
    failures = [record.message for record in outcome.failed]
    if failures:
        return [name, str(len(failures)) + " failed", "", "", "", failures[0][:80]]
    units = outcome.counts["ok"]
    run(settings(catalog, folder / "b", None, shard=64, bbox=area, **common))
    run(settings(catalog, folder / "c", None, shard=32, **common))
    whole, part = stored(folder / "a", tuple(BANDS)), stored(folder / "b", tuple(BANDS))
    count, differ, largest = compare(whole, part)
    fits = "same" if weights(folder / "a") == weights(folder / "b") else "differ"
    again = "same" if shards(folder / "a") == shards(folder / "c") else "differ"
    return [
        name,
        str(units),
        f"{seconds:.0f}",
        fits if plan.learns else "–",
        f"{differ} of {count}" + (f", by up to {largest} DN" if differ else ""),
        again,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(METHODS), help="only this method")
    only = parser.parse_args().only
    acquisition = acquisition_of(SCENE)
    lattice, box = Lattice.of(acquisition.epsg), acquisition.box
    files = Files(acquisition)
    dn = {band: files.mosaic(band, box)[0] for band in BANDS}
    area = random_area(lattice, box, np.random.default_rng(0))
    table = Table(title=f"{SCENE}, units of 32 cells, windows of {WINDOW}, fits of {STEPS} steps")
    for column in (
        "method",
        "units",
        "seconds",
        "fit of a part",
        "pixels of a part that differ",
        "second run",
    ):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as temporary:
        catalog = write_cut(Path(temporary) / "archive", dn, lattice, box, [box])
        for name in only or METHODS:
            try:
                table.add_row(*try_method(name, catalog, area, Path(temporary) / name))
            except S2SharpError as error:
                table.add_row(name, error.kind, "", "", "", error.message[:60])
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
