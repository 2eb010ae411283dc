"""Windows of a datatake for fits and measurements, drawn at random locations with a seed from its name.

The sample does not depend on the requested area: runs over neighbouring areas draw the same windows, and a datatake's EPSG
codes share one sample, so that neither an area's edge nor a zone's edge is visible.
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
from ..scenes.file_versions import Versions
from ..scenes.raster import OpenFiles
from ..scenes.read import Files, load_block, load_scl
from ..storage.files import read_text, write_text
from ..storage.location import Location

# Draws for each requested window before a smaller side is tried.
_DRAWS = 30
_CLOUDY = 0.1
# Attempts at an unreadable file, and the seconds by which the pause grows each time.
_TRIES, _PAUSE = 4, 2.0
_Verdict = Literal["taken", "gaps", "clouds"]

_Bands = dict[int, np.ndarray]
"""Pixels of a window: GSD → (bands, h, w), zeros for bands that are not read."""


@dataclass(frozen=True)
class SampleRequest:
    """Rules for drawing windows.

    ``reads``: bands to read; ``count``: largest number of windows; ``sides``: their sides in cells, in order of
    preference, the smallest possible last; ``seed``: that of the draw; ``why``: reason why windows are needed, and
    remedy, for the error; ``apart``: whether windows must not overlap, since measurements of the same ground are not
    independent; ``file``, ``key``: file that keeps the decisions, and the key for which they hold, None: they are not
    kept; ``seen``: versions of the files that were read before.
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
    """Location of a window; ``item``: the scene that it was drawn from."""

    item: str
    epsg: int
    box: Box

    @property
    def about(self) -> dict[str, object]:
        """Entry in ``sample.json``."""
        return {"item": self.item, "epsg": self.epsg, "cells": self._cells}

    def overlaps(self, other: "Window") -> bool:
        """Return whether two windows of one EPSG code overlap."""
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
    """Decisions about windows in a file such as ``sample.json``, which is written with every decision.

    Continued work reads no window twice and draws the same windows, even if the archive has changed meanwhile.
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
            pass  # missing or torn

    def decide(self, place: Window, verdict: _Verdict) -> None:
        if self.verdicts.get(place.name) != verdict:
            self.verdicts[place.name] = verdict
            self._write()

    def settle(self, windows: list[Window]) -> None:
        """Record the final choice of windows."""
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


def draw(datatake: Datatake, wish: SampleRequest) -> tuple[Sample, tuple[Window, ...]]:
    """Draw windows without gaps, at random locations that depend on the datatake's name and the wish alone.

    Errors: ``nothing-to-fit`` if no window of the smallest size is without gaps and clouds; ``asset-unreadable`` if a
    window cannot be read; ``sample-changed`` if a chosen window has gaps now. No other window replaces it, because that
    would change the sample.
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
    """Return the ids of the items with the pixels of the windows."""
    scenes = {s.id for w in windows for s in _acquisition(datatake, w).within(w.box)}
    return tuple(sorted(scenes))


def _acquisition(datatake: Datatake, place: Window) -> Acquisition:
    return next(a for a in datatake.acquisitions if a.epsg == place.epsg)


def _again(wish: SampleRequest, datatake: Datatake, place: Window) -> _Bands:
    """Read a window that was chosen before."""
    data = _read(wish, _acquisition(datatake, place), place.box)
    if isinstance(data, str):
        raise S2SharpError(
            "sample-changed",
            f"A window of {place.item} that was chosen has {data} now, and had none "
            "then: the archive's files have changed.",
            "Choose another --out to begin anew.",
        )
    return data


def _choose(wish: SampleRequest, datatake: Datatake, drawn: _Drawn) -> list[tuple[Window, _Bands]]:
    """Return the largest windows of which there are enough."""
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
    wish: SampleRequest, datatake: Datatake, side: int, drawn: _Drawn
) -> Iterator[tuple[Window, _Bands]]:
    """Yield at most the wished number of windows, and at most as many as cover the datatake twice (once if ``apart``)."""
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


def _read(
    wish: SampleRequest, acquisition: Acquisition, box: Box
) -> _Bands | Literal["gaps", "clouds"]:
    """Return the bands of a window, or its fault; unreadable files are tried again.

    Errors of :func:`load_block` after all attempts. A short failure of the network must not change the sample.
    """
    for failed in range(1, _TRIES):
        try:
            return _look(wish, acquisition, box)
        except S2SharpError as error:
            if error.kind != "asset-unreadable":
                raise
        time.sleep(failed * _PAUSE)
    return _look(wish, acquisition, box)


def _look(
    wish: SampleRequest, acquisition: Acquisition, box: Box
) -> _Bands | Literal["gaps", "clouds"]:
    reader = Files(acquisition, OpenFiles(seen=wish.seen))
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
