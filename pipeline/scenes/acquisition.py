"""Acquisitions: the scenes of one datatake in one EPSG code form one image on the lattice."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, reduce
from operator import or_
from typing import NamedTuple

import numpy as np
import pystac

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from ..catalog.access import FREE, Access
from ..catalog.addresses import public, safe_name
from ..catalog.contradictions import names_day
from ..catalog.faults import faulty
from ..catalog.metadata import archived, datastrip, datatake, epsg
from ..catalog.reflectance import PIXELS
from .scene import Refusal, Scene, edges_of, scene_of

PASS = timedelta(minutes=45)
"""Longer than a satellite takes over the sunlit side of the Earth, and shorter than until its next pass."""

SAME = 0.95
"""Share of an image's area that another must cover for both to be of one data strip."""

HALF = 0.5
"""Shared area from which two images of one stated data strip show the same."""


_MINUTE = re.compile(r"\d{8}T\d{4}")
_Image = tuple[str, int]
"""Datatake and EPSG code."""


@dataclass(frozen=True)
class Acquisition:
    """The scenes of one datatake in one EPSG code; ``scenes`` are in the order of their priority in overlaps.

    ``take``: the datatake, which other codes may share. ``items``: the ids of its items by their numbers in the
    ``source`` layer, including items that newer ones have replaced.
    """

    id: str
    take: str
    epsg: int
    datetime: str
    scenes: tuple[Scene, ...]
    items: tuple[str, ...] = ()

    @property
    def level(self) -> str | None:
        """Return the processing level, "L1C" or "L2A", that a scene states, or None."""
        return next((scene.level for scene in self.scenes if scene.level), None)

    @cached_property
    def box(self) -> Box:
        return reduce(or_, (scene.box for scene in self.scenes))

    @property
    def cloud(self) -> float | None:
        """Return the cloud cover in per cent: the mean of the scenes that state one, weighted by their size."""
        known = [(s.cloud, math.prod(s.box.shape)) for s in self.scenes if s.cloud is not None]
        total = sum(weight for _, weight in known)
        return sum(cloud * weight for cloud, weight in known) / total if total else None

    def within(self, box: Box) -> tuple[Scene, ...]:
        """Return the scenes that meet ``box``."""
        return tuple(scene for scene in self.scenes if not (scene.box & box).empty)

    def content(self, box: Box) -> list[tuple[str, int]]:
        """Return the digest and number of each scene that meets ``box``; the pixels there depend on nothing else."""
        every = zip(self.scenes, self._digests, strict=True)
        return [(digest, scene.number) for scene, digest in every if not (scene.box & box).empty]

    @cached_property
    def _digests(self) -> tuple[str, ...]:
        return tuple(scene.digest for scene in self.scenes)

    def sees(self, boxes: Sequence[Box]) -> np.ndarray:
        """Return for each of ``boxes`` whether there may be data in it."""
        edges = edges_of(boxes)
        return np.any([scene.sees(edges) for scene in self.scenes], axis=0)


@dataclass(frozen=True, slots=True)
class Choice:
    """Decision about an item: ``what`` is "replaced", "joined", or "left out" for its level; ``why`` is the reason."""

    item: str
    what: str
    why: str


class Found(NamedTuple):
    """A scene with the facts that decide its acquisition.

    ``take``: its datatake; ``strip``: start of its data strip; ``archived``: when the archive ingested it.
    """

    take: str
    epsg: int
    scene: Scene
    strip: str | None
    archived: str


def find(item: pystac.Item, bands: Sequence[str], catalog: str, access: Access = FREE) -> Found:
    """Return the facts of an item that :func:`join` needs. Error: the reason why the item is refused."""
    try:
        code = epsg(item)
        Lattice.of(code)  # checked before its files, because this fault says the most
        scene = scene_of(item, code, bands, catalog, access)
        return Found(datatake(item), code, scene, datastrip(item), archived(item))
    except S2SharpError as error:
        if error.kind == "crs-unknown" and item.id not in error.message:
            text = f"Item {item.id}: {error.message}"
            raise S2SharpError(error.kind, text, error.remedy) from None
        raise
    except Exception as error:  # any error of an odd document fails its item alone
        why = f"{type(error).__name__}: {str(error)[:100]}"
        text = f"Item {item.id} has metadata that cannot be read ({why})."
        raise faulty("item-broken", item.id, text) from error


def group(
    items: Iterable[pystac.Item], bands: Sequence[str], catalog: str, access: Access = FREE
) -> tuple[list[Acquisition], list[Refusal], list[Choice]]:
    """Join the scenes of each datatake and EPSG code: as :func:`join`, with the refused items added.

    ``bands``: those that will be read. ``catalog``: source of the items; it decides which hrefs they may name.
    ``access``: permission and keys of the catalog.
    """
    refused: list[Refusal] = []
    found = [one for _, one in found_in(items, bands, catalog, access, refused)]
    acquisitions, more, choices = join(found)
    return acquisitions, refused + more, choices


def found_in(
    items: Iterable[pystac.Item],
    bands: Sequence[str],
    catalog: str,
    access: Access,
    refused: list[Refusal],
) -> Iterator[tuple[pystac.Item, Found]]:
    """Yield each item with its facts; add those that are refused to ``refused``."""
    for item in items:
        try:
            yield item, find(item, bands, catalog, access)
        except S2SharpError as error:
            refused.append(Refusal(item.id, error.kind, str(error)))


def join(found: Iterable[Found]) -> tuple[list[Acquisition], list[Refusal], list[Choice]]:
    """Return acquisitions in order of time and EPSG code, items refused because they share files, and decisions.

    If a datatake has two levels, only Level-2A is used. Of each tile and data strip, only the newest item is used:
    the newest processing baseline, then the latest processing time. A tile that two strips of a datatake share has an
    item for each, and these are joined. An item without a datatake joins the current pass of its platform.
    """
    takes: dict[tuple[str, int], list[Found]] = {}
    for one in found:
        takes.setdefault((one.take, one.epsg), []).append(one)
    passes = _passes({take for take, _ in takes})
    pictures: dict[tuple[str, int], list[Found]] = {}
    for (take, code), members in takes.items():
        pictures.setdefault((passes[take], code), []).extend(members)
    refused: dict[tuple[*_Image, str], str] = {}
    while True:
        chosen = {key: _chosen(members) for key, members in pictures.items()}
        more = _shared({key: scenes for key, (scenes, _) in chosen.items()})
        if not more:
            break
        # Items that these had replaced may take their place.
        refused |= more
        left = {
            key: [one for one in members if (*key, one.scene.id) not in more]
            for key, members in pictures.items()
        }
        pictures = {key: members for key, members in left.items() if members}
    acquisitions = []
    for (take, code), (scenes, _) in chosen.items():
        when = min(scene.datetime for scene in scenes)
        acquisition = Acquisition(safe_name(f"{take}_{code}"), safe_name(take), code, when, scenes)
        acquisitions.append(numbered(acquisition))
    acquisitions.sort(key=lambda a: (a.datetime, a.epsg, a.id))
    choices = [choice for _, choices in chosen.values() for choice in choices]
    return (
        acquisitions,
        [Refusal(item, "item-broken", why) for (*_, item), why in refused.items()],
        sorted(choices, key=lambda c: (c.item, c.what, c.why)),
    )


def _shared(chosen: Mapping[_Image, Sequence[Scene]]) -> dict[tuple[*_Image, str], str]:
    """Return image and item of scenes that name a file of another image, with the reason.

    If the address names the day of one of them alone, the file is its own, and the others are refused; else all are. The
    item alone is not enough as a key, since several dates may have items of one id.
    """
    claims: defaultdict[str, dict[_Image, tuple[Scene, str]]] = defaultdict(dict)
    for key, scenes in chosen.items():
        for scene in scenes:
            classes = (scene.scl,) if scene.scl else ()
            for file in (*scene.sources, *classes):
                claims[file.href].setdefault(key, (scene, file.band))
    refused: dict[tuple[*_Image, str], str] = {}
    for href, by in claims.items():
        if len(by) == 1:
            continue
        owners = [
            key
            for key, (scene, _) in by.items()
            if names_day(href, datetime.fromisoformat(scene.datetime))
        ]
        for key, (scene, band) in by.items():
            if owners == [key]:
                continue
            that, _ = by[next(other for other in (*owners, *by) if other != key)]
            refused.setdefault(
                (*key, scene.id),
                f"Item {scene.id} of {scene.datetime}, band {band}: item {that.id} of {that.datetime}, another time or grid, "
                f"names the same file, {public(href)}. Correct the item in a copy of the catalog, or leave it out.",
            )
    return refused


def numbered(acquisition: Acquisition, items: Sequence[str] = ()) -> Acquisition:
    """Return an acquisition whose scenes keep their numbers in ``items``, ids by number; new ones get the next."""
    known = tuple(dict.fromkeys((*items, *(s.id for s in acquisition.scenes))))
    scenes = tuple(replace(s, number=known.index(s.id) + 1) for s in acquisition.scenes)
    return replace(acquisition, scenes=scenes, items=known)


def with_offsets(acquisition: Acquisition, offsets: Mapping[str, float]) -> Acquisition:
    """Return the acquisition with the offsets that ``offsets`` has for its items."""
    scenes = []
    for scene in acquisition.scenes:
        own = scene.sources[0].offset
        offset = offsets.get(scene.id, own)
        if offset != own:
            files = tuple(replace(f, offset=offset, origin=PIXELS) for f in scene.sources)
            scene = replace(scene, sources=files)
        scenes.append(scene)
    return replace(acquisition, scenes=tuple(scenes))


def _passes(takes: Iterable[str]) -> dict[str, str]:
    """Map each datatake to itself, and datatakes known only by a minute to the first of their pass."""
    passes: dict[str, str] = {}
    begin: dict[str, tuple[str, datetime]] = {}
    for take in sorted(takes):
        platform, _, minute = take.partition("_")
        passes[take] = take
        if _MINUTE.fullmatch(minute):
            when = datetime.strptime(minute, "%Y%m%dT%H%M")
            first, since = begin.get(platform, (take, when))
            if when - since > PASS:
                first, since = take, when
            begin[platform] = first, since
            passes[take] = first
    return passes


def _chosen(members: list[Found]) -> tuple[tuple[Scene, ...], list[Choice]]:
    """Return the scenes to use, by tile and the newest first, and the decisions about the others."""
    members, choices = _of_one_level(members)
    tiles: dict[str, list[Found]] = {}
    for one in members:
        tiles.setdefault(one.scene.tile, []).append(one)
    scenes: list[Scene] = []
    for tile in sorted(tiles):
        kept: list[Found] = []
        for one in sorted(tiles[tile], key=_age, reverse=True):
            newer = next((other for other in kept if _replaces(other, one)), None)
            if newer is None:
                kept.append(one)
            elif replace(newer.scene, href=one.scene.href) != one.scene:
                choices.append(Choice(one.scene.id, "replaced", _why(newer.scene, one.scene)))
        if len(kept) > 1:
            why = f"{len(kept)} items of tile {tile} show different parts of it"
            choices += [Choice(one.scene.id, "joined", why) for one in kept]
        scenes += [one.scene for one in kept]
    return tuple(scenes), choices


def _of_one_level(members: list[Found]) -> tuple[list[Found], list[Choice]]:
    """Return only Level-2A scenes, if there are any: scenes with and without the atmosphere do not make one image."""
    surface = next((one for one in members if one.scene.level == "L2A"), None)
    if surface is None:
        return members, []
    kept = [one for one in members if one.scene.level != "L1C"]
    why = f"it is Level-1C, and {surface.scene.id} is Level-2A"
    return kept, [Choice(one.scene.id, "left out", why) for one in members if one not in kept]


def _age(one: Found) -> tuple[tuple[int, int], str, str, str]:
    """Return a key that is greater for newer scenes."""
    scene = one.scene
    return scene.baseline or (0, 0), scene.processed or "", one.archived, scene.id


def _replaces(newer: Found, older: Found) -> bool:
    """Return whether both are of one data strip, so that the older has no data that the newer lacks.

    If one strip came as two products, the upper and the lower half of a tile, their footprints show this.
    """
    mine, other = newer.scene.outline, older.scene.outline
    shared = (mine & other).area
    if newer.strip and older.strip:
        return newer.strip == older.strip and shared >= HALF * min(mine.area, other.area)
    return bool(shared >= SAME * other.area)


def _why(newer: Scene, older: Scene) -> str:
    if newer.id == older.id:
        return "another item with the same id shows the same and is newer"
    if newer.baseline != older.baseline:
        numbers = (
            "an unknown one" if s.baseline is None else f"{s.baseline[0]:02d}.{s.baseline[1]:02d}"
            for s in (older, newer)
        )
        return f"processing baseline {next(numbers)}; {newer.id} has {next(numbers)}"
    return f"same processing baseline as {newer.id}, which is newer"
