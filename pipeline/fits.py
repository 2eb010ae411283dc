"""Methods that learn on the scene: once per datatake, on windows spread over all of it.

The sample does not depend on the area that was asked for: two runs over neighbouring areas fit alike, and
a datatake's EPSG codes share one fit, so that neither an area's edge nor a zone's shows. What was
fitted lies in ``OUT/fits/DATATAKE`` and is used until the run is done.
"""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from distributed import get_worker

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.fitting import Sample
from s2sharp_core.lattice import Box
from s2sharp_core.observation import SENTINEL2
from s2sharp_core.sharpeners.guard import told

from .acquisitions import Acquisition
from .ledger import Record
from .load import Files, load_block, load_scl
from .place import Place, mirrored, read_text, store_errors, write_text
from .plan import Datatake, Plan
from .unit import ONE, SPACE, Peak, Run, idle_size, keep

__all__ = ["TOPIC", "draw_sample", "fit_unit"]

TOPIC = "s2sharp-fit"
"""What workers tell of a fit under way: a dict of ``take``, ``step``, ``steps``, ``loss``."""

# Sides of windows in cells, the best first; the method's smallest comes last.
_SIDES = (64, 32)

# Draws for each window that is wanted, before a smaller side is tried.
_DRAWS = 30

# Classes of the scene classification that nothing is learned from: cloud of medium and high probability.
_CLOUD = (8, 9)
_CLOUDY = 0.1

# What cannot be read is tried so often, with a pause in between that grows by so many seconds each time.
_TRIES, _PAUSE = 4, 2.0

_Verdict = Literal["taken", "gaps", "clouds"]

_Bands = dict[int, np.ndarray]
"""Of a window: GSD → (bands, h, w), zeros for bands that are not read."""


@dataclass(frozen=True)
class _Place:
    """Where a window lies; ``item``: the scene that it was drawn from."""

    item: str
    epsg: int
    box: Box

    @property
    def about(self) -> dict[str, object]:
        """As it stands in ``sample.json``."""
        return {"item": self.item, "epsg": self.epsg, "cells": self._cells}

    @property
    def name(self) -> str:
        return " ".join(map(str, (self.epsg, *self._cells)))

    @property
    def _cells(self) -> list[int]:
        return [self.box.row0, self.box.row1, self.box.col0, self.box.col1]

    @classmethod
    def of(cls, about: dict[str, Any]) -> "_Place":
        return cls(about["item"], about["epsg"], Box(*about["cells"]))


class _Drawn:
    """What has been decided about the windows of a fit: ``sample.json``, written with every decision.

    A fit that is taken up again looks at no window twice, and draws no other ones: what an archive
    delivers meanwhile does not change what is learned from.
    """

    def __init__(self, file: Place, key: str) -> None:
        self.file, self.key = file, key
        self.verdicts: dict[str, _Verdict] = {}
        self.windows: list[_Place] = []
        try:
            kept = json.loads(read_text(file))
            if kept["key"] == key:
                self.verdicts = kept["drawn"]
                self.windows = [_Place.of(about) for about in kept["windows"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # there is none, or it is torn

    def decide(self, place: _Place, verdict: _Verdict) -> None:
        if self.verdicts.get(place.name) != verdict:
            self.verdicts[place.name] = verdict
            self._write()

    def settle(self, windows: list[_Place]) -> None:
        """These are learned from."""
        self.windows = windows
        self._write()

    def _write(self) -> None:
        about = {
            "key": self.key,
            "windows": [place.about for place in self.windows],
            "drawn": self.verdicts,
        }
        write_text(self.file, json.dumps(about, indent=1) + "\n")


def draw_sample(plan: Plan, datatake: Datatake) -> tuple[Sample, tuple[str, ...]]:
    """Windows without gaps, at random places that follow from the datatake's name alone.

    Which they are is kept in ``sample.json`` in the fit's folder, and is not decided again.

    Returns
    -------
    tuple
        The sample, and the ids of the items that its pixels are from.

    Raises
    ------
    S2SharpError
        ``nothing-to-fit`` where no window of the smallest size is without gaps and clouds;
        ``asset-unreadable`` where one cannot be read, ``sample-changed`` where it has gaps that it had
        not when it was chosen: another window in its place would be another sample.
    """
    folder = plan.fit_folder(datatake.take)
    assert folder is not None  # noqa: S101  (only a method that learns has datatakes)
    drawn = _Drawn(folder / "sample.json", plan.fit_key(datatake))
    if drawn.windows:
        windows = [(place, _again(plan, datatake, place)) for place in drawn.windows]
    else:
        windows = _choose(plan, datatake, drawn)
        drawn.settle([place for place, _ in windows])
    stacks = [np.stack([data[g] for _, data in windows]) for g in GSDS]
    scenes = {s.id for p in drawn.windows for s in _acquisition(datatake, p).within(p.box)}
    return Sample(*(torch.from_numpy(y) for y in stacks)), tuple(sorted(scenes))


def _acquisition(datatake: Datatake, place: _Place) -> Acquisition:
    return next(a for a in datatake.acquisitions if a.epsg == place.epsg)


def _again(plan: Plan, datatake: Datatake, place: _Place) -> _Bands:
    """A window that was chosen before."""
    data = _read(plan, _acquisition(datatake, place), place.box)
    if isinstance(data, str):
        raise S2SharpError(
            "sample-changed",
            f"A window of {place.item} that the fit was to learn from has {data} now, and had none when it "
            "was chosen: the archive's files have changed.",
            "Choose another --out to begin anew.",
        )
    return data


def _choose(plan: Plan, datatake: Datatake, drawn: _Drawn) -> list[tuple[_Place, _Bands]]:
    """The largest windows of which there are enough."""
    smallest = METHODS[plan.config.method].smallest
    best: list[tuple[_Place, _Bands]] = []
    for side in (*(s for s in _SIDES if s > smallest), smallest):
        windows = list(_windows(plan, datatake, side, drawn))
        if len(windows) > len(best):
            best = windows
        if 4 * len(best) >= plan.config.fit_windows:
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
    raise S2SharpError(
        "nothing-to-fit",
        f"{plan.config.method} learns on the scene, and {datatake.take} has no window without gaps "
        f"of {smallest} × {smallest} cells ({60 * smallest} m a side), the smallest it can learn from: {why}.",
        "Choose a method that needs no fit (s2net-m), or give --weights of an earlier fit.",
    )


def _windows(
    plan: Plan, datatake: Datatake, side: int, drawn: _Drawn
) -> Iterator[tuple[_Place, _Bands]]:
    """At most so many windows as are wanted, and no more than cover the datatake twice."""
    places = [(a, s) for a in datatake.acquisitions for s in a.scenes if min(s.box.shape) >= side]
    if not places:
        return
    areas = np.array([math.prod(scene.box.shape) for _, scene in places], dtype=float)
    count = min(plan.config.fit_windows, max(1, round(2 * areas.sum() / side**2)))
    seed = hashlib.sha256(f"{datatake.take} {plan.config.seed} {side}".encode()).digest()
    rng = np.random.default_rng(list(seed))
    seen: set[str] = set()
    for _ in range(_DRAWS * count):
        acquisition, scene = places[rng.choice(len(places), p=areas / areas.sum())]
        rows, cols = scene.box.shape
        row = scene.box.row0 + int(rng.integers(rows - side + 1))
        col = scene.box.col0 + int(rng.integers(cols - side + 1))
        place = _Place(scene.id, acquisition.epsg, Box(row, row + side, col, col + side))
        if place.name in seen:
            continue
        seen.add(place.name)
        before = drawn.verdicts.get(place.name)
        if before in ("gaps", "clouds"):
            continue
        data = _again(plan, datatake, place) if before else _read(plan, acquisition, place.box)
        drawn.decide(place, data if isinstance(data, str) else "taken")
        if isinstance(data, str):
            continue
        yield place, data
        count -= 1
        if not count:
            return


def _read(plan: Plan, acquisition: Acquisition, box: Box) -> _Bands | Literal["gaps", "clouds"]:
    """The bands of a window, or what is wrong with it; what cannot be read is tried again.

    Raises
    ------
    S2SharpError
        As :func:`load_block`, at last: a short failure of the network must not give another sample.
    """
    for failed in range(1, _TRIES):
        try:
            return _look(plan, acquisition, box)
        except S2SharpError as error:
            if error.kind != "asset-unreadable":
                raise
        time.sleep(failed * _PAUSE)
    return _look(plan, acquisition, box)


def _look(plan: Plan, acquisition: Acquisition, box: Box) -> _Bands | Literal["gaps", "clouds"]:
    reader = Files(acquisition)
    if all(scene.scl for scene in acquisition.within(box)):
        scl = load_scl(reader, box)
        if (scl == 0).any():
            return "gaps"
        if np.isin(scl, _CLOUD).mean() > _CLOUDY:
            return "clouds"
    data: dict[str, np.ndarray] = {}
    for band in sorted(plan.reads, key=lambda b: -BANDS[b].gsd):  # the smallest file first
        data |= load_block(reader, acquisition, (band,), box, 0).data
        if np.isnan(data[band]).any():
            return "gaps"
    nothing = {g: np.zeros(box.pixels(g), dtype=np.float32) for g in GSDS}
    return {
        gsd: np.stack([data.get(band, nothing[gsd]) for band in BY_GSD[gsd]]).astype(np.float32)
        for gsd in GSDS
    }


def fit_unit(run: Run, datatake: Datatake, attempt: int = 1) -> Record:
    """Fit the method to one datatake and record it; never raises for bad input.

    A fit that was killed goes on from its last checkpoint.
    """
    plan = run.plan
    name, key = plan.fit_name(datatake), plan.fit_key(datatake)
    facts: dict[str, Any] = {"unit": name, "key": key, "attempt": attempt}
    begin, threads = time.perf_counter(), torch.get_num_threads()
    with ONE, Peak() as memory:
        idle = idle_size(run)
        torch.set_num_threads(plan.config.fit_threads)
        try:
            note = _fit(plan, datatake)
            facts |= {"status": "ok", "warnings": (note,) if note else ()}
        except S2SharpError as error:
            message = f"{datatake.take}: {error}"
            facts |= {"status": "failed", "kind": error.kind, "message": message}
        except store_errors() as error:
            message = f"Cannot write {plan.fit_folder(datatake.take)}: {error}. {SPACE}"
            facts |= {"status": "failed", "kind": "store-unwritable", "message": message}
        finally:
            torch.set_num_threads(threads)
    facts |= {"seconds": {"fit": time.perf_counter() - begin}, "idle": idle, "peak": memory.bytes}
    return keep(plan, Record(**facts))


def _fit(plan: Plan, datatake: Datatake) -> str:
    """Fit, and return what the user should know of it."""
    folder = plan.fit_folder(datatake.take)
    method = METHODS[plan.config.method]
    # Only such a method's plan has datatakes.
    assert folder is not None and method.fit is not None  # noqa: S101, PT018
    sample, scenes = draw_sample(plan, datatake)
    options = replace(plan.options, scenes=scenes)
    with mirrored(folder) as (here, push):

        def tell(step: int, steps: int, loss: float) -> None:
            about = {"take": datatake.take, "step": step, "steps": steps, "loss": loss}
            _worker_says(about)
            push()  # its checkpoint, from which any worker can go on

        method.fit(sample, SENTINEL2, plan.coarse, options, here, plan.device, tell)
        return told(method.name, here, plan.coarse)


def _worker_says(about: dict[str, object]) -> None:
    try:
        worker = get_worker()
    except ValueError:
        return  # called without a cluster
    worker.log_event(TOPIC, about)
