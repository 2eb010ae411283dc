"""Windows of a datatake, drawn at random places that follow from its name: what fits and measurements look at.

The sample does not depend on the area that was asked for: two runs over neighbouring areas draw alike, and a datatake's
EPSG codes share one sample, so that neither an area's edge nor a zone's shows.
"""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, BY_GSD, CLOUDS, GSDS
from s2sharp_core.lattice import Box
from s2sharp_core.sensor.sample import Sample

from ..planning.units import Datatake
from ..scenes.acquisition import Acquisition
from ..scenes.raster import Kept
from ..scenes.read import Files, load_block, load_scl
from ..scenes.versions import Versions
from ..storage.files import read_text, write_text
from ..storage.location import Location

__all__ = ["Window", "Wish", "draw", "scenes_of"]

# Draws for each window that is wanted, before a smaller side is tried.
_DRAWS = 30
_CLOUDY = 0.1
# Attempts at a file that cannot be read, and the seconds by which the pause between them grows each time.
_TRIES, _PAUSE = 4, 2.0
_Verdict = Literal["taken", "gaps", "clouds"]

_Bands = dict[int, np.ndarray]
"""Of a window: GSD → (bands, h, w), zeros for bands that are not read."""


@dataclass(frozen=True)
class Wish:
    """Rules by which windows are drawn.

    Attributes
    ----------
    reads
        The bands of a window.
    count
        Windows, at most.
    sides
        Their sides in cells, the best first; the last is the smallest that will do.
    seed
        Another one draws other windows.
    apart
        Whether no two windows may show the same ground: one that was seen twice is no second witness.
    file, key
        Where decisions are kept, and under which key they count; None: nowhere.
    why
        Why nothing can be done without windows, with its remedy: for the error.
    seen
        What the files were that windows were read of before.
    """

    reads: tuple[str, ...]
    count: int
    sides: tuple[int, ...]
    seed: int
    why: tuple[str, str]
    apart: bool = False
    file: Location | None = None
    key: str = ""
    seen: Versions = field(default_factory=Versions, repr=False, compare=False)


@dataclass(frozen=True)
class Window:
    """Place of a window; ``item``: the scene that it was drawn from."""

    item: str
    epsg: int
    box: Box

    @property
    def about(self) -> dict[str, object]:
        """As it stands in ``sample.json``."""
        return {"item": self.item, "epsg": self.epsg, "cells": self._cells}

    def overlaps(self, other: "Window") -> bool:
        """Return whether both show some of the same ground, as far as one code tells."""
        return self.epsg == other.epsg and not (self.box & other.box).empty

    @property
    def name(self) -> str:
        return " ".join(map(str, (self.epsg, *self._cells)))

    @property
    def _cells(self) -> list[int]:
        return [self.box.row0, self.box.row1, self.box.col0, self.box.col1]

    @classmethod
    def of(cls, about: dict[str, Any]) -> "Window":
        return cls(about["item"], about["epsg"], Box(*about["cells"]))


class _Drawn:
    """Decisions about windows: a file like ``sample.json``, written with every decision.

    Work that is taken up again looks at no window twice, and draws no other ones: what an archive
    delivers meanwhile does not change what is learned from.
    """

    def __init__(self, file: Location | None, key: str) -> None:
        self.file, self.key = file, key
        self.verdicts: dict[str, _Verdict] = {}
        self.windows: list[Window] = []
        if file is None:
            return
        try:
            kept = json.loads(read_text(file))
            if kept["key"] == key:
                self.verdicts = kept["drawn"]
                self.windows = [Window.of(about) for about in kept["windows"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # there is none, or it is torn

    def decide(self, place: Window, verdict: _Verdict) -> None:
        if self.verdicts.get(place.name) != verdict:
            self.verdicts[place.name] = verdict
            self._write()

    def settle(self, windows: list[Window]) -> None:
        """These are learned from."""
        self.windows = windows
        self._write()

    def _write(self) -> None:
        if self.file is None:
            return
        about = {
            "key": self.key,
            "windows": [place.about for place in self.windows],
            "drawn": self.verdicts,
        }
        write_text(self.file, json.dumps(about, indent=1) + "\n")


def draw(datatake: Datatake, wish: Wish) -> tuple[Sample, tuple[Window, ...]]:
    """Windows without gaps, at random places that follow from the datatake's name and the wish alone.

    Raises
    ------
    S2SharpError
        ``nothing-to-fit`` where no window of the smallest size is without gaps and clouds;
        ``asset-unreadable`` where one cannot be read, ``sample-changed`` where it has gaps that it had
        not when it was chosen: another window in its place would be another sample.
    """
    drawn = _Drawn(wish.file, wish.key)
    if drawn.windows:
        windows = [(place, _again(wish, datatake, place)) for place in drawn.windows]
    else:
        windows = _choose(wish, datatake, drawn)
        drawn.settle([place for place, _ in windows])
    stacks = [np.stack([data[g] for _, data in windows]) for g in GSDS]
    return Sample(*(torch.from_numpy(y) for y in stacks)), tuple(drawn.windows)


def scenes_of(datatake: Datatake, windows: Iterable[Window]) -> tuple[str, ...]:
    """The ids of the items that the pixels of windows are from."""
    scenes = {s.id for w in windows for s in _acquisition(datatake, w).within(w.box)}
    return tuple(sorted(scenes))


def _acquisition(datatake: Datatake, place: Window) -> Acquisition:
    return next(a for a in datatake.acquisitions if a.epsg == place.epsg)


def _again(wish: Wish, datatake: Datatake, place: Window) -> _Bands:
    """A window that was chosen before."""
    data = _read(wish, _acquisition(datatake, place), place.box)
    if isinstance(data, str):
        raise S2SharpError(
            "sample-changed",
            f"A window of {place.item} that was chosen has {data} now, and had none "
            "then: the archive's files have changed.",
            "Choose another --out to begin anew.",
        )
    return data


def _choose(wish: Wish, datatake: Datatake, drawn: _Drawn) -> list[tuple[Window, _Bands]]:
    """The largest windows of which there are enough."""
    smallest = wish.sides[-1]
    best: list[tuple[Window, _Bands]] = []
    for side in wish.sides:
        windows = list(_windows(wish, datatake, side, drawn))
        if len(windows) > len(best):
            best = windows
        if 4 * len(best) >= wish.count:
            break
    if best:
        return best
    count = Counter(drawn.verdicts.values())
    why = (
        f"of {count.total()} that were drawn, this small and larger, {count['gaps']} have gaps and "
        f"{count['clouds']} clouds"
    )
    if not count:
        why = "its scenes are smaller"
    need, remedy = wish.why
    raise S2SharpError(
        "nothing-to-fit",
        f"{need}, and {datatake.take} has no window without gaps "
        f"of {smallest} × {smallest} cells ({60 * smallest} m a side), the smallest that will do: {why}.",
        remedy,
    )


def _windows(
    wish: Wish, datatake: Datatake, side: int, drawn: _Drawn
) -> Iterator[tuple[Window, _Bands]]:
    """At most so many windows as are wanted, and no more than cover the datatake twice, or once where none may overlap."""
    places = [(a, s) for a in datatake.acquisitions for s in a.scenes if min(s.box.shape) >= side]
    if not places:
        return
    areas = np.array([math.prod(scene.box.shape) for _, scene in places], dtype=float)
    count = min(wish.count, max(1, round((1 if wish.apart else 2) * areas.sum() / side**2)))
    seed = hashlib.sha256(f"{datatake.take} {wish.seed} {side}".encode()).digest()
    rng = np.random.default_rng(list(seed))
    seen: set[str] = set()
    taken: list[Window] = []
    for _ in range(_DRAWS * count):
        acquisition, scene = places[rng.choice(len(places), p=areas / areas.sum())]
        rows, cols = scene.box.shape
        row = scene.box.row0 + int(rng.integers(rows - side + 1))
        col = scene.box.col0 + int(rng.integers(cols - side + 1))
        place = Window(scene.id, acquisition.epsg, Box(row, row + side, col, col + side))
        if place.name in seen or (wish.apart and any(place.overlaps(other) for other in taken)):
            continue
        seen.add(place.name)
        before = drawn.verdicts.get(place.name)
        if before in ("gaps", "clouds"):
            continue
        data = _again(wish, datatake, place) if before else _read(wish, acquisition, place.box)
        drawn.decide(place, data if isinstance(data, str) else "taken")
        if isinstance(data, str):
            continue
        yield place, data
        taken.append(place)
        count -= 1
        if not count:
            return


def _read(wish: Wish, acquisition: Acquisition, box: Box) -> _Bands | Literal["gaps", "clouds"]:
    """The bands of a window, or what is wrong with it; what cannot be read is tried again.

    Raises
    ------
    S2SharpError
        As :func:`load_block`, at last: a short failure of the network must not give another sample.
    """
    for failed in range(1, _TRIES):
        try:
            return _look(wish, acquisition, box)
        except S2SharpError as error:
            if error.kind != "asset-unreadable":
                raise
        time.sleep(failed * _PAUSE)
    return _look(wish, acquisition, box)


def _look(wish: Wish, acquisition: Acquisition, box: Box) -> _Bands | Literal["gaps", "clouds"]:
    reader = Files(acquisition, Kept(seen=wish.seen))
    if all(scene.scl for scene in acquisition.within(box)):
        scl = load_scl(reader, box)
        if (scl == 0).any():
            return "gaps"
        if np.isin(scl, CLOUDS).mean() > _CLOUDY:
            return "clouds"
    data: dict[str, np.ndarray] = {}
    for band in sorted(wish.reads, key=lambda b: -BANDS[b].gsd):  # the smallest file first
        data |= load_block(reader, acquisition, (band,), box, 0).data
        if np.isnan(data[band]).any():
            return "gaps"
    nothing = {g: np.zeros(box.pixels(g), dtype=np.float32) for g in GSDS}
    return {
        gsd: np.stack([data.get(band, nothing[gsd]) for band in BY_GSD[gsd]]).astype(np.float32)
        for gsd in GSDS
    }
