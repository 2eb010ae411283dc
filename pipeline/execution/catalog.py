"""STAC catalog of a run, and the paths of its pictures."""

from dataclasses import asdict

import pystac

from ..cube.layout import Layout
from ..planning.client_plan import ClientPlan
from ..planning.plan import Plan
from ..publish.stac import Provenance, stac_item, write_collection
from ..scenes.acquisition import Acquisition
from ..storage.files import files
from ..storage.location import Location


def picture_path(out: Location, acquisition: Acquisition) -> Location:
    return out / "pictures" / f"{acquisition.id}.png"


def thumbnail_path(out: Location, acquisition: Acquisition) -> Location:
    return out / "pictures" / f"{acquisition.id}-small.jpg"


def publish_catalog(plan: ClientPlan) -> Location:
    """Write the STAC collection and one item for each acquisition; return the collection's path."""
    items = [
        _item(plan, layout, time, acquisition)
        for layout in plan.layouts
        for time, acquisition in enumerate(plan.of(layout.epsg))
        if acquisition.id not in plan.removed
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
    # Without the bands for true colours, there is no thumbnail.
    shown = small if small.exists() else before_after
    record = plan.ledger.latest(f"{acquisition.id}/published")
    digests = record.files if record else {}
    return stac_item(
        plan.out, layout, time, acquisition.id, cogs, provenance, shown, digests, before_after
    )
