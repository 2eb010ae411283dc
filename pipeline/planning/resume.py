"""Resume a run: read its plan, extend it, or refuse."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from s2sharp_core import S2SharpError

from ..catalog.addresses import public
from ..cube.layout import Layout
from ..engine.resources import gpus
from ..engine.settings import Command
from ..scenes.acquisition import Acquisition, numbered
from ..scenes.scene import Refusal
from .area import Area
from .client_plan import ClientPlan
from .config import RunConfig
from .items import with_acquisitions, with_checked_offsets
from .make import datatakes_of, find_items, layouts_of, make_plan, staged_by_default
from .method import fitted_weights
from .net_process import outlined
from .plan import Plan
from .sensor_files import given_sensors

# Settings that may differ when a run is continued: they do not change pixels.
_FREE = {
    *Command.model_fields,
    "out",
    "stage",
    "stage_budget",
    "lease",
    "publish",
    "sign",
    "s3_bucket",
    "requester_pays",
    "allow_private",
    "history",
    "since",
}
# Settings that change pixels and keys: the run is continued, and the units concerned are made anew.
_KEYED = {"trust_offset"}
# Settings that make a query: another one adds to the cube.
_QUERY = {"datetime", "bbox", "area", "max_cloud", "extent"}


def plan_of(config: RunConfig) -> ClientPlan:
    """Return the plan of a run, new or continued. To carry it out, the caller must hold the folder's lease already."""
    return resume(config) or make_plan(config)


def as_it_is_now(plan: ClientPlan) -> ClientPlan:
    """Return a plan that was made before the lease was taken; resume it if another run has written to the folder since."""
    there = Plan.read(plan.out).stamp if (plan.out / plan.FILE).exists() else ""
    if plan.stamp == there:
        return plan
    return resume(plan.config) or plan.model_copy(update={"stamp": ""})


def resume(config: RunConfig) -> ClientPlan | None:
    """Return the plan of the run in ``config.out``, continued with ``config``; None if there is no run.

    A continued run searches again only for another time or area, or with ``since``; new acquisitions are added.

    Errors: ``other-run``, with the differences; the errors of :func:`~s2sharp.catalog.search.search`.
    """
    if not (config.out / "run.json").exists():
        if (config.out / "cube.zarr").exists():
            raise S2SharpError(
                "other-run",
                f"{config.out} holds a cube, but no run of s2sharp.",
                "Choose another --out.",
            )
        return None
    held = Plan.read(config.out)
    before, now = held.config.model_dump(), config.model_dump()
    plan = with_acquisitions(_trusting(held, config.trust_offset))
    before["catalog"], now["catalog"] = public(before["catalog"]), public(now["catalog"])
    other = {k: f"{k}: {_words(before[k])} → {_words(now[k])}" for k in now if before[k] != now[k]}
    differs = [text for name, text in other.items() if name not in _FREE | _QUERY | _KEYED]
    if not differs:
        differs = list(_other_model(plan))
    if differs:
        raise S2SharpError(
            "other-run",
            f"{config.out} holds the cube of another run ({'; '.join(differs)}).",
            "Choose another --out, or run with the same settings to continue it.",
        )
    # The area goes by its shape: its file may have been moved.
    area = Area.of(config.bbox, config.area)
    asked_anew = bool(other.keys() & (_QUERY - {"area"})) or plan.shape != area.digest
    plan = plan.model_copy(update={"config": config, "shape": area.digest})
    if asked_anew or config.since:
        plan = _extended(plan, area)
    staged = staged_by_default(config.stage, plan.acquisitions)
    # A file of sensors may say something else by now: another sensor, other keys.
    takes = {a.take for a in plan.acquisitions}
    sensors = given_sensors(config.sensor, takes) if plan.coarse else {}
    return with_checked_offsets(plan.model_copy(update={"staged": staged, "sensors": sensors}))


def _trusting(plan: Plan, trust: str | None) -> Plan:
    """Return the plan with the present ``trust_offset``, by which acquisitions are made of its items."""
    turns = plan.turns + (plan.config.trust_offset != trust)
    config = plan.config.model_copy(update={"trust_offset": trust})
    return plan.model_copy(update={"config": config, "turns": turns})


def _extended(plan: ClientPlan, area: Area) -> ClientPlan:
    """Return the plan with the results of a new search, in a cube with room for both."""
    config = plan.config
    found = find_items(config, area, plan.files, plan.margin, plan.items)
    before = {a.id: a for a in plan.acquisitions}
    _check_kept(plan, found.every, found.refused)
    asked = tuple(a.id for a in found.acquisitions if a.id not in plan.removed)
    if not asked:
        raise S2SharpError(
            "nothing-found",
            f"All {len(found.acquisitions)} acquisitions that were found have been removed from {config.out} by `s2sharp clean --keep`, "
            "and stay out of it.",
            "Choose another --datetime, or another --out to have them again.",
        )
    acquisitions = tuple(
        numbered(a, before[a.id].items if a.id in before else ())
        for a in found.every
        if a.id in before or a.id in asked
    )
    default = {a.id: numbered(a).items for a in acquisitions}
    old = {layout.epsg: layout for layout in plan.layouts}
    layouts = tuple(
        _larger(old[x.epsg], x) if x.epsg in old else x
        for x in layouts_of(config, area, acquisitions)
    )
    datatakes, fit_items = plan.datatakes, plan.fit_items
    if plan.learns:
        datatakes, fit_items = datatakes_of(config, acquisitions, plan.reads)
    elif plan.measures:
        # Measured sensors stay, so only new datatakes are searched.
        known = {d.take for d in datatakes}
        new = [a for a in acquisitions if a.take not in known]
        datatakes, fit_items = datatakes_of(config, new, plan.reads, fit_items)
    return plan.model_copy(
        update={
            "acquisitions": acquisitions,
            "numbers": {a.id: a.items for a in acquisitions if a.items != default[a.id]},
            "asked": asked,
            "items": found.items,
            "datatakes": datatakes,
            "fit_items": fit_items,
            "cloudy": found.cloudy,
            "refused": found.refused,
            "choices": found.choices,
            "layouts": layouts,
            "grown": plan.grown
            or any(x.area != old[x.epsg].area for x in layouts if x.epsg in old),
        }
    )


def _check_kept(plan: ClientPlan, found: Iterable[Acquisition], refused: Iterable[Refusal]) -> None:
    """Refuse a search that refuses an item in the cube (``item-broken``), as if a new item names its files."""
    lost = _items(plan.acquisitions) - _items(found)
    for refusal in refused:
        if refusal.item in lost:
            raise S2SharpError(
                "item-broken",
                f"{plan.out} shows {refusal.item}, which is refused now. {refusal.message}",
                "Correct the catalog, or choose a --datetime that leaves the other item out.",
            )


def _items(acquisitions: Iterable[Acquisition]) -> set[str]:
    return {scene.id for a in acquisitions for scene in a.scenes}


def _larger(old: Layout, new: Layout) -> Layout:
    """Return the old layout with room for both; old times keep their indices."""
    at = dict(zip(new.ids, new.times, strict=True))
    ids = (*old.ids, *(name for name in new.ids if name not in old.ids))
    larger = replace(
        old,
        area=old.area | new.area,
        extent=(old.extent or old.area) | (new.extent or new.area),
        ids=ids,
        times=tuple(at[name] for name in ids),
    )
    corners = {(layout.box.row0, layout.box.col0) for layout in (old, larger)}
    return replace(larger, moves=old.moves + (len(corners) > 1))


def _words(value: Any) -> str:
    """Return a setting as a user types it."""
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _other_model(plan: Plan) -> Iterator[str]:
    """Yield the differences between a plan's method and the installed one of that name."""
    config = plan.config
    folder = config.warm_start
    # A missing start does not count: the fits may be done already.
    there = fitted_weights(folder) if folder else {}
    if any(there.get(file, sha256) != sha256 for file, sha256 in plan.start.items()):
        yield f"the weights in {folder}"
    elif plan.coarse and not plan.start and (plan.device == "cpu" or gpus()):
        now = outlined(config, plan.coarse, plan.device)
        if now.digest != plan.digest:
            was, is_now = plan.digest[:12], now.digest[:12]
            yield f"{config.method} and its weights, by their digest: {was} → {is_now}"
        if now.precision != plan.precision:
            yield f"precision: {plan.precision} → {now.precision}"
