"""Search, and decide on everything that a run will do; or take up the run that a folder holds."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from importlib.metadata import version
from itertools import chain
from operator import or_
from pathlib import Path
from tempfile import TemporaryDirectory

import pystac
import shapely
import torch

from s2sharp_core import BANDS, METHODS, S2SharpError
from s2sharp_core.bands import CELL, in_order
from s2sharp_core.blocks import context
from s2sharp_core.lattice import Box, Lattice

from .acquisitions import Acquisition, Choice, group, numbered
from .archives import datatake, public, safe_name, tile
from .area import area_digest, area_shape, reach
from .config import Command, RunConfig
from .cube import Layout, chunk_side
from .frozen import write_items
from .plan import Datatake, Plan, frozen_items, read_plan
from .ready import check_fit, digest_of, fits, fitted_weights, outline, start_of
from .scenes import Refusal, edges_of
from .search import interval, search
from .sensor_files import given_sensors

__all__ = ["datatakes_of", "frozen", "make_plan", "when", "with_acquisitions"]

# What may differ when a run is taken up again: none of it changes a pixel.
_FREE = {
    *Command.model_fields,
    "out",
    "scheduler",
    "memory",
    "stage",
    "stage_budget",
    "lease",
    "publish",
    "sign",
    "history",
    "since",
}

# What a run asks for: another one adds to the cube.
_QUERY = {"datetime", "bbox", "area", "max_cloud", "extent"}

WORLD = (-180.0, -90.0, 180.0, 90.0)

_SHARDS = (512, 256, 128, 64)

# Tiles of a datatake that windows may be drawn from.
_TILES = 64


@dataclass(frozen=True)
class _Found:
    """What a search brought: ``acquisitions`` clear enough that meet the area, and what was left out; ``every``: with
    those that were frozen before; ``items``: all of them, frozen.
    """

    items: bytes
    every: tuple[Acquisition, ...]
    acquisitions: tuple[Acquisition, ...]
    cloudy: tuple[str, ...]
    refused: tuple[Refusal, ...]
    choices: tuple[Choice, ...]


def make_plan(config: RunConfig) -> Plan:
    """Search, and decide on everything that a run will do; no pixel is read.

    Raises
    ------
    S2SharpError
        ``nothing-found`` when no acquisition is left; ``method-unknown`` and the like; what
        :func:`~s2sharp.search.search` raises.
    """
    check_fit(config)
    coarse = tuple(band for band in config.bands if BANDS[band].gsd > 10)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    sharpener = outline(config, coarse, device) if coarse else None
    needed = sharpener.reads if sharpener else ()
    reads = in_order({*needed, *(band for band in config.bands if BANDS[band].gsd == 10)})
    margin = context(sharpener) if sharpener else 0
    found = find_items(config, (*reads, *config.native), margin, b"")
    if not found.acquisitions:
        raise nothing_found(config, found)
    learns = bool(coarse) and fits(config)
    measures = config.sensor == "measured" and bool(coarse) and METHODS[config.method].senses
    taken = found.acquisitions if learns or measures else ()
    datatakes, fit_items = datatakes_of(config, taken, reads) if taken else ((), b"")
    return Plan(
        software=version("s2sharp"),
        config=config,
        acquisitions=found.acquisitions,
        asked=tuple(a.id for a in found.acquisitions),
        datatakes=datatakes,
        items=found.items,
        fit_items=fit_items,
        learns=learns,
        measures=measures,
        sensors=given_sensors(config, {a.take for a in found.acquisitions}) if coarse else {},
        cloudy=found.cloudy,
        refused=found.refused,
        choices=found.choices,
        layouts=tuple(layouts_of(config, found.acquisitions)),
        reads=reads,
        margin=margin,
        digest=digest_of(config, sharpener) if sharpener else "",
        weights=sharpener.weights if sharpener else {},
        start=start_of(config, coarse) if coarse else {},
        precision=sharpener.precision if sharpener else "",
        device=device,
        shape=area_digest(config),
        staged=staged_by_default(config, found.acquisitions),
    )


def find_items(config: RunConfig, reads: tuple[str, ...], margin: int, before: bytes) -> _Found:
    """Search, and freeze what was found beside what is frozen already."""
    seen: set[str] = set()

    def items() -> Iterator[pystac.Item]:
        # Every cell that is written needs its neighbours, those beyond the box in degrees, too.
        around = reach(config)
        for item in search(config.catalog, config.collection, around, when(config), margin * CELL):
            seen.add(item.id)
            yield item

    frozen_items, every, refused, choices = freeze_items(
        chain(read_items(before, config), items()), reads, config
    )
    new = [a for a in every if any(scene.id in seen for scene in a.scenes)]
    clear = [a for a in new if a.cloud is None or a.cloud <= config.max_cloud]
    shapes = {epsg: area_shape(config, epsg) for epsg in {a.epsg for a in clear}}
    return _Found(
        items=frozen_items,
        every=tuple(every),
        # What meets the margin alone gives context to nothing.
        acquisitions=tuple(a for a in clear if _meets(shapes[a.epsg], a)),
        cloudy=tuple(a.id for a in new if a not in clear),
        refused=tuple(refused),
        choices=tuple(choices),
    )


def freeze_items(
    items: Iterable[pystac.Item], reads: tuple[str, ...], config: RunConfig
) -> tuple[bytes, list[Acquisition], list[Refusal], list[Choice]]:
    """Items as stac-geoparquet, and what they make."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "items.parquet"
        found = write_items(file, items, reads, config.catalog, config.sign)
        return file.read_bytes(), *found


def read_items(items: bytes, config: RunConfig) -> Iterator[pystac.Item]:
    """What :func:`freeze_items` made."""
    if not items:
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "items.parquet"
        file.write_bytes(items)
        yield from search(str(file), config.collection, WORLD, "2015/..")


def with_acquisitions(plan: Plan) -> Plan:
    """The plan of a run that is continued, with the acquisitions that its frozen items make."""
    config = plan.config
    items, fit_items = frozen_items(plan.out)
    found, *_ = group(read_items(items, config), plan.files, config.catalog, config.sign)
    there = {a.id: numbered(a, plan.numbers.get(a.id, ())) for a in found}
    ids = [name for layout in plan.layouts for name in layout.ids]
    return plan.model_copy(
        update={
            "acquisitions": tuple(there[name] for name in ids),
            "datatakes": by_datatake(
                group(read_items(fit_items, config), plan.reads, config.catalog, config.sign)[0]
            ),
            "items": items,
            "fit_items": fit_items,
        }
    )


def when(config: RunConfig) -> str:
    """The interval to search: the one asked for, from ``since`` on where that is a date."""
    if config.since in (None, "last"):
        return config.datetime
    begin, end = interval(config.datetime)
    since, _ = interval(str(config.since))
    first = max((moment for moment in (begin, since) if moment), default=None)
    if first and end and first > end:
        raise S2SharpError(
            "nothing-found",
            f"What was asked for, {config.datetime}, ends before {config.since}.",
            "Choose a later --datetime, or an earlier --since.",
        )
    return "/".join(moment.isoformat() if moment else ".." for moment in (first, end))


def nothing_found(config: RunConfig, found: _Found) -> S2SharpError:
    if not (found.every or found.refused):
        return S2SharpError(
            "nothing-found",
            f"{public(config.catalog)} has no item of {config.collection} in "
            f"{reach(config)} at {when(config)}.",
            "Widen --bbox or --datetime, or choose another --collection. A box is W S E N: longitude first.",
        )
    why = [f"{sum(len(a.scenes) for a in found.every) + len(found.refused)} items were found"]
    why += [f"{len(found.cloudy)} acquisitions are cloudier than {config.max_cloud:g} %"]
    refusals = "".join(f"; {refusal.message}" for refusal in found.refused[:3])
    why += [f"{len(found.refused)} items were refused{refusals}"]
    return S2SharpError(
        "nothing-found",
        f"Nothing is left to sharpen: {', '.join(why)}.",
        "Raise --max-cloud, or widen --bbox or --datetime.",
    )


def datatakes_of(
    config: RunConfig,
    acquisitions: Iterable[Acquisition],
    reads: tuple[str, ...],
    before: bytes = b"",
) -> tuple[tuple[Datatake, ...], bytes]:
    """What the catalogue has of the acquisitions' datatakes, inside the area and beyond; and its items, frozen beside
    those of others that were ``before``.

    Of one with hundreds of tiles, :data:`_TILES` whose names' digests come first: more than windows
    are drawn from, the same whatever the area.
    """
    times: dict[str, list[datetime]] = {}
    for acquisition in acquisitions:
        when = datetime.fromisoformat(acquisition.datetime)
        times.setdefault(acquisition.take, []).append(when)

    def items() -> Iterator[pystac.Item]:
        for take, moments in sorted(times.items()):
            # A datatake lasts half an hour at most.
            begin = f"{min(moments) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
            end = f"{max(moments) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
            found = search(config.catalog, config.collection, WORLD, f"{begin}/{end}")
            own = [item for item in found if safe_name(datatake(item)) == take]
            own.sort(key=lambda item: hashlib.sha256(tile(item).encode()).digest())
            tiles = list(dict.fromkeys(tile(item) for item in own))[:_TILES]
            yield from (item for item in own if tile(item) in tiles)

    frozen_items, found, *_ = freeze_items(chain(read_items(before, config), items()), reads, config)
    return by_datatake(found), frozen_items


def by_datatake(acquisitions: Iterable[Acquisition]) -> tuple[Datatake, ...]:
    takes: dict[str, list[Acquisition]] = {}
    for acquisition in acquisitions:
        takes.setdefault(acquisition.take, []).append(acquisition)
    return tuple(Datatake(take, tuple(takes[take])) for take in sorted(takes))


def staged_by_default(config: RunConfig, acquisitions: Sequence[Acquisition]) -> bool:
    remote = any("://" in f.href for a in acquisitions for s in a.scenes for f in s.sources)
    return config.stage == "always" or (config.stage == "auto" and remote)


def _meets(shape: shapely.Geometry, acquisition: Acquisition) -> bool:
    """Whether an acquisition may have data in ``shape``, in metres of its code."""
    if shape.is_empty:
        return False
    lattice = Lattice.of(acquisition.epsg)
    asked = edges_of([lattice.around(tuple(shapely.bounds(shape)))])
    places = (scene.box for scene in acquisition.scenes if scene.sees(asked)[0])
    return any(shape.intersects(shapely.box(*lattice.bounds(box))) for box in places)


def layouts_of(config: RunConfig, acquisitions: Sequence[Acquisition]) -> list[Layout]:
    """One per EPSG code: the asked area as far as its acquisitions reach."""
    layouts = []
    for epsg in sorted({a.epsg for a in acquisitions}):
        own = [a for a in acquisitions if a.epsg == epsg]
        area = Lattice.of(epsg).around(tuple(shapely.bounds(area_shape(config, epsg))))
        area &= reduce(or_, (a.box for a in own))
        side = config.shard or next((s for s in _SHARDS if 2 * s <= max(area.shape)), _SHARDS[-1])
        chunk = config.chunk or chunk_side(side * 6)
        layouts.append(
            Layout(
                epsg,
                area,
                side,
                chunk,
                tuple(a.datetime for a in own),
                config.bands,
                tuple(a.id for a in own),
                _extent(config, epsg),
                config.trust,
                config.cirrus,
                config.error90,
            )
        )
    return layouts


def _extent(config: RunConfig, epsg: int) -> Box | None:
    if config.extent is None:
        return None
    room = config.model_copy(update={"bbox": config.extent, "area": None})
    return Lattice.of(epsg).around(tuple(shapely.bounds(area_shape(room, epsg))))


def frozen(config: RunConfig) -> Plan | None:
    """The run that ``config.out`` holds already, if it can go on as ``config`` says, else None.

    A run that is continued does not search again, unless another time or area, or what is new ``since`` then,
    is asked for: that is added to it.

    Raises
    ------
    S2SharpError
        ``other-run``, with what differs; what :func:`~s2sharp.search.search` raises.
    """
    if not (config.out / "run.json").exists():
        if (config.out / "cube.zarr").exists():
            raise S2SharpError(
                "other-run",
                f"{config.out} holds a cube, but no run of s2sharp.",
                "Choose another --out.",
            )
        return None
    plan = with_acquisitions(read_plan(config.out))
    before, now = plan.config.model_dump(), config.model_dump()
    before["catalog"], now["catalog"] = public(before["catalog"]), public(now["catalog"])
    other = {k: f"{k}: {before[k]} → {now[k]}" for k in now if before[k] != now[k]}
    differs = [text for name, text in other.items() if name not in _FREE | _QUERY]
    if not differs:
        differs = list(_other_model(plan))
    if differs:
        raise S2SharpError(
            "other-run",
            f"{config.out} holds the cube of another run ({'; '.join(differs)}).",
            "Choose another --out, or run with the same settings to continue it.",
        )
    # The area goes by its shape: its file may have been moved.
    asked_anew = bool(other.keys() & (_QUERY - {"area"})) or plan.shape != area_digest(config)
    plan = plan.model_copy(update={"config": config, "shape": area_digest(config)})
    if asked_anew or config.since:
        plan = _extended(plan)
    plan = _with_sensors(plan)
    return plan.model_copy(update={"staged": staged_by_default(config, plan.acquisitions)})


def _with_sensors(plan: Plan) -> Plan:
    """The plan with what a file of sensors says by now: another sensor, other keys."""
    takes = {a.take for a in plan.acquisitions}
    given = given_sensors(plan.config, takes) if plan.coarse else {}
    return plan.model_copy(update={"sensors": given})


def _extended(plan: Plan) -> Plan:
    """A plan with what a new search brings, in a cube with room for both."""
    config = plan.config
    found = find_items(config, plan.files, plan.margin, plan.items)
    if not found.acquisitions:
        # Of what was there before, nothing was asked for.
        raise nothing_found(config, found if found.cloudy else replace(found, every=()))
    before = {a.id: a for a in plan.acquisitions}
    asked = tuple(a.id for a in found.acquisitions)
    acquisitions = tuple(
        numbered(a, before[a.id].items if a.id in before else ())
        for a in found.every
        if a.id in before or a.id in asked
    )
    default = {a.id: numbered(a).items for a in acquisitions}
    old = {layout.epsg: layout for layout in plan.layouts}
    datatakes, fit_items = plan.datatakes, plan.fit_items
    if plan.learns:
        datatakes, fit_items = datatakes_of(config, acquisitions, plan.reads)
    elif plan.measures:
        # What was measured stays: of datatakes that are known, nothing is searched again.
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
            "layouts": tuple(
                _larger(old[x.epsg], x) if x.epsg in old else x
                for x in layouts_of(config, acquisitions)
            ),
        }
    )


def _larger(old: Layout, new: Layout) -> Layout:
    """Room for both, as the old one is laid out; the old times stay in their places."""
    at = dict(zip(new.ids, new.times, strict=True))
    ids = (*old.ids, *(name for name in new.ids if name not in old.ids))
    return replace(
        old,
        area=old.area | new.area,
        extent=(old.extent or old.area) | (new.extent or new.area),
        ids=ids,
        times=tuple(at[name] for name in ids),
    )


def _other_model(plan: Plan) -> Iterator[str]:
    """What differs between a plan's method and the one of its name that is here now."""
    config = plan.config
    folder = config.warm_start
    # A run whose fits are made needs no start any more.
    there = fitted_weights(folder) if folder else {}
    if any(there.get(file, sha256) != sha256 for file, sha256 in plan.start.items()):
        yield f"the weights in {folder}"
    elif plan.coarse and not plan.start and (plan.device == "cpu" or torch.cuda.is_available()):
        sharpener = plan.outline()
        assert sharpener is not None  # noqa: S101  (there are coarse bands)
        now = digest_of(config, sharpener)
        if now != plan.digest:
            yield f"{config.method} and its weights, by their digest: {plan.digest[:12]} → {now[:12]}"
        if sharpener.precision != plan.precision:
            yield f"precision: {plan.precision} → {sharpener.precision}"
