"""Items → acquisitions: the scenes of one datatake in one EPSG code are one picture on the lattice."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
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
from ..catalog.metadata import archived, datatake, epsg, strip
from ..catalog.reflectance import PIXELS
from .scene import Refusal, Scene, edges_of, scene_of

__all__ = ["Acquisition", "Choice", "Found", "find", "group", "join", "numbered", "with_offsets"]

PASS = timedelta(minutes=45)
"""Longer than a satellite takes over the sunlit side of the Earth, shorter than until it is there again."""

SAME = 0.95
"""Two pictures of one tile are of one data strip if one covers so much of the other."""

HALF = 0.5
"""Two pictures that are said to be of one data strip show the same if they share so much."""


_MINUTE = re.compile(r"\d{8}T\d{4}")


@dataclass(frozen=True)
class Acquisition:
    """The scenes of one datatake in one EPSG code; ``scenes`` in the order in which they win overlaps.

    ``take``: the datatake, which other codes may share; ``items``: the ids of its items by their numbers in the
    ``source`` layer, those that newer ones have replaced since among them.
    """

    id: str
    take: str
    epsg: int
    datetime: str
    scenes: tuple[Scene, ...]
    items: tuple[str, ...] = ()

    @property
    def level(self) -> str | None:
        """The processing level, "L1C" or "L2A", that a scene states; None if none does."""
        return next((scene.level for scene in self.scenes if scene.level), None)

    @cached_property
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

    def content(self, box: Box) -> list[tuple[str, int]]:
        """Return what pixels in ``box`` follow from: digest and number of the scenes that meet it."""
        every = zip(self.scenes, self._digests, strict=True)
        return [(digest, scene.number) for scene, digest in every if not (scene.box & box).empty]

    @cached_property
    def _digests(self) -> tuple[str, ...]:
        return tuple(scene.digest for scene in self.scenes)

    def sees(self, boxes: Sequence[Box]) -> np.ndarray:
        """Tell of each of ``boxes`` whether there may be data in it: bools."""
        edges = edges_of(boxes)
        return np.any([scene.sees(edges) for scene in self.scenes], axis=0)


@dataclass(frozen=True, slots=True)
class Choice:
    """Choice between items: ``what`` is "replaced", "joined", or "left out" for its level; and ``why``."""

    item: str
    what: str
    why: str


class Found(NamedTuple):
    """A scene with what decides whom it belongs to.

    ``take``: its datatake; ``strip``: when its data strip began; ``archived``: when the archive took it in.
    """

    take: str
    epsg: int
    scene: Scene
    strip: str | None
    archived: str


def find(item: pystac.Item, bands: Sequence[str], catalog: str, access: Access = FREE) -> Found:
    """Return what :func:`join` needs of an item.

    Raises
    ------
    S2SharpError
        Why the item is refused.
    """
    try:
        code = epsg(item)
        Lattice.of(code)  # before its files are looked at: no other fault says as much
        scene = scene_of(item, code, bands, catalog, access)
        return Found(datatake(item), code, scene, strip(item), archived(item))
    except S2SharpError as error:
        if error.kind == "crs-unknown" and item.id not in error.message:
            raise S2SharpError(
                error.kind, f"Item {item.id}: {error.message}", error.remedy
            ) from None
        raise
    except Exception as error:  # whatever an odd document leads to, it costs its item alone
        raise S2SharpError(
            "item-broken",
            f"Item {item.id} says something that can't be understood "
            f"({type(error).__name__}: {str(error)[:100]}).",
            "Leave the item out, or ask the archive to correct it.",
        ) from error


def group(
    items: Iterable[pystac.Item], bands: Sequence[str], catalog: str, access: Access = FREE
) -> tuple[list[Acquisition], list[Refusal], list[Choice]]:
    """Join the scenes of each datatake and EPSG code.

    Parameters
    ----------
    bands
        The bands that will be read.
    catalog
        Where the items come from: decides which hrefs they may name.
    access
        What it may have opened, and with what keys.

    Returns
    -------
    tuple
        As of :func:`join`, and between them the items that were refused.
    """
    found, refused = [], []
    for item in items:
        try:
            found.append(find(item, bands, catalog, access))
        except S2SharpError as error:
            refused.append(Refusal(item.id, error.kind, str(error)))
    acquisitions, more, choices = join(found)
    return acquisitions, refused + more, choices


def join(found: Iterable[Found]) -> tuple[list[Acquisition], list[Refusal], list[Choice]]:
    """Acquisitions in order of time and EPSG code, items refused since they share files, and what was chosen.

    Of a datatake in two levels Level-2A counts. Of a tile and data strip only the newest item counts: that of the
    newest processing baseline, of two the one that was processed later. A tile that a datatake's strips share comes as an item of each; they are joined. An item
    that tells no datatake belongs to the pass of its platform that was under way.
    """
    takes: dict[tuple[str, int], list[Found]] = {}
    for one in found:
        takes.setdefault((one.take, one.epsg), []).append(one)
    passes = _passes({take for take, _ in takes})
    pictures: dict[tuple[str, int], list[Found]] = {}
    for (take, code), members in takes.items():
        pictures.setdefault((passes[take], code), []).extend(members)
    shared = _shared(pictures)
    acquisitions, choices = [], []
    for (take, code), members in pictures.items():
        if shared and not (members := [one for one in members if one.scene.id not in shared]):
            continue
        scenes, chosen = _chosen(members)
        choices += chosen
        when = min(scene.datetime for scene in scenes)
        acquisition = Acquisition(safe_name(f"{take}_{code}"), safe_name(take), code, when, scenes)
        acquisitions.append(numbered(acquisition))
    acquisitions.sort(key=lambda a: (a.datetime, a.epsg, a.id))
    refused = [Refusal(item, "item-broken", why) for item, why in shared.items()]
    return acquisitions, refused, sorted(choices, key=lambda c: (c.item, c.what, c.why))


def _shared(pictures: Mapping[tuple[str, int], Sequence[Found]]) -> dict[str, str]:
    """Item → why it is refused, of items of different pictures that name one file: which of them is right nobody can tell."""
    first: dict[str, tuple[tuple[str, int], Scene]] = {}
    refused: dict[str, str] = {}
    for key, members in pictures.items():
        for one in members:
            for file in one.scene.sources:
                known, other = first.setdefault(file.href, (key, one.scene))
                if known != key:
                    for this, that in ((one.scene, other), (other, one.scene)):
                        refused.setdefault(
                            this.id,
                            f"Item {this.id}, band {file.band}: item {that.id} of another time or grid names the same file, "
                            f"{public(file.href)}.",
                        )
    return refused


def numbered(acquisition: Acquisition, items: Sequence[str] = ()) -> Acquisition:
    """An acquisition whose scenes keep the numbers that they have in the cube already, where ``items`` are the ids by
    number; what is new gets the next ones.
    """
    known = tuple(dict.fromkeys((*items, *(s.id for s in acquisition.scenes))))
    scenes = tuple(replace(s, number=known.index(s.id) + 1) for s in acquisition.scenes)
    return replace(acquisition, scenes=scenes, items=known)


def with_offsets(acquisition: Acquisition, offsets: Mapping[str, float]) -> Acquisition:
    """Return the acquisition with other offsets of its items, where ``offsets`` has them."""
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
    """Datatake → itself; one that is known by no more than a minute → the first of its pass."""
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
    """The scenes that count, by tile, and of one tile the newest first; and what became of the others."""
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
    """Those of Level-2A where there are any, without those of Level-1C: what the air adds makes no picture of the ground."""
    surface = next((one for one in members if one.scene.level == "L2A"), None)
    if surface is None:
        return members, []
    kept = [one for one in members if one.scene.level != "L1C"]
    why = f"of Level-1C, where {surface.scene.id} has Level-2A"
    return kept, [Choice(one.scene.id, "left out", why) for one in members if one not in kept]


def _age(one: Found) -> tuple[tuple[int, int], str, str, str]:
    """Return a key by which newer is greater."""
    scene = one.scene
    return scene.baseline or (0, 0), scene.processed or "", one.archived, scene.id


def _replaces(newer: Found, older: Found) -> bool:
    """Return whether both are of one data strip, so that the older has nothing that the newer lacks.

    Where one strip came as two products, of an upper and a lower half of a tile, their footprints tell.
    """
    mine, other = newer.scene.outline, older.scene.outline
    shared = (mine & other).area
    if newer.strip and older.strip:
        return newer.strip == older.strip and shared >= HALF * min(mine.area, other.area)
    return bool(shared >= SAME * other.area)


def _why(newer: Scene, older: Scene) -> str:
    if newer.id == older.id:
        return "another item of the same id shows the same, and is the later one"
    if newer.baseline != older.baseline:
        numbers = (
            "an unknown one" if s.baseline is None else f"{s.baseline[0]:02d}.{s.baseline[1]:02d}"
            for s in (older, newer)
        )
        return f"processing baseline {next(numbers)}, where {newer.id} has {next(numbers)}"
    return f"of the same processing baseline as {newer.id}, which is the later one"
