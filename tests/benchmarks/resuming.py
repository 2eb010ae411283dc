"""What a run with nothing to do asks of an object store: ``python -m tests.benchmarks.resuming [--items N]``.

A part of a synthetic year of Europe, planned into a real S3 server, with a record for every unit. Then the same command once
more: requests by kind, and listings for each thousand records, from which those of the whole year follow.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from s2sharp.engine.ledger import Record
from s2sharp.execution.execute import execute
from s2sharp.planning.config import RunConfig, read_config
from s2sharp.planning.make import make_plan
from s2sharp.planning.resume import resume
from s2sharp.planning.unit_states import UnitStates

from ..pipeline import europe
from ..services import s3_server
from ..web import Proxy, proxied

YEAR = 1_290_000
"""Units of a year of Europe, in 1 100 acquisitions."""
ROUND_TRIP = 0.06
PAGE = "page of the ledger"


def kinds(requests: list[tuple[str, str]]) -> Counter[str]:
    """Count requests by kind; a page of the ledger that was asked for before is another listing."""
    found, seen = Counter[str](), set[str]()
    for method, path in requests:
        if method != "GET" or "list-type=2" not in path:
            found[method] += 1
        elif "%2Fledger%2F" in path and path not in seen:
            seen.add(path)
            found[PAGE] += 1
        else:
            found["other listing"] += 1
    return found


def recorded(config: RunConfig) -> tuple[int, int]:
    """Freeze a plan, and record every unit as done; return its acquisitions and units."""
    plan = make_plan(config)
    plan.freeze()
    while todo := [found for found in UnitStates(plan).every() if found.state == "left"]:
        with ThreadPoolExecutor(16) as pool:
            done = (Record(found.name, found.key, "ok") for found in todo)
            for _ in pool.map(plan.ledger.write, done):
                pass
    return len(plan.present), sum(1 for _ in UnitStates(plan).every())


def again(config: RunConfig, proxy: Proxy) -> tuple[Counter[str], float]:
    """Run once more; return its requests by kind, and its seconds."""
    proxy.requests.clear()
    begin = time.perf_counter()
    plan = resume(config)
    if plan is None:
        raise RuntimeError("nothing was frozen")
    outcome = execute(plan)
    if outcome.failed or set(outcome.counts) != {"skipped"}:
        raise RuntimeError(f"units were done: {outcome.counts}")
    seconds = time.perf_counter() - begin
    return kinds(proxy.requests), seconds


def main() -> None:
    """Print the requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=600)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        s3_server() as server,
        proxied(server) as (proxy, url),
        patch.dict(
            os.environ,
            AWS_ENDPOINT_URL=url,
            AWS_ACCESS_KEY_ID="key",
            AWS_SECRET_ACCESS_KEY="secret",
            AWS_DEFAULT_REGION="us-east-1",
        ),
    ):
        catalog = Path(folder, "europe.parquet")
        europe.write(catalog, given.items)
        flags = {
            "catalog": str(catalog),
            "collection": europe.COLLECTION,
            "bbox": europe.BOX,
            "datetime": "2024",
            "method": "bicubic",
            "stage": "never",
            "publish": False,
            "shard": 256,
            "out": "s3://bucket/europe",
        }
        config = read_config(None, flags)
        acquisitions, units = recorded(config)
        again(config, proxy)  # lays out the cube, which no unit has
        asked, seconds = again(config, proxy)
    every = asked[PAGE] * YEAR / units + asked["other listing"]
    Console(width=120).print(
        f"{acquisitions} acquisitions, {units} records: {dict(asked)} in {seconds:.1f} s. A year of Europe, "
        f"{YEAR} records: [bold]{every:.0f} listings[/], {every * ROUND_TRIP:.0f} s at {1e3 * ROUND_TRIP:.0f} ms each, one "
        "after the other"
    )


if __name__ == "__main__":
    main()
