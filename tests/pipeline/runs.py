"""Running small things, and comparing what they wrote."""

import json
from pathlib import Path
from typing import Any

from s2sharp.cube.keys import chunk_index, chunk_key, moves_of
from s2sharp.demo.synthetic import COLLECTION
from s2sharp.execution.execute import execute
from s2sharp.execution.phases import RunOutcome
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.config import RunConfig, read_config
from s2sharp.planning.resume import plan_of
from s2sharp.storage.files import files, read_text, version
from s2sharp.storage.location import Location

EVERYWHERE = (10.0, 40.0, 20.0, 55.0)


def config(
    archive: Path, out: Location | str, scheduler: str | None = None, **more: Any
) -> RunConfig:
    """A run over all of `archive`, small and quick unless told otherwise."""
    flags = {
        "catalog": str(archive / "catalog.json"),
        "collection": COLLECTION,
        "bbox": EVERYWHERE,
        "datetime": "2024",
        "out": out,
        "method": "bicubic",
        "window": 16,
        "shard": 16,
        "publish": False,
        "scheduler": scheduler,
        **more,
    }
    return read_config(None, {k: v for k, v in flags.items() if v is not None})


def run(settings: RunConfig) -> tuple[ClientPlan, RunOutcome]:
    plan = plan_of(settings)
    return plan, execute(plan)


def shards(out: Location) -> dict[str, bytes]:
    """Every stored shard of a cube: path → content, by the names of a cube that was never moved."""
    store, found = out / "cube.zarr", {}
    names = files(store)
    for about in [name for name in names if name.endswith("zarr.json")]:
        moves = moves_of(json.loads(read_text(store / about)))
        folder = about.removesuffix("zarr.json")
        if moves is None:
            continue
        for name in names:
            index = (
                chunk_index(moves, name.removeprefix(folder)) if name.startswith(folder) else None
            )
            if index is not None and len(index) == 3:
                found[folder + chunk_key(0, *index)] = (store / name).read_bytes()
    return found


def records(out: Location) -> dict[str, str]:
    """Every record of the ledger and which writing of it it is."""
    folder = out / "ledger"
    return {name: version(folder / name) for name in files(folder) if not name.endswith(".partial")}
