"""Area × time → units, lazily: frozen in one file that every worker reads, so that all agree."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, reduce
from importlib.metadata import version
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
import torch
from pydantic import BaseModel, ConfigDict
from pyproj import Transformer

from s2sharp_core import BANDS, METHODS, S2SharpError, Sharpener, load_sharpener
from s2sharp_core.bands import CELL, in_order
from s2sharp_core.blocks import context
from s2sharp_core.fitting import FitOptions
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sharpeners import NetSharpener, WindowFitted, unfitted_sharpener
from s2sharp_core.weights import SHIPPED

from .acquisitions import Acquisition, Refusal, group
from .archives import datatake, public, safe_name, tile
from .archives import epsg as epsg_of
from .config import RunConfig
from .cube import Layout, chunk_side
from .load import Files, Reader
from .search import search
from .stage import Stage

__all__ = [
    "Datatake",
    "Plan",
    "Unit",
    "area_shape",
    "freeze",
    "frozen",
    "make_plan",
    "read_plan",
    "stamp",
]

# What may differ when a run is taken up again: none of it changes a pixel.
_FREE = {"out", "scheduler", "workers", "memory", "stage", "stage_budget", "publish"}

_SHARDS = (512, 256, 128, 64)

# Tiles of a datatake that a fit may draw its windows from.
_TILES = 64


@dataclass(frozen=True)
class Unit:
    """What a worker takes, does and records as one: a shard of an acquisition, or of an overview.

    ``time``: index of the acquisition in its group; ``row``, ``col``: of the shard in the array of
    ``level``.
    """

    epsg: int
    time: int
    row: int
    col: int
    level: int = 0


@dataclass(frozen=True)
class Datatake:
    """What a method is fitted to: all that the catalogue has of one datatake, whatever the area."""

    take: str
    acquisitions: tuple[Acquisition, ...]


class Plan(BaseModel):
    """A run, frozen: written as ``run.json`` before the first unit, read by every worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    software: str
    config: RunConfig
    acquisitions: tuple[Acquisition, ...]
    datatakes: tuple[Datatake, ...]
    cloudy: tuple[str, ...]
    refused: tuple[Refusal, ...]
    layouts: tuple[Layout, ...]
    reads: tuple[str, ...]
    margin: int
    digest: str
    weights: dict[str, str]
    precision: str
    device: str
    shape: str
    staged: bool

    @property
    def out(self) -> Path:
        return self.config.out

    @property
    def store(self) -> Path:
        return self.config.out / "cube.zarr"

    def layout(self, epsg: int) -> Layout:
        return next(layout for layout in self.layouts if layout.epsg == epsg)

    def of(self, epsg: int) -> list[Acquisition]:
        """The acquisitions of one code, in the order of the cube's times."""
        return [a for a in self.acquisitions if a.epsg == epsg]

    @property
    def coarse(self) -> tuple[str, ...]:
        """The bands that have to be sharpened."""
        return tuple(band for band in self.config.bands if BANDS[band].gsd > 10)

    def sharpener(self, take: str) -> Sharpener | None:
        """The sharpener of a datatake, loaded once a process; None when only 10 m bands are asked for.

        Raises
        ------
        S2SharpError
            ``weights-differ``; ``weights-missing`` when a fit has not been made.
        """
        if not self.coarse:
            return None
        sharpener = _ready(self.config, self.coarse, self.device, self.fit_folder(take))
        found, wanted = sharpener.digest, self.digest
        if self.datatakes:
            found, wanted = _brief(sharpener.weights), _brief(self.weights_of(take))
        if (found, sharpener.precision) != (wanted, self.precision):
            raise S2SharpError(
                "weights-differ",
                f"The {self.config.method} of this process (digest {found[:12]}, "
                f"{sharpener.precision}) is not the plan's ({wanted[:12]}, {self.precision}).",
                "Install the same version and weights on all workers, and restart them.",
            )
        return sharpener

    def outline(self) -> Sharpener | None:
        """The sharpener as it is before any fit."""
        return _outline(self.config, self.coarse, self.device) if self.coarse else None

    @property
    def options(self) -> FitOptions:
        """How the method is fitted."""
        return _options(self.config)

    def fit_folder(self, take: str) -> Path | None:
        """Where the weights of a datatake lie, if the method is fitted to it."""
        return self.out / "fits" / take if self.datatakes else None

    def fit_name(self, datatake: Datatake) -> str:
        """A fit's path in the ledger."""
        return f"fits/{datatake.take}"

    def fit_key(self, datatake: Datatake) -> str:
        """The digest of what a fit follows from: the datatake's items, the method and its options."""
        scenes = [scene.digest for a in datatake.acquisitions for scene in a.scenes]
        text = json.dumps([self.digest, self.precision, scenes])
        return hashlib.sha256(text.encode()).hexdigest()

    def weights_of(self, take: str) -> dict[str, str]:
        """File → sha256 of the weights that a datatake is sharpened with; empty before its fit."""
        folder = self.fit_folder(take)
        return dict(self.weights) if folder is None else _fitted(folder)

    def units(self) -> Iterator[Unit]:
        """The units of the full resolution: acquisition by acquisition, row by row."""
        for layout in self.layouts:
            shape = area_shape(self.config, layout.epsg)
            rows, cols = layout.shards()
            for time, acquisition in enumerate(self.of(layout.epsg)):
                for row, col in itertools.product(range(rows), range(cols)):
                    cells = layout.cells(row, col) & layout.area
                    if not acquisition.within(cells):
                        continue
                    if shape.intersects(shapely.box(*layout.lattice.bounds(cells))):
                        yield Unit(layout.epsg, time, row, col)

    def overviews(self, level: int) -> Iterator[Unit]:
        """The units of one overview; its children must be complete."""
        for layout in self.layouts:
            if level > layout.levels:
                continue
            rows, cols = layout.shards(level)
            for time, row, col in itertools.product(
                range(len(layout.times)), range(rows), range(cols)
            ):
                yield Unit(layout.epsg, time, row, col, level)

    def pictures(self) -> Iterator[Unit]:
        """What is published: every acquisition, as a unit without a place."""
        for layout in self.layouts:
            for time in range(len(layout.times)):
                yield Unit(layout.epsg, time, 0, 0, level=-1)

    def wanted(self, unit: Unit) -> Box:
        """The cells of a unit that were asked for."""
        layout = self.layout(unit.epsg)
        return layout.cells(unit.row, unit.col) & layout.area

    def acquisition(self, unit: Unit) -> Acquisition:
        return self.of(unit.epsg)[unit.time]

    def name(self, unit: Unit) -> str:
        """A unit's path in the ledger: its acquisition, and its shard counted on the lattice."""
        if unit.level < 0:
            return f"{self.acquisition(unit).id}/published"
        row, col = unit.row, unit.col
        if unit.level == 0:
            cells = self.layout(unit.epsg).cells(row, col)
            row, col = (
                cells.row0 // (cells.row1 - cells.row0),
                cells.col0 // (cells.col1 - cells.col0),
            )
        return f"{self.acquisition(unit).id}/x{2**unit.level}_{row}_{col}"

    def key(self, unit: Unit, missing: Sequence[str] = ()) -> str:
        """The digest of what a unit's content follows from: its items, halo included, and the method.

        ``missing``: units of the full resolution that an overview has to do without.
        """
        layout = self.layout(unit.epsg)
        facts: list[Any] = [self.digest, self.precision, self.config.bands, self.config.window]
        facts += [layout.area, layout.shard, layout.chunk]
        if self.datatakes:
            facts.append(self.weights_of(self.acquisition(unit).take))
        if unit.level == 0:
            around = self.wanted(unit).grow(self.margin)
            facts += [scene.digest for scene in self.acquisition(unit).within(around)]
        else:
            acquisition = self.acquisition(unit)
            facts += [scene.digest for scene in acquisition.scenes]
            facts += sorted(name for name in missing if name.startswith(f"{acquisition.id}/"))
        text = json.dumps(facts, default=lambda x: x.__dict__, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def stage(self, acquisition: Acquisition) -> Stage:
        layout = self.layout(acquisition.epsg)
        box = acquisition.box & layout.area.grow(self.margin)
        scl = ("SCL",) if any(scene.scl for scene in acquisition.scenes) else ()
        return Stage(
            folder=self.out / "stage",
            acquisition=acquisition,
            bands=(*self.reads, *scl),
            box=box.snap(layout.shard),
            shard=layout.shard,
        )

    def reader(self, acquisition: Acquisition) -> Reader:
        return self.stage(acquisition) if self.staged else Files(acquisition)

    def facts(self, epsg: int) -> dict[str, Any]:
        """What the cube says about how one of its groups was made."""
        return {
            "software": f"s2sharp {self.software}",
            "method": self.config.method,
            "weights": self.weights,
            "precision": self.precision,
            "window_cells": self.config.window,
            "acquisitions": [
                {"id": a.id, "datetime": a.datetime, "items": [s.id for s in a.scenes]}
                for a in self.of(epsg)
            ],
        }


def area_shape(config: RunConfig, epsg: int) -> shapely.Geometry:
    """The area that was asked for, in metres of ``epsg``; edges are densified before they bend.

    Raises
    ------
    S2SharpError
        ``bad-config`` when the GeoJSON cannot be read.
    """
    # A zone's tiles lie within a few degrees of its meridian; far from it, the projection has no meaning.
    meridian = epsg % 100 * 6 - 183
    near = shapely.box(meridian - 12, -84, meridian + 12, 84)
    shape = shapely.segmentize(_lonlat(config) & near, 0.05)
    to_grid = Transformer.from_crs(4326, epsg, always_xy=True)
    shape = shapely.transform(shape, lambda xy: np.column_stack(to_grid.transform(*xy.T)))
    # Of a box in degrees, the whole rectangle around it in metres: a picture without ragged edges.
    return shape if config.area else shapely.box(*shapely.bounds(shape))


def _reach(config: RunConfig, items: Sequence[pystac.Item]) -> tuple[float, float, float, float]:
    """Degrees around all cells that may be written: more than was asked for, since grids are turned."""
    shape = _lonlat(config)
    for code in {epsg_of(item) for item in items if _has_code(item)}:
        around = Lattice.of(code).around(tuple(shapely.bounds(area_shape(config, code))))
        to_degrees = Transformer.from_crs(code, 4326, always_xy=True)
        shape |= shapely.box(*to_degrees.transform_bounds(*Lattice.of(code).bounds(around)))
    west, south, east, north = shapely.bounds(shape & shapely.box(-180, -90, 180, 90))
    return float(west), float(south), float(east), float(north)


def _has_code(item: pystac.Item) -> bool:
    """Whether an item says where it lies; one that does not is refused later, by name."""
    try:
        Lattice.of(epsg_of(item))
    except S2SharpError:
        return False
    return True


def _geojson(file: Path) -> shapely.Geometry:
    try:
        content = json.loads(file.read_text())
        parts = [
            shapely.make_valid(shapely.from_geojson(json.dumps(feature.get("geometry") or feature)))
            for feature in content.get("features", [content])
        ]
        shape = shapely.union_all(parts)
    except (OSError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise S2SharpError(
            "bad-config", f"Cannot read the area {file}: {error}.", "It must be GeoJSON in lon/lat."
        ) from error
    west, south, east, north = shapely.bounds(shape)
    if not shape.area or not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise S2SharpError(
            "bad-config",
            f"The area {file} is no polygon in degrees; it spans {west}, {south}, {east}, {north}.",
            "Give polygons in longitude and latitude (RFC 7946).",
        )
    return shape


def _lonlat(config: RunConfig) -> shapely.Geometry:
    return _geojson(config.area) if config.area else shapely.box(*(config.bbox or ()))


def _digest(config: RunConfig) -> str:
    return hashlib.sha256(shapely.to_wkb(_lonlat(config))).hexdigest()


def make_plan(config: RunConfig) -> Plan:
    """Search, and decide on everything that a run will do; no pixel is read.

    Raises
    ------
    S2SharpError
        ``nothing-found`` when no acquisition is left; ``method-unknown`` and the like; what
        :func:`~s2sharp.search.search` raises.
    """
    _check_fit(config)
    bands = config.bands
    coarse = tuple(band for band in bands if BANDS[band].gsd > 10)
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    sharpener = _outline(config, coarse, device) if coarse else None
    needed = sharpener.reads if sharpener else ()
    reads = in_order({*needed, *(band for band in bands if BANDS[band].gsd == 10)})
    margin = context(sharpener) if sharpener else 0
    bbox = tuple(shapely.bounds(_lonlat(config)))
    items = search(config.catalog, config.collection, bbox, config.datetime, margin * CELL)
    if not items:
        raise S2SharpError(
            "nothing-found",
            f"{public(config.catalog)} has no item of {config.collection} in {bbox} at {config.datetime}.",
            "Widen --bbox or --datetime, or choose another --collection.",
        )
    # Once more: every cell that is written needs its neighbours, those beyond the box in degrees, too.
    reach = _reach(config, items)
    items = search(config.catalog, config.collection, reach, config.datetime, margin * CELL)
    found, refused = group(items, reads, config.catalog)
    clear = [a for a in found if a.cloud is None or a.cloud <= config.max_cloud]
    # What meets the margin alone gives context to nothing.
    kept = tuple(a for a in clear if _meets(config, a))
    layouts = _layouts(config, kept)
    if not kept:
        why = [f"{len(items)} items were found"]
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
        datatakes=_datatakes(config, kept, reads) if coarse and _fits(config) else (),
        cloudy=tuple(a.id for a in found if a not in clear),
        refused=tuple(refused),
        layouts=tuple(layouts),
        reads=reads,
        margin=margin,
        digest=_digest_of(config, sharpener) if sharpener else "",
        weights=sharpener.weights if sharpener else {},
        precision=sharpener.precision if sharpener else "",
        device=device,
        shape=_digest(config),
        staged=_staged(config, kept),
    )


def _check_fit(config: RunConfig) -> None:
    """Refuse options of a fit where they would mean nothing.

    Raises
    ------
    S2SharpError
        ``bad-config``; ``method-unknown``.
    """
    if config.method not in METHODS:
        load_sharpener(config.method)
    given = [
        flag
        for flag, value in (
            ("--fit window", config.fit == "window"),
            ("--fit-steps", config.fit_steps),
            ("--warm-start", config.warm_start),
        )
        if value
    ]
    method = METHODS[config.method]
    why = ""
    if method.fit is None:
        why = f"{config.method} does not learn on the scene: there is nothing to fit"
    elif config.weights is not None:
        why = "with --weights there is nothing to fit"
    elif method.steps == 1 and given != ["--fit window"]:
        why = f"{config.method} is solved, not trained: it has no steps and no start"
    if given and why:
        raise S2SharpError("bad-config", f"{' and '.join(given)}: {why}.", "Leave it out.")


def _fits(config: RunConfig) -> bool:
    """Whether the method is fitted to each datatake before it is used."""
    learns = METHODS[config.method].fit is not None
    return learns and config.weights is None and config.fit == "datatake"


def _options(config: RunConfig) -> FitOptions:
    steps = config.fit_steps or METHODS[config.method].steps
    start = SHIPPED if config.warm_start == "shipped" else config.warm_start
    return FitOptions(steps, config.seed, start)


def _outline(config: RunConfig, coarse: tuple[str, ...], device: str) -> Sharpener:
    """The sharpener, or what it will be like once it has been fitted."""
    if _fits(config):
        return unfitted_sharpener(config.method, coarse, device)
    return _ready(config, coarse, device, None)


def _ready(
    config: RunConfig, coarse: tuple[str, ...], device: str, fitted: Path | None
) -> Sharpener:
    """The sharpener itself; ``fitted``: where its weights were left, if it was fitted in this run."""
    if config.fit == "window":
        return WindowFitted(METHODS[config.method], coarse, _options(config), device)
    return load_sharpener(config.method, coarse, fitted or config.weights, device)


def _digest_of(config: RunConfig, sharpener: Sharpener) -> str:
    """Of the sharpener; of one that is fitted yet, with what its fit will follow from."""
    if not _fits(config):
        return sharpener.digest
    options = _options(config)
    start = _start(options.start, sharpener) if options.start else None
    facts = [sharpener.digest, options.steps, options.seed, start]
    # Sums run in another order on another number of threads: the weights would not be the same.
    facts += [config.fit_windows, config.fit_threads]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _start(folder: Path, sharpener: Sharpener) -> dict[str, str]:
    """The weights that fits begin from: file → sha256.

    Raises
    ------
    S2SharpError
        ``weights-missing``, before anything starts.
    """
    there = _fitted(folder)
    files = sharpener.files if isinstance(sharpener, NetSharpener) else ()
    missing = [file for file in files if file not in there]
    if missing:
        raise S2SharpError(
            "weights-missing",
            f"{folder} lacks {', '.join(missing)}, which the fits of {sharpener.name} should begin from.",
            f"Make them with `s2sharp train --method {sharpener.name}`, or leave --warm-start out.",
        )
    return {file: there[file] for file in files}


def _fitted(folder: Path) -> dict[str, str]:
    """The weights in a folder, as their cards state them: file → sha256."""
    try:
        # A folder's time changes with every file that comes or is replaced.
        return dict(_cards(folder, folder.stat().st_mtime_ns))
    except FileNotFoundError:
        return {}


@lru_cache(maxsize=256)
def _cards(folder: Path, stamp: int) -> dict[str, str]:  # noqa: ARG001  (part of the cache's key)
    cards = (c for c in sorted(folder.glob("*.json")) if c.with_suffix(".safetensors").exists())
    return {f"{card.stem}.safetensors": json.loads(card.read_text())["sha256"] for card in cards}


def _brief(weights: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()


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
        whole, _ = group([i for i in own if tile(i) in tiles], reads, config.catalog)
        found.append(Datatake(take, tuple(whole)))
    return tuple(found)


def _staged(config: RunConfig, acquisitions: Sequence[Acquisition]) -> bool:
    remote = any("://" in f.href for a in acquisitions for s in a.scenes for f in s.sources)
    return config.stage == "always" or (config.stage == "auto" and remote)


def _meets(config: RunConfig, acquisition: Acquisition) -> bool:
    bounds = Lattice.of(acquisition.epsg).bounds
    shape = area_shape(config, acquisition.epsg)
    return any(shape.intersects(shapely.box(*bounds(scene.box))) for scene in acquisition.scenes)


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
    if not differs and plan.shape != _digest(config):
        differs = [f"the content of {config.area}"]
    if differs:
        raise S2SharpError(
            "other-run",
            f"{config.out} holds the cube of another run ({'; '.join(differs)}).",
            "Choose another --out, or run with the same settings to continue it.",
        )
    return plan


def freeze(plan: Plan) -> str:
    """Write the plan as ``run.json``, at once or not at all; returns its stamp."""
    file = plan.out / "run.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".run.json.{os.getpid()}")
    # For its owner's eyes: the addresses of signed assets are keys.
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(plan.model_dump_json(indent=1))
    draft.replace(file)
    return stamp(plan.out)


def stamp(out: Path) -> str:
    """Which writing of ``run.json`` it is: long-lived workers must not use an older one."""
    return str((out / "run.json").stat().st_mtime_ns)


@lru_cache(maxsize=4)
def read_plan(out: Path, stamp: str) -> Plan:  # noqa: ARG001  (part of the cache's key)
    """The plan of the run in ``out``.

    Raises
    ------
    S2SharpError
        ``not-a-run``.
    """
    try:
        plan = Plan.model_validate_json((out / "run.json").read_text())
    except ValueError as error:
        raise S2SharpError(
            "other-run",
            f"{out}/run.json was not written by this version of s2sharp.",
            "Continue it with the version that began it, or choose another --out.",
        ) from error
    except OSError as error:
        raise S2SharpError(
            "not-a-run",
            f"{out} holds no run of s2sharp: {error}.",
            "Make one: `s2sharp run --out …`.",
        ) from error
    # Where it lies now, should the folder have been moved.
    return plan.model_copy(update={"config": plan.config.model_copy(update={"out": out})})
