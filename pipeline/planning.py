"""Search, and decide on everything that a run will do; or take up the run that a folder holds."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import reduce
from importlib.metadata import version
from operator import or_

import shapely
import torch

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import CELL, in_order
from s2sharp_core.blocks import context
from s2sharp_core.lattice import Lattice

from .acquisitions import Acquisition, group
from .archives import datatake, public, safe_name, tile
from .area import area_digest, area_shape, reach
from .config import RunConfig
from .cube import Layout, chunk_side
from .plan import Datatake, Plan, read_plan, stamp
from .ready import check_fit, digest_of, fits, fitted_weights, outline, start_of
from .search import search

__all__ = ["frozen", "make_plan"]

# What may differ when a run is taken up again: none of it changes a pixel.
_FREE = {"out", "scheduler", "workers", "memory", "stage", "stage_budget", "publish", "sign"}

_SHARDS = (512, 256, 128, 64)

# Tiles of a datatake that a fit may draw its windows from.
_TILES = 64


def make_plan(config: RunConfig) -> Plan:
    """Search, and decide on everything that a run will do; no pixel is read.

    Raises
    ------
    S2SharpError
        ``nothing-found`` when no acquisition is left; ``method-unknown`` and the like; what
        :func:`~s2sharp.search.search` raises.
    """
    check_fit(config)
    bands = config.bands
    coarse = tuple(band for band in bands if BANDS[band].gsd > 10)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    sharpener = outline(config, coarse, device) if coarse else None
    needed = sharpener.reads if sharpener else ()
    reads = in_order({*needed, *(band for band in bands if BANDS[band].gsd == 10)})
    margin = context(sharpener) if sharpener else 0
    # Every cell that is written needs its neighbours, those beyond the box in degrees, too.
    bbox = reach(config)
    items = search(config.catalog, config.collection, bbox, config.datetime, margin * CELL)
    found, refused, choices = group(items, reads, config.catalog, config.sign)
    if not found and not refused:
        raise S2SharpError(
            "nothing-found",
            f"{public(config.catalog)} has no item of {config.collection} in {bbox} at {config.datetime}.",
            "Widen --bbox or --datetime, or choose another --collection.",
        )
    clear = [a for a in found if a.cloud is None or a.cloud <= config.max_cloud]
    # What meets the margin alone gives context to nothing.
    kept = tuple(a for a in clear if _meets(config, a))
    layouts = _layouts(config, kept)
    if not kept:
        why = [f"{sum(len(a.scenes) for a in found) + len(refused)} items were found"]
        why += [f"{len(found) - len(clear)} acquisitions are cloudier than {config.max_cloud:g} %"]
        why += [
            f"{len(refused)} items were refused" + "".join(f"; {r.message}" for r in refused[:3])
        ]
        raise S2SharpError(
            "nothing-found",
            f"Nothing is left to sharpen: {', '.join(why)}.",
            "Raise --max-cloud, or widen --bbox or --datetime.",
        )
    return Plan(
        software=version("s2sharp"),
        config=config,
        acquisitions=kept,
        datatakes=_datatakes(config, kept, reads) if coarse and fits(config) else (),
        cloudy=tuple(a.id for a in found if a not in clear),
        refused=tuple(refused),
        choices=tuple(choices),
        layouts=tuple(layouts),
        reads=reads,
        margin=margin,
        digest=digest_of(config, sharpener) if sharpener else "",
        weights=sharpener.weights if sharpener else {},
        start=start_of(config, coarse) if coarse else {},
        precision=sharpener.precision if sharpener else "",
        device=device,
        shape=area_digest(config),
        staged=_staged(config, kept),
    )


def _datatakes(
    config: RunConfig, acquisitions: Iterable[Acquisition], reads: tuple[str, ...]
) -> tuple[Datatake, ...]:
    """What the catalogue has of the acquisitions' datatakes, inside the area and beyond.

    Of one with hundreds of tiles, :data:`_TILES` whose names' digests come first: more than windows
    are drawn from, the same whatever the area.
    """
    times: dict[str, list[datetime]] = {}
    for acquisition in acquisitions:
        when = datetime.fromisoformat(acquisition.datetime)
        times.setdefault(acquisition.take, []).append(when)
    found = []
    for take, moments in sorted(times.items()):
        # A datatake lasts half an hour at most.
        begin = f"{min(moments) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        end = f"{max(moments) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        items = search(
            config.catalog, config.collection, (-180.0, -90.0, 180.0, 90.0), f"{begin}/{end}"
        )
        own = [item for item in items if safe_name(datatake(item)) == take]
        own.sort(key=lambda item: hashlib.sha256(tile(item).encode()).digest())
        tiles = list(dict.fromkeys(tile(item) for item in own))[:_TILES]
        whole, *_ = group([i for i in own if tile(i) in tiles], reads, config.catalog, config.sign)
        found.append(Datatake(take, tuple(whole)))
    return tuple(found)


def _staged(config: RunConfig, acquisitions: Sequence[Acquisition]) -> bool:
    remote = any("://" in f.href for a in acquisitions for s in a.scenes for f in s.sources)
    return config.stage == "always" or (config.stage == "auto" and remote)


def _meets(config: RunConfig, acquisition: Acquisition) -> bool:
    lattice, shape = Lattice.of(acquisition.epsg), area_shape(config, acquisition.epsg)
    if shape.is_empty:
        return False
    asked = lattice.around(tuple(shapely.bounds(shape)))
    places = (scene.box for scene in acquisition.scenes if scene.sees(asked))
    return any(shape.intersects(shapely.box(*lattice.bounds(box))) for box in places)


def _layouts(config: RunConfig, acquisitions: Sequence[Acquisition]) -> list[Layout]:
    """One per EPSG code: the asked area as far as its acquisitions reach."""
    layouts = []
    for epsg in sorted({a.epsg for a in acquisitions}):
        own = [a for a in acquisitions if a.epsg == epsg]
        area = Lattice.of(epsg).around(tuple(shapely.bounds(area_shape(config, epsg))))
        area &= reduce(or_, (a.box for a in own))
        side = config.shard or next((s for s in _SHARDS if 2 * s <= max(area.shape)), _SHARDS[-1])
        chunk = config.chunk or chunk_side(side * 6)
        layouts.append(
            Layout(epsg, area, side, chunk, tuple(a.datetime for a in own), config.bands)
        )
    return layouts


def frozen(config: RunConfig) -> Plan | None:
    """The run that ``config.out`` holds already, if it is the same one, else None.

    Its acquisitions are those of its beginning: a run that is continued does not search again.

    Raises
    ------
    S2SharpError
        ``other-run``, with what differs.
    """
    if not (config.out / "run.json").exists():
        if (config.out / "cube.zarr").exists():
            raise S2SharpError(
                "other-run",
                f"{config.out} holds a cube, but no run of s2sharp.",
                "Choose another --out.",
            )
        return None
    plan = read_plan(config.out, stamp(config.out))
    before, now = plan.config.model_dump(), config.model_dump()
    before["catalog"], now["catalog"] = public(before["catalog"]), public(now["catalog"])
    differs = [
        f"{k}: {before[k]} → {now[k]}" for k in now if k not in _FREE and before[k] != now[k]
    ]
    plan = plan.model_copy(update={"config": config, "staged": _staged(config, plan.acquisitions)})
    if not differs and plan.shape != area_digest(config):
        differs = [f"the content of {config.area}"]
    if not differs and _other_start(plan):
        differs = [f"the weights in {config.warm_start}"]
    if differs:
        raise S2SharpError(
            "other-run",
            f"{config.out} holds the cube of another run ({'; '.join(differs)}).",
            "Choose another --out, or run with the same settings to continue it.",
        )
    return plan


def _other_start(plan: Plan) -> bool:
    """Whether other weights lie where fits begin from. If none do, it is for a fit to say."""
    folder = plan.config.warm_start
    there = fitted_weights(folder) if folder else {}
    return any(there.get(file, sha256) != sha256 for file, sha256 in plan.start.items())
