"""A plan as files of its folder: what was found, the area, and the plan itself."""

import shapely

from s2sharp_core import S2SharpError

from ..catalog.addresses import public
from ..storage.files import write_bytes, write_text
from ..storage.location import Location
from .area import AREA, lonlat
from .client import ClientPlan
from .plan import Plan

__all__ = ["freeze", "frozen_items", "read_plan"]

_ITEMS, _FIT_ITEMS = "items.parquet", "datatakes.parquet"


def freeze(plan: ClientPlan) -> ClientPlan:
    """Write the plan as ``run.json``, at once or not at all; return it with its stamp."""
    for name, items in ((_ITEMS, plan.items), (_FIT_ITEMS, plan.fit_items)):
        if items:
            write_bytes(plan.out / name, items)
    if plan.config.area:
        write_text(plan.out / AREA, shapely.to_geojson(lonlat(plan.config)))
    # Whoever continues the run gives the address again, with its key, if it has one.
    catalog = public(plan.config.catalog)
    return plan.freeze({"config": plan.config.model_copy(update={"catalog": catalog})})


def frozen_items(out: Location) -> tuple[bytes, bytes]:
    """Return what a search found, as stac-geoparquet, and what fits draw from, if there is any.

    Raises
    ------
    S2SharpError
        ``file-broken``
    """
    fits = out / _FIT_ITEMS
    try:
        return (out / _ITEMS).read_bytes(), fits.read_bytes() if fits.exists() else b""
    except FileNotFoundError:
        raise S2SharpError(
            "file-broken",
            f"{out}/{_ITEMS}, the items of the run, is missing.",
            "Put it back from a copy, or choose another --out.",
        ) from None


def read_plan(out: Location) -> Plan:
    """Return the plan of the run in ``out``, without its acquisitions.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it, or it is broken.
    """
    return Plan.read(out)
