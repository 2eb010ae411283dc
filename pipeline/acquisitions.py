"""Items → acquisitions: the scenes of one datatake in one EPSG code are one picture on the lattice."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

import pystac

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.lattice import Box, Lattice

from .archives import (
    Source,
    baseline,
    check_href,
    cloud_cover,
    datatake,
    epsg,
    platform,
    safe_name,
    scl_source,
    sensed,
    sources,
    tile,
)
from .load import header

__all__ = ["Acquisition", "Refusal", "Scene", "group", "joined"]


@dataclass(frozen=True)
class Scene:
    """What is needed of one item: its files, where it lies, what it is.

    ``href`` is the item's own, for links; ``cloud`` in per cent, None when unknown; ``number``: what the
    cube's layer ``source`` calls it within its acquisition, from 1.
    """

    id: str
    tile: str
    datetime: str
    platform: str | None
    baseline: tuple[int, int] | None
    cloud: float | None
    box: Box
    sources: tuple[Source, ...]
    scl: Source | None
    href: str | None
    number: int = 0

    @property
    def digest(self) -> str:
        """What its pixels follow from: identity, version and radiometry, not where it is fetched."""
        facts = [self.id, self.baseline, [(s.band, s.scale, s.offset) for s in self.sources]]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Acquisition:
    """The scenes of one datatake in one EPSG code; ``scenes`` in the order in which they win overlaps.

    ``take``: the datatake, which other codes may share; ``items``: the ids of its items by their numbers, those
    that newer ones have replaced since among them.
    """

    id: str
    take: str
    epsg: int
    datetime: str
    scenes: tuple[Scene, ...]
    items: tuple[str, ...] = ()

    @property
    def box(self) -> Box:
        return reduce(or_, (scene.box for scene in self.scenes))

    @property
    def cloud(self) -> float | None:
        """Cloud cover in per cent, the mean of the scenes that state one, weighted by their size."""
        known = [(s.cloud, math.prod(s.box.shape)) for s in self.scenes if s.cloud is not None]
        total = sum(weight for _, weight in known)
        return sum(cloud * weight for cloud, weight in known) / total if total else None

    def within(self, box: Box) -> tuple[Scene, ...]:
        """The scenes that meet ``box``."""
        return tuple(scene for scene in self.scenes if not (scene.box & box).empty)


@dataclass(frozen=True)
class Refusal:
    """An item that is left out, and why; ``kind`` as in :class:`S2SharpError`."""

    item: str
    kind: str
    message: str


def group(
    items: Iterable[pystac.Item], bands: Sequence[str], catalog: str
) -> tuple[list[Acquisition], list[Refusal]]:
    """Join the scenes of each datatake and EPSG code.

    Of the items of one tile and datatake only those of the newest processing baseline count. Where
    scenes overlap, the one whose tile comes first in alphabetical order gives the pixels, and the
    next ones those that it lacks: fixed, so that the cut does not depend on the query.

    Parameters
    ----------
    bands
        The bands that will be read.
    catalog
        Where the items come from: decides which hrefs they may name.

    Returns
    -------
    tuple
        Acquisitions in order of time and EPSG code, and the items that were refused.
    """
    found: dict[tuple[str, int], list[Scene]] = {}
    refused = []
    for item in items:
        try:
            code = epsg(item)
            scene = _scene(item, code, bands, catalog)
        except S2SharpError as error:
            refused.append(Refusal(item.id, error.kind, str(error)))
            continue
        found.setdefault((datatake(item), code), []).append(scene)
    acquisitions = []
    for (take, code), scenes in found.items():
        name = safe_name(f"{take}_{code}")
        acquisitions.append(_numbered(name, safe_name(take), code, scenes))
    return sorted(acquisitions, key=lambda a: (a.datetime, a.epsg, a.id)), refused


def joined(before: Acquisition, now: Acquisition) -> Acquisition:
    """An acquisition with what the catalogue has of it now: late tiles, newer baselines.

    Items keep the numbers that they have in the cube; what is new gets the next ones. What the catalogue has
    withdrawn stays.
    """
    scenes = {scene.id: scene for scene in (*before.scenes, *now.scenes)}
    return _numbered(before.id, before.take, before.epsg, list(scenes.values()), before.items)


def _numbered(
    name: str, take: str, code: int, scenes: list[Scene], items: tuple[str, ...] = ()
) -> Acquisition:
    newest = _newest(scenes)
    items += tuple(scene.id for scene in newest if scene.id not in items)
    return Acquisition(
        id=name,
        take=take,
        epsg=code,
        datetime=min(scene.datetime for scene in newest),
        scenes=tuple(replace(scene, number=items.index(scene.id) + 1) for scene in newest),
        items=items,
    )


def _newest(scenes: list[Scene]) -> list[Scene]:
    """Per tile the items of its newest baseline, each id once, in the order in which they win."""
    best: dict[str, tuple[int, int]] = {}
    for scene in scenes:
        best[scene.tile] = max(best.get(scene.tile, (0, 0)), scene.baseline or (0, 0))
    kept = {s.id: s for s in scenes if (s.baseline or (0, 0)) == best[s.tile]}
    return sorted(kept.values(), key=lambda s: (s.tile, s.datetime, s.id))


def _scene(item: pystac.Item, code: int, bands: Sequence[str], catalog: str) -> Scene:
    found = sources(item, bands)
    scl = scl_source(item)
    for source in (*found.values(), *([scl] if scl else [])):
        check_href(source.href, catalog)
    cloud = cloud_cover(item)
    return Scene(
        id=item.id,
        tile=tile(item),
        datetime=sensed(item).strftime("%Y-%m-%dT%H:%M:%S"),
        platform=platform(item),
        baseline=baseline(item),
        cloud=None if math.isnan(cloud) else cloud,
        box=_box(item, code, found.values()),
        sources=tuple(found.values()),
        scl=scl,
        href=item.get_self_href(),
    )


def _box(item: pystac.Item, code: int, files: Iterable[Source]) -> Box:
    """The cells of an item, from the transform and shape of every band that is read; they must agree."""
    lattice = Lattice.of(code)
    boxes = {}
    for source in files:
        what = f"Item {item.id}, band {source.band},"
        (a, b, left, d, e, top), (height, width) = _grid(item, source)
        gsd = BANDS[source.band].gsd
        if (a, b, d, e) != (gsd, 0, 0, -gsd):
            raise S2SharpError(
                "off-lattice",
                f"{what} has pixels of {a} × {e} m and shears of {b} and {d}, not {gsd} m north up.",
                "Use the product as ESA grids it, not a reprojected copy.",
            )
        bounds = (left, top + e * height, left + a * width, top)
        boxes[source.band] = lattice.box(bounds, what)
    if len(set(boxes.values())) > 1:
        raise S2SharpError(
            "off-lattice",
            f"The bands of item {item.id} cover different cells: {boxes}.",
            "Skip it.",
        )
    return next(iter(boxes.values()))


def _grid(item: pystac.Item, source: Source) -> tuple[tuple[float, ...], tuple[int, int]]:
    """Transform (a, b, c, d, e, f) and shape of a file: from its asset, else from its header."""
    for asset in item.assets.values():
        transform = asset.extra_fields.get("proj:transform")
        shape = asset.extra_fields.get("proj:shape")
        if asset.get_absolute_href() == source.href and transform and shape:
            return _checked(transform, shape, f"Item {item.id}, band {source.band}")
    return header(source, item.id)


def _checked(transform: Any, shape: Any, what: str) -> tuple[tuple[float, ...], tuple[int, int]]:
    """A grid as an item states it: any JSON, perhaps."""
    try:
        numbers = tuple(float(v) for v in transform[:6])
        height, width = (int(v) for v in shape)
    except (OverflowError, TypeError, ValueError):
        numbers, height, width = (math.nan,), 0, 0
    if height < 1 or width < 1 or len(numbers) < 6 or not all(map(math.isfinite, numbers)):
        raise S2SharpError(
            "item-broken",
            f"{what}: proj:transform {transform!r} and proj:shape {shape!r} should be six numbers and "
            "two, height and width.",
            "Leave the item out, or ask the archive to correct it.",
        )
    return numbers, (height, width)
