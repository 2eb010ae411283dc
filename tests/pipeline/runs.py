"""Running small things, and comparing what they wrote."""

from pathlib import Path
from typing import Any

from s2sharp.config import RunConfig, read_config
from s2sharp.plan import Plan
from s2sharp.planning import frozen, make_plan
from s2sharp.run import Outcome, execute
from s2sharp.synthetic import COLLECTION

EVERYWHERE = (10.0, 40.0, 20.0, 55.0)


def config(archive: Path, out: Path, scheduler: str | None = None, **more: Any) -> RunConfig:
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


def run(settings: RunConfig) -> tuple[Plan, Outcome]:
    plan = frozen(settings) or make_plan(settings)
    return plan, execute(plan)


def shards(out: Path) -> dict[str, bytes]:
    """Every stored chunk of a cube: path → content."""
    store = out / "cube.zarr"
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("c/*/*/*"))
        if path.is_file()
    }


def records(out: Path) -> dict[str, int]:
    """Every record of the ledger and when it was written."""
    folder = out / "ledger"
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*.*")
        if path.is_file()
    }
