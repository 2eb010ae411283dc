"""Methods that learn on the scene: once per datatake, on windows spread over all of it.

The sample does not depend on the area that was asked for: two runs over neighbouring areas fit alike, and
a datatake's EPSG codes share one fit, so that neither an area's edge nor a zone's shows. What was
fitted lies in ``OUT/fits/DATATAKE`` and is used until the run is done.
"""

import hashlib
import json
import math
from collections.abc import Iterator

import numpy as np
import torch
from distributed import get_worker

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.fitting import Sample
from s2sharp_core.lattice import Box
from s2sharp_core.observation import SENTINEL2

from .acquisitions import Acquisition
from .ledger import Record
from .load import Files, load_block, load_scl
from .plan import Datatake, Plan
from .unit import ONE, SPACE, Run, keep

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
    for side in (*(s for s in _SIDES if s > smallest), smallest):
        windows = list(_windows(plan, datatake, side))
        if windows:
            stacks = [np.stack([data[g] for _, data in windows]) for g in GSDS]
            places = [place for place, _ in windows]
            return Sample(*(torch.from_numpy(y) for y in stacks)), places
    raise S2SharpError(
        "nothing-to-fit",
        f"{plan.config.method} learns on the scene, and {datatake.take} has no window without gaps "
        f"of {smallest} × {smallest} cells ({60 * smallest} m a side), the smallest it can learn from.",
        "Choose a method that needs no fit (dsen2), or give --weights of an earlier fit.",
    )


def _windows(
    plan: Plan, datatake: Datatake, side: int
) -> Iterator[tuple[dict[str, object], dict[int, np.ndarray]]]:
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
    """The bands of a window by GSD, zeros for those that are not read; None if it has gaps or clouds."""
    reader = Files(acquisition)
    if any(scene.scl for scene in acquisition.within(box)):
        scl = load_scl(reader, box)
        if np.isin(scl, _CLOUD).mean() > _CLOUDY:
            return None
    data = load_block(reader, acquisition, plan.reads, box, 0).data
    if any(np.isnan(y).any() for y in data.values()):
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
    if run.threads:
        torch.set_num_threads(run.threads)
    try:
        with ONE:
            record = _fit(plan, datatake, Record(name, key, "ok"))
    except S2SharpError as error:
        record = Record(name, key, "failed", kind=error.kind, message=f"{datatake.take}: {error}")
    except OSError as error:
        message = f"Cannot write {plan.fit_folder(datatake.take)}: {error}. {SPACE}"
        record = Record(name, key, "failed", kind="store-unwritable", message=message)
    return keep(plan, record)


def _fit(plan: Plan, datatake: Datatake, record: Record) -> Record:
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
    return record


def _worker_says(about: dict[str, object]) -> None:
    try:
        worker = get_worker()
    except ValueError:
        return  # called without a cluster
    worker.log_event(TOPIC, about)
