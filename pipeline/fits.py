"""Methods that learn on the scene: once per datatake, on windows spread over all of it.

The sample does not depend on the area that was asked for: two runs over neighbouring areas fit alike, and
a datatake's EPSG codes share one fit, so that neither an area's edge nor a zone's shows. What was
fitted lies in ``OUT/fits/DATATAKE`` and is used until the run is done.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from distributed import get_worker

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.fitting import Sample
from s2sharp_core.lattice import Box
from s2sharp_core.observation import SENTINEL2

from .acquisitions import Acquisition
from .ledger import Record
from .load import Files, load_block, load_scl
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


_Window = tuple[dict[str, object], dict[int, np.ndarray]]
"""Item, code and cells of a window, and its bands by GSD."""


def draw_sample(plan: Plan, datatake: Datatake) -> tuple[Sample, list[dict[str, object]]]:
    """Windows without gaps, at random places that follow from the datatake's name alone.

    Returns
    -------
    tuple
        The sample, and of each window its item, code, and cells.

    Raises
    ------
    S2SharpError
        ``nothing-to-fit`` where no window of the smallest size is without gaps.
    """
    smallest = METHODS[plan.config.method].smallest
    best: list[_Window] = []
    for side in (*(s for s in _SIDES if s > smallest), smallest):
        windows = list(_windows(plan, datatake, side))
        if len(windows) > len(best):
            best = windows
        if 4 * len(best) >= plan.config.fit_windows:
            break
    if best:
        stacks = [np.stack([data[g] for _, data in best]) for g in GSDS]
        return Sample(*(torch.from_numpy(y) for y in stacks)), [place for place, _ in best]
    raise S2SharpError(
        "nothing-to-fit",
        f"{plan.config.method} learns on the scene, and {datatake.take} has no window without gaps "
        f"of {smallest} × {smallest} cells ({60 * smallest} m a side), the smallest it can learn from.",
        "Choose a method that needs no fit (dsen2), or give --weights of an earlier fit.",
    )


def _windows(plan: Plan, datatake: Datatake, side: int) -> Iterator[_Window]:
    """At most so many windows as are wanted, and no more than cover the datatake twice."""
    places = [(a, s) for a in datatake.acquisitions for s in a.scenes if min(s.box.shape) >= side]
    if not places:
        return
    areas = np.array([math.prod(scene.box.shape) for _, scene in places], dtype=float)
    count = min(plan.config.fit_windows, max(1, round(2 * areas.sum() / side**2)))
    seed = hashlib.sha256(f"{datatake.take} {plan.config.seed} {side}".encode()).digest()
    rng = np.random.default_rng(list(seed))
    seen: set[tuple[int, Box]] = set()
    for _ in range(_DRAWS * count):
        acquisition, scene = places[rng.choice(len(places), p=areas / areas.sum())]
        rows, cols = scene.box.shape
        row = scene.box.row0 + int(rng.integers(rows - side + 1))
        col = scene.box.col0 + int(rng.integers(cols - side + 1))
        box = Box(row, row + side, col, col + side)
        if (acquisition.epsg, box) in seen:
            continue
        seen.add((acquisition.epsg, box))
        data = _read(plan, acquisition, box)
        if data is None:
            continue
        cells = [box.row0, box.row1, box.col0, box.col1]
        yield {"item": scene.id, "epsg": acquisition.epsg, "cells": cells}, data
        count -= 1
        if not count:
            return


def _read(plan: Plan, acquisition: Acquisition, box: Box) -> dict[int, np.ndarray] | None:
    """The bands of a window by GSD, zeros for those that are not read.

    None if it has gaps or clouds, or cannot be read: a broken file costs its own windows.
    """
    reader = Files(acquisition)
    try:
        if all(scene.scl for scene in acquisition.within(box)):
            scl = load_scl(reader, box)
            if (scl == 0).any() or np.isin(scl, _CLOUD).mean() > _CLOUDY:
                return None
        data: dict[str, np.ndarray] = {}
        for band in sorted(plan.reads, key=lambda b: -BANDS[b].gsd):  # the smallest file first
            data |= load_block(reader, acquisition, (band,), box, 0).data
            if np.isnan(data[band]).any():
                return None
    except S2SharpError:
        return None
    nothing = {g: np.zeros(box.pixels(g), dtype=np.float32) for g in GSDS}
    return {
        gsd: np.stack([data.get(band, nothing[gsd]) for band in BY_GSD[gsd]]).astype(np.float32)
        for gsd in GSDS
    }


def fit_unit(run: Run, index: int) -> Record:
    """Fit the method to one datatake and record it; never raises for bad input.

    A fit that was killed goes on from its last checkpoint.
    """
    plan = run.plan
    datatake = plan.datatakes[index]
    name, key = plan.fit_name(datatake), plan.fit_key(datatake)
    facts: dict[str, Any] = {"unit": name, "key": key}
    begin, threads = time.perf_counter(), torch.get_num_threads()
    idle = idle_size(run)
    with ONE, Peak() as memory:
        torch.set_num_threads(plan.config.fit_threads)
        try:
            _fit(plan, datatake)
            facts |= {"status": "ok"}
        except S2SharpError as error:
            message = f"{datatake.take}: {error}"
            facts |= {"status": "failed", "kind": error.kind, "message": message}
        except OSError as error:
            message = f"Cannot write {plan.fit_folder(datatake.take)}: {error}. {SPACE}"
            facts |= {"status": "failed", "kind": "store-unwritable", "message": message}
    torch.set_num_threads(threads)
    facts |= {"seconds": {"fit": time.perf_counter() - begin}, "idle": idle, "peak": memory.bytes}
    return keep(plan, Record(**facts))


def _fit(plan: Plan, datatake: Datatake) -> None:
    folder = plan.fit_folder(datatake.take)
    method = METHODS[plan.config.method]
    # Only such a method's plan has datatakes.
    assert folder is not None and method.fit is not None  # noqa: S101, PT018
    folder.mkdir(parents=True, exist_ok=True)
    sample, places = draw_sample(plan, datatake)
    (folder / "sample.json").write_text(json.dumps(places, indent=1) + "\n")

    def tell(step: int, steps: int, loss: float) -> None:
        about = {"take": datatake.take, "step": step, "steps": steps, "loss": loss}
        _worker_says(about)

    method.fit(sample, SENTINEL2, plan.coarse, plan.options, folder, plan.device, tell)


def _worker_says(about: dict[str, object]) -> None:
    try:
        worker = get_worker()
    except ValueError:
        return  # called without a cluster
    worker.log_event(TOPIC, about)
