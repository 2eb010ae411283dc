"""Work on one tile, on a worker: paint it, write its shard whole, then record it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..cube.layout import FILL
from ..cube.overviews import overview
from ..cube.write import write_shard
from ..engine.ledger import Record
from ..engine.phases import Job
from ..engine.worker import Clock, do_job
from ..storage.digests import Digest
from ..storage.location import Location
from .config import BLOCK
from .cost import parts
from .differences import compare_tile
from .grid import within
from .painter import Painter
from .plan import MosaicPlan, Takes, Tile
from .publish import publish_tile


def do_tile(to: Location, stamp: str, what: str, job: Job, takes: Takes, attempt: int) -> Record:
    """Do one job on a tile and record it; never raises for bad input.

    ``to``, ``stamp``: folder and stamp of the plan; ``what``: "mosaic", "overviews", "publish" or "compare"; ``takes``: the
    datatakes that may show, in order of preference.
    """

    def work(clock: Clock) -> tuple[dict[str, Any], None]:
        still()
        with clock(what):
            facts = _WORK[what](MosaicPlan.under(to, stamp), job.of, takes)
        return facts, None

    still = partial(MosaicPlan.check, to, stamp)
    return do_job(to, job.name, job.key, attempt, work, still)


def _mosaic(plan: MosaicPlan, tile: Tile, takes: Takes) -> dict[str, Any]:
    """Paint a tile part by part and write it."""
    canvas, box = plan.canvas, plan.box(tile)
    out = {band: np.full(box.shape, FILL, dtype=np.int16) for band in plan.bands}
    out |= {name: np.zeros(box.shape, dtype=dtype) for name, (dtype, _, _) in canvas.layers.items()}
    asked = box & plan.area
    painter = Painter(plan, asked, takes)
    for part in parts(plan, asked.snap(BLOCK), len(takes)) if takes else ():
        shown = part & asked
        for name, pixels in painter.paint(part).items():
            out[name][within(box, shown)] = pixels[within(part, shown)]
    # Written even without valid pixels: arrays of fill alone store nothing, and remove an earlier shard.
    files = write_shard(plan.store, canvas, tile.period, tile.row, tile.col, out)
    return _facts(np.count_nonzero(out["valid"]), files)


def _overview(plan: MosaicPlan, tile: Tile, _takes: Takes) -> dict[str, Any]:
    canvas = plan.canvas
    place = tile.period, tile.row, tile.col
    coarse = overview(plan.store, canvas, *place, tile.level)
    files = write_shard(plan.store, canvas, *place, coarse, tile.level)
    return _facts(np.count_nonzero(coarse["valid"]), files)


def _facts(valid: "int | np.integer[Any]", files: Mapping[str, Digest]) -> dict[str, Any]:
    return {"status": "ok" if valid else "empty", "valid": int(valid), "files": dict(files)}


_WORK: dict[str, Callable[[MosaicPlan, Tile, Takes], dict[str, Any]]] = {
    "mosaic": _mosaic,
    "overviews": _overview,
    "publish": lambda *given: _facts(*publish_tile(*given)),
    "compare": lambda *given: _facts(compare_tile(*given), {}),
}
