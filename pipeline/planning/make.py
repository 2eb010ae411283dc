"""Make the plan of a new run: search, and decide on everything that the run will do."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from importlib.metadata import version
from operator import or_

import pystac
import shapely

from s2sharp_core import BANDS, METHODS
from s2sharp_core.bands import CELL, in_order
from s2sharp_core.lattice import Lattice

from ..catalog.addresses import safe_name
from ..catalog.extent import Degrees
from ..catalog.metadata import datatake, tile
from ..catalog.query import boxes_around
from ..cube.layout import Layout, chunk_side
from ..engine.resources import gpus
from ..scenes.acquisition import Acquisition, Choice
from ..scenes.scene import Refusal, edges_of
from .area import Area, in_degrees
from .client_plan import ClientPlan
from .config import WORLD, RunConfig
from .empty_query import nothing_found
from .items import freeze_items, with_checked_offsets
from .method import Outline, check_fit, fits
from .net_process import outlined
from .query_log import items_in, when
from .sensor_files import given_sensors
from .units import Datatake, by_datatake

_SHARDS = (512, 256, 128, 64)
# Most tiles of a datatake from which windows are drawn.
_TILES = 64


@dataclass(frozen=True)
class _Found:
    """Result of a search.

    ``acquisitions``: those that meet the area and are clear enough; ``every``: all, including those frozen before;
    ``items``: their items, frozen; ``cloudy``, ``refused``, ``choices``: acquisitions and items that were left out.
    """

    items: bytes
    every: tuple[Acquisition, ...]
    acquisitions: tuple[Acquisition, ...]
    cloudy: tuple[str, ...]
    refused: tuple[Refusal, ...]
    choices: tuple[Choice, ...]


def make_plan(config: RunConfig) -> ClientPlan:
    """Search, and decide on everything that a run will do. Pixels are read only with ``trust_offset="pixels"``.

    Raises
    ------
    S2SharpError
        ``nothing-found`` when no acquisition is left; ``method-unknown`` and other errors of the method; the errors of
        :func:`~s2sharp.catalog.search.search`.
    """
    check_fit(config)
    coarse = tuple(band for band in config.bands if BANDS[band].gsd > 10)
    device = config.device
    if device == "auto":
        device = "cuda" if gpus() else "cpu"
    method = outlined(config, coarse, device, _load_ahead) if coarse else Outline()
    reads = in_order({*method.reads, *(band for band in config.bands if BANDS[band].gsd == 10)})
    area = Area.of(config.bbox, config.area)
    found = find_items(config, area, (*reads, *config.native), method.margin, b"")
    learns = bool(coarse) and fits(config)
    measures = config.sensor == "measured" and bool(coarse) and METHODS[config.method].senses
    taken = found.acquisitions if learns or measures else ()
    datatakes, fit_items = datatakes_of(config, taken, reads) if taken else ((), b"")
    plan = ClientPlan(
        software=version("s2sharp"),
        config=config,
        acquisitions=found.acquisitions,
        asked=tuple(a.id for a in found.acquisitions),
        datatakes=datatakes,
        items=found.items,
        fit_items=fit_items,
        learns=learns,
        measures=measures,
        sensors=given_sensors(config.sensor, {a.take for a in found.acquisitions})
        if coarse
        else {},
        cloudy=found.cloudy,
        refused=found.refused,
        choices=found.choices,
        layouts=tuple(layouts_of(config, area, found.acquisitions)),
        reads=reads,
        margin=method.margin,
        digest=method.digest,
        weights=method.weights,
        start=method.start,
        precision=method.precision,
        device=device,
        shape=area.digest,
        staged=staged_by_default(config.stage, found.acquisitions),
    )
    return with_checked_offsets(plan)


def _load_ahead() -> None:
    """Load what a search takes."""
    import pystac_client  # noqa: F401
    import stac_geoparquet.arrow  # noqa: F401


_NEAR = 150_000.0
"""Largest distance in metres between the area and the grid of a tile whose footprint touches it."""


def _tell_elsewhere(every: Iterable[Acquisition], seen: Collection[str], around: Degrees) -> None:
    """Warn of items whose grids lie far from the footprints by which they were found: they have no data in the area."""
    near = [shapely.box(*box) for box in boxes_around(around, _NEAR)]
    places = {(a.epsg, s.box): s.id for a in every for s in a.scenes if s.id in seen}
    for (code, cells), item in places.items():
        there = in_degrees(code, cells)
        if not any(there.intersects(box) for box in near):
            warnings.warn(
                f"Item {item} lies elsewhere, by its grid in EPSG:{code}, than its footprint says; it is left out.",
                stacklevel=3,
            )


def find_items(
    config: RunConfig, area: Area, reads: tuple[str, ...], margin: int, before: bytes
) -> _Found:
    """Search, and freeze what was found beside what is frozen already.

    Errors: ``nothing-found`` when no acquisition is left; the errors of :func:`~s2sharp.catalog.search.search`.
    """
    seen: set[str] = set()
    # Every cell that is written needs its neighbours, those beyond the box in degrees, too.
    around, span = area.reach, when(config.datetime, config.since)

    def items() -> Iterator[pystac.Item]:
        for item in items_in(config, around, span, margin_m=margin * CELL):
            seen.add(item.id)
            yield item

    frozen_items, every, refused, choices = freeze_items(config, before, items(), reads)
    _tell_elsewhere(every, seen, around)
    new = [a for a in every if any(scene.id in seen for scene in a.scenes)]
    clear = [a for a in new if a.cloud is None or a.cloud <= config.max_cloud]
    levels = Counter(a.level for a in clear if a.level)
    if len(levels) > 1:
        told = " and ".join(f"{count} of {level}" for level, count in sorted(levels.items()))
        warnings.warn(
            f"What was found is of two levels, {told}, whose reflectance is not the same thing: at the top of the "
            "atmosphere, and of the ground. Choose a --collection of one level, if there is one.",
            stacklevel=2,
        )
    shapes = {epsg: area.shape(epsg) for epsg in {a.epsg for a in clear}}
    # An acquisition that meets the margin alone gives context to nothing.
    acquisitions = tuple(a for a in clear if _meets(shapes[a.epsg], a))
    cloudy = tuple(a.id for a in new if a not in clear)
    if not acquisitions:
        raise nothing_found(config, around, new, cloudy, refused)
    return _Found(
        items=frozen_items,
        every=tuple(every),
        acquisitions=acquisitions,
        cloudy=cloudy,
        refused=tuple(refused),
        choices=tuple(choices),
    )


def datatakes_of(
    config: RunConfig,
    acquisitions: Iterable[Acquisition],
    reads: tuple[str, ...],
    before: bytes = b"",
) -> tuple[tuple[Datatake, ...], bytes]:
    """Return the whole datatakes of the acquisitions in the catalog, inside the area and beyond; and their items, frozen
    together with those frozen ``before``.

    Of a datatake with hundreds of tiles, :data:`_TILES` are used, chosen by digests of their names: more than the sample
    needs, and the same for any area.
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
            found = items_in(config, WORLD, f"{begin}/{end}")
            own = [item for item in found if safe_name(datatake(item)) == take]
            own.sort(key=lambda item: hashlib.sha256(tile(item).encode()).digest())
            tiles = list(dict.fromkeys(tile(item) for item in own))[:_TILES]
            yield from (item for item in own if tile(item) in tiles)

    frozen_items, found, *_ = freeze_items(config, before, items(), reads)
    return by_datatake(found), frozen_items


def staged_by_default(stage: str, acquisitions: Sequence[Acquisition]) -> bool:
    remote = any("://" in f.href for a in acquisitions for s in a.scenes for f in s.sources)
    return stage == "always" or (stage == "auto" and remote)


def _meets(shape: shapely.Geometry, acquisition: Acquisition) -> bool:
    """Return whether an acquisition may have data in ``shape``, in metres of its code."""
    if shape.is_empty:
        return False
    lattice = Lattice.of(acquisition.epsg)
    asked = edges_of([lattice.around(tuple(shapely.bounds(shape)))])
    places = (scene.box for scene in acquisition.scenes if scene.sees(asked)[0])
    return any(shape.intersects(shapely.box(*lattice.bounds(box))) for box in places)


def layouts_of(config: RunConfig, area: Area, acquisitions: Sequence[Acquisition]) -> list[Layout]:
    """Return a layout for each EPSG code: the asked area as far as its acquisitions reach."""
    layouts = []
    extent = Area.of(config.extent) if config.extent else None
    for epsg in sorted({a.epsg for a in acquisitions}):
        own = [a for a in acquisitions if a.epsg == epsg]
        cells = area.cells(epsg) & reduce(or_, (a.box for a in own))
        side = config.shard or next((s for s in _SHARDS if 2 * s <= max(cells.shape)), _SHARDS[-1])
        layouts.append(
            Layout(
                epsg=epsg,
                area=cells,
                shard=side,
                chunk=config.chunk or chunk_side(side * 6),
                times=tuple(a.datetime for a in own),
                bands=config.bands,
                ids=tuple(a.id for a in own),
                extent=extent.cells(epsg) if extent else None,
                trust=config.trust,
                cirrus=config.cirrus,
                error90=config.error90,
            )
        )
    return layouts
