"""What people open first: COGs, a STAC catalogue and a before/after picture of each acquisition."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pystac
import torch

from s2sharp_core import BANDS, S2SharpError

from ..cube.layout import Layout
from ..cube.open import open_written
from ..engine.ledger import Ledger, Record
from ..engine.worker import Clock, do_job
from ..planning.cost import room
from ..planning.plan import Plan
from ..planning.units import Unit
from ..publish.cogs import opened, write_cogs
from ..publish.panels import choose_spot
from ..publish.quicklook import quicklook
from ..publish.raster import Frame, Means
from ..publish.stac import Provenance, stac_item, write_collection
from ..publish.visual import write_visual
from ..scenes.acquisition import Acquisition
from ..scenes.read import Files, load_block
from ..storage.digests import vouched
from ..storage.files import files
from ..storage.location import Location
from .unit import Run

__all__ = ["publish_catalog", "publish_unit"]

# Pixels along an overview that is searched for the place to show.
_OVERVIEW = 1500
_CREDIT = "Contains modified Copernicus Sentinel data"


def publish_unit(run: Run, unit: Unit, missing: tuple[str, ...], attempt: int = 1) -> Record:
    """Write the COGs and the pictures of one acquisition, and record it."""
    plan = run.plan
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)

    def work(clock: Clock) -> tuple[dict[str, Any], None]:
        run.still()
        threads = run.threads or torch.get_num_threads()
        means = Means(plan.config.cog_compression, room(plan), threads, clock)
        cogs = write_cogs(plan.out, layout, unit.time, acquisition.id, means)
        visual = plan.out / "cogs" / acquisition.id / "visual.tif"
        arrays, small = opened(plan.out, layout), thumbnail_path(plan.out, acquisition)
        with clock("visual"):
            if write_visual(arrays, unit.time, Frame.of(layout), visual, small, means):
                cogs["visual"] = visual
        with clock("picture"):
            told = _picture(plan, layout, acquisition, unit.time)
        with clock("digests"):
            files = {name: vouched(path) for name, path in cogs.items()}
        return {"warnings": told, "files": files}, None

    return do_job(plan.out, plan.name(unit), plan.key(unit, missing), attempt, work, run.still)


def picture_path(out: Location, acquisition: Acquisition) -> Location:
    return out / "pictures" / f"{acquisition.id}.png"


def thumbnail_path(out: Location, acquisition: Acquisition) -> Location:
    return out / "pictures" / f"{acquisition.id}-small.jpg"


def _picture(plan: Plan, layout: Layout, acquisition: Acquisition, time: int) -> tuple[str, ...]:
    """Draw before and after; a place that cannot be read costs the picture only, with a warning."""
    cube = open_written(plan.store, layout, time)
    overview = open_written(plan.store, layout, time, layout.level_of(_OVERVIEW))
    rows, cols = choose_spot(cube, overview=overview)
    spot = cube.isel(y=rows, x=cols)
    box = layout.cells_at(rows, cols)
    coarse = tuple(b for b in plan.config.bands if BANDS[b].gsd > 10)
    try:
        native = load_block(Files(acquisition), acquisition, coarse, box, 0).data if coarse else {}
    except S2SharpError as error:
        return (f"No picture of {acquisition.id}: {error.message}",)
    if not any(np.isfinite(y).any() for y in native.values()):
        return ()
    path = picture_path(plan.out, acquisition)
    title = f"{acquisition.datetime[:10]}  ·  EPSG:{layout.epsg}  ·  {plan.config.method}"
    credit = _CREDIT if "sentinel" in plan.config.collection else ""
    quicklook(path, spot.load(), native, title, credit)
    return ()


def publish_catalog(plan: Plan) -> Location:
    """Write the STAC collection and one item for each acquisition; returns the collection's path."""
    items = [
        _item(plan, layout, time, acquisition)
        for layout in plan.layouts
        for time, acquisition in enumerate(plan.of(layout.epsg))
    ]
    return write_collection(plan.out, items, "Sentinel-2 with all bands at 10 m, made by s2sharp.")


def _item(plan: Plan, layout: Layout, time: int, acquisition: Acquisition) -> pystac.Item:
    folder = plan.out / "cogs" / acquisition.id
    names = [n for n in files(folder) if n.endswith(".tif") and "/" not in n]
    cogs = {name.removesuffix(".tif"): folder / name for name in names}
    both, small = (f(plan.out, acquisition) for f in (picture_path, thumbnail_path))
    before_after = both if both.exists() else None
    provenance = Provenance(
        id=acquisition.id,
        datetime=f"{acquisition.datetime}Z",
        platform=acquisition.scenes[0].platform,
        cloud_cover=acquisition.cloud,
        sources=tuple((scene.id, scene.href) for scene in acquisition.scenes),
        method=plan.config.method,
        weights=plan.weights_of(acquisition.take),
        precision=plan.precision,
        software=plan.software,
        sensor=asdict(plan.sensor(acquisition.take)) if plan.coarse else None,
    )
    # Without true colours there is no smaller one.
    shown = small if small.exists() else before_after
    record = Ledger(plan.out / "ledger").latest(f"{acquisition.id}/published")
    digests = record.files if record else {}
    return stac_item(
        plan.out, layout, time, acquisition.id, cogs, provenance, shown, digests, before_after
    )
