"""Eight writers at once on one cube: ``python -m tests.benchmarks.writers [--writers 8] [--rounds 5]``.

A run is planned and its cube laid out; then processes do its units all at once, each unit by two of them, as a retry or
a zombie would, in an order of their own. Every chunk is decoded and its checksum compared with that of the cube which one
process has written unit by unit. Meanwhile another process reads: what it finds of a shard is nothing, or all of it.
"""

import argparse
import multiprocessing
import random
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from rich.console import Console
from rich.table import Table
from s2sharp.cube.create import lay_out
from s2sharp.execution.run import Run
from s2sharp.execution.unit import idle_size, sharpen_unit
from s2sharp.planning.acquisition_files import freeze_acquisition
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.config import RunConfig
from s2sharp.planning.make import make_plan
from s2sharp.planning.units import Unit

from ..pipeline.chaos import BANDS, write_archive
from ..pipeline.runs import config, shards

CELLS = 96
PROCESSES = multiprocessing.get_context("forkserver")


def laid_out(settings: RunConfig) -> ClientPlan:
    """A plan that workers can read, over an empty cube."""
    plan = make_plan(settings).freeze()
    lay_out(plan.store, plan.layouts, {x.group: plan.facts(x.epsg) for x in plan.layouts})
    for acquisition in plan.acquisitions:
        freeze_acquisition(plan.out, acquisition)
    return plan


def write(run: Run, units: list[Unit], begin: float) -> None:
    """Do units; ``begin``: when all writers start."""
    idle_size(run)
    time.sleep(max(0.0, begin - time.time()))
    for unit in units:
        record = sharpen_unit(run, unit, [])
        assert record.status in ("ok", "empty"), record.message


def chunks(out: Path) -> Iterator[tuple[str, int]]:
    """(array and chunk, checksum of what it decodes to) of all chunks of the full resolution."""
    (_, code), *_ = zarr.open_group(out / "cube.zarr", mode="r").groups()
    for name, array in code.arrays():
        if array.ndim < 3:
            continue
        steps = [range(0, n, c) for n, c in zip(array.shape, array.chunks, strict=True)]
        for t, y, x in np.ndindex(*(len(s) for s in steps)):
            rows, cols = (slice(s[i], s[i] + s.step) for s, i in ((steps[1], y), (steps[2], x)))
            yield f"{name} {t} {y} {x}", zlib.crc32(np.ascontiguousarray(array[t, rows, cols]))


def torn(out: Path, expected: dict[str, bytes], writers: list[multiprocessing.Process]) -> int:
    """Shards that were neither missing nor whole at any look while the writers are at work."""
    count = 0
    while any(process.is_alive() for process in writers):
        count += sum(content != expected[name] for name, content in shards(out).items())
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    PROCESSES.set_forkserver_preload(["s2sharp.execution.execute"])
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = write_archive(folder / "archive", CELLS).parent
        about = {"bands": BANDS, "window": 8, "shard": 8, "chunk": 24}
        plan = laid_out(config(archive, folder / "one", **about))
        units = list(plan.units())
        write(Run(plan.out, plan.stamp, 1), units, 0.0)
        whole, serial = dict(chunks(plan.out)), shards(plan.out)
        compared = differ = broken = 0
        for number in range(given.rounds):
            plan = laid_out(config(archive, folder / f"all-{number}", **about))
            hands: list[list[Unit]] = [[] for _ in range(given.writers)]
            for unit in units:
                for hand in rng.sample(hands, 2):
                    hand.append(unit)
            for hand in hands:
                rng.shuffle(hand)
            run, begin = Run(plan.out, plan.stamp, 1), time.time() + 5
            writers = [PROCESSES.Process(target=write, args=(run, hand, begin)) for hand in hands]
            for process in writers:
                process.start()
            broken += torn(plan.out, serial, writers)
            for process in writers:
                process.join()
                assert process.exitcode == 0
            found = dict(chunks(plan.out))
            assert found.keys() == whole.keys()
            compared += len(found)
            differ += sum(found[chunk] != whole[chunk] for chunk in whole)
            assert shards(plan.out).keys() == serial.keys()
    table = Table(title=f"{given.writers} writers at once, each of {len(units)} units done twice")
    for column in ("rounds", "chunks compared", "differ", "torn at a look"):
        table.add_column(column, justify="right")
    table.add_row(str(given.rounds), str(compared), str(differ), str(broken))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
