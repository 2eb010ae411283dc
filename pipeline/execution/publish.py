"""Published files of each acquisition: COGs, a thumbnail and a before/after picture."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from s2sharp_core import BANDS, S2SharpError

from ..cube.layout import Layout
from ..cube.unfinished import grid_written, read_written
from ..engine.ledger import Record
from ..engine.worker import Clock, do_job
from ..planning.cost import pixel_memory
from ..planning.plan import Plan
from ..planning.readers import files_of
from ..planning.units import Unit
from ..publish.cog_profile import Frame
from ..publish.cogs import Means, write_cogs
from ..publish.panels import bands_shown, choose_spot
from ..publish.quicklook import load_drawing, quicklook
from ..publish.visual import write_visual
from ..scenes.acquisition import Acquisition
from ..scenes.read import load_block
from ..storage.arrays import arrays_of
from ..storage.digests import Digest, settled_digest
from ..storage.location import Location
from .catalog import picture_path, thumbnail_path
from .run import Run

# Pixels along the overview in which the spot for the picture is chosen.
_OVERVIEW = 1500
_CREDIT = "Contains modified Copernicus Sentinel data"


def publish_unit(run: Run, unit: Unit, key: str, attempt: int = 1) -> Record:
    """Write the COGs and the pictures of one acquisition, and record it."""
    plan = run.plan
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)

    def work(clock: Clock) -> tuple[dict[str, Any], None]:
        run.still()
        threads = run.threads or os.cpu_count() or 1
        means = Means(plan.config.cog_compression, pixel_memory(plan), threads, clock)
        arrays = arrays_of(plan.store, layout.group)
        target = plan.out / "cogs" / acquisition.id / "visual.tif"
        small = thumbnail_path(plan.out, acquisition)

        def visual(means: Means) -> bool:
            with clock("visual"):
                return write_visual(arrays, unit.time, Frame.of(layout), target, small, means)

        digests: dict[str, Future[Digest]] = {}
        # What draws is loaded, and files are synced and read back for their digests, while others are made.
        with ThreadPoolExecutor(1) as beside:
            beside.submit(load_drawing)

            def done(name: str, path: Location) -> None:
                digests[name] = beside.submit(settled_digest, path)

            made = write_cogs(
                plan.out, layout, unit.time, acquisition.id, means, {"visual": visual}, done
            )
            with clock("picture"):
                told = _picture(plan, layout, acquisition, unit.time)
            with clock("digests"):
                files = {name: digests[name].result() for name in made}
        return {"warnings": told, "files": files}, None

    # Pictures take as much memory as a unit at work, and none is planned for another unit.
    return do_job(plan.out, plan.name(unit), key, attempt, work, run.still, alone=True)


def _picture(plan: Plan, layout: Layout, acquisition: Acquisition, time: int) -> tuple[str, ...]:
    """Draw before and after; if the spot cannot be read, return a warning without a picture."""
    seen = bands_shown((*layout.bands, *layout.layers))
    overview = read_written(plan.store, layout, time, seen, layout.level_of(_OVERVIEW))
    rows, cols = choose_spot(grid_written(plan.store, layout), overview=overview)
    box = layout.cells_at(rows, cols)
    coarse = tuple(b for b in plan.config.bands if BANDS[b].gsd > 10)
    try:
        files = files_of(plan, acquisition)
        native = load_block(files, acquisition, coarse, box, 0).data if coarse else {}
    except S2SharpError as error:
        return (f"No picture of {acquisition.id}: {error.message}",)
    if not any(np.isfinite(y).any() for y in native.values()):
        return ()
    path = picture_path(plan.out, acquisition)
    title = f"{acquisition.datetime[:10]}  ·  EPSG:{layout.epsg}  ·  {plan.config.method}"
    credit = _CREDIT if "sentinel" in plan.config.collection else ""
    spot = read_written(plan.store, layout, time, layout.bands, place=(rows, cols))
    quicklook(path, spot, native, title, credit)
    return ()
