"""A plan as files of its folder: written at once, read once a process."""

from functools import lru_cache
from uuid import uuid4

import shapely

from s2sharp_core import S2SharpError

from ..catalog.addresses import public
from ..storage.files import read_text, write_bytes, write_text
from ..storage.location import Location, store_errors
from .area import lonlat
from .plan import Plan

__all__ = ["freeze", "frozen_items", "plan_of", "read_plan"]


def freeze(plan: Plan) -> Plan:
    """Write the plan as ``run.json``, at once or not at all; returns it with its stamp."""
    stamped = plan.model_copy(update={"stamp": uuid4().hex})
    # Whoever continues the run gives the address again, with its key, if it has one.
    told = plan.config.model_copy(update={"catalog": public(plan.config.catalog)})
    for name, items in ((_ITEMS, plan.items), (_FIT_ITEMS, plan.fit_items)):
        if items:
            write_bytes(plan.out / name, items)
    if plan.config.area:
        # Who asks how far the run is, later and elsewhere, has OUT alone.
        write_text(plan.out / _AREA, shapely.to_geojson(lonlat(plan.config)))
    client = {"acquisitions", "datatakes", "items", "fit_items"}
    text = stamped.model_copy(update={"config": told}).model_dump_json(indent=1, exclude=client)
    write_text(plan.out / "run.json", text)
    return stamped


_ITEMS, _FIT_ITEMS, _AREA = "items.parquet", "datatakes.parquet", "area.geojson"


def frozen_items(out: Location) -> tuple[bytes, bytes]:
    """What a search found, as stac-geoparquet, and what fits draw from, if there is any."""
    fits = out / _FIT_ITEMS
    return (out / _ITEMS).read_bytes(), fits.read_bytes() if fits.exists() else b""


def read_plan(out: Location) -> Plan:
    """The plan of the run in ``out``, without its acquisitions.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    try:
        plan = Plan.model_validate_json(read_text(out / "run.json"))
    except ValueError as error:
        raise S2SharpError(
            "other-run",
            f"{out}/run.json was not written by this version of s2sharp.",
            "Continue it with the version that began it, or choose another --out.",
        ) from error
    except store_errors() as error:
        raise S2SharpError(
            "not-a-run",
            f"{out} holds no run of s2sharp: {error}.",
            "Make one: `s2sharp run --out …`.",
        ) from error
    # Where it lies now, should the folder have been moved.
    here = {"out": out, "area": out / _AREA} if plan.config.area else {"out": out}
    return plan.model_copy(update={"config": plan.config.model_copy(update=here)})


@lru_cache(maxsize=4)
def plan_of(out: Location, stamp: str) -> Plan:
    """The plan that a unit was submitted under, read once a process.

    Raises
    ------
    S2SharpError
        ``other-run`` when the folder holds a later one by now.
    """
    plan = read_plan(out)
    if plan.stamp != stamp:
        raise S2SharpError(
            "other-run",
            f"{out} was taken over by another run while this unit waited.",
            "Nothing is to be done: that run does what is missing.",
        )
    return plan
