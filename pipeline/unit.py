"""The work of one unit, on a worker: read, sharpen, write the shard whole, then record it."""

import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import psutil
import torch

from s2sharp_core import BANDS, METHODS, S2SharpError, Sharpener
from s2sharp_core.bands import CELL, CLOUDS, ERROR90
from s2sharp_core.blocks import sharpen_block, valid_mask
from s2sharp_core.lattice import Box
from s2sharp_core.sensor.observation import SENTINEL2
from s2sharp_core.sensor.registration import warn_of_shifts
from s2sharp_core.sharpeners import TRUST

from .acquisitions import Acquisition
from .agreement import disagreement
from .cube import FILL, Layout, Native, Sharded, encode, read_part, write_shard
from .ledger import Ledger, Record
from .load import Block, Reader, decode, load_block, load_scl, offset_doubt, reference_offset
from .place import Place, store_errors
from .plan import Plan, Unit, plan_of

__all__ = [
    "REMEDY_NO_SPACE",
    "WORKER_THREADS",
    "Peak",
    "Run",
    "idle_size",
    "keep",
    "net_thread",
    "one_unit",
    "overview",
    "overview_unit",
    "sharpen_unit",
    "stage_unit",
]

# Layers whose overviews show the highest.
_WORST = frozenset({"valid", "saturated", *TRUST})

# Every so many shards along both axes, one is checked for bands that do not lie on each other.
_PROBE = 4


class Clock:
    """Seconds by phase; one runs beside the other, so they may add up to more than the whole."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Run:
    """Where a worker finds its plan, and how many threads the net may use (0: as they are set)."""

    out: Place
    stamp: str
    threads: int

    @property
    def plan(self) -> Plan:
        return plan_of(self.out, self.stamp)


@lru_cache(maxsize=1)
def idle_size(run: Run) -> int:
    """Memory of the process, in bytes, when it is ready for a run: the sharpener is loaded here, once."""
    run.plan.outline()
    return psutil.Process().memory_info().rss


class Peak:
    """The highest resident memory of this process while the block runs, sampled 50 times a second."""

    def __enter__(self) -> "Peak":
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._done.is_set():
            self.bytes = max(self.bytes, process.memory_info().rss)
            self._done.wait(0.02)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def stage_unit(run: Run, unit: Unit, cells: Box) -> int | S2SharpError:
    """Stage one shard that ``unit`` reads; returns its bytes, or what went wrong (an error is data)."""
    stage = run.plan.stage(run.plan.acquisition(unit))
    try:
        return stage.write(cells)
    except S2SharpError as error:
        return error
    except store_errors() as error:
        return S2SharpError(
            "store-unwritable", f"Cannot write {stage.folder}: {error}.", REMEDY_NO_SPACE
        )


REMEDY_NO_SPACE = "Make room (or choose another --out) and run again: only what is missing is done."


def sharpen_unit(run: Run, unit: Unit, staged: list[object], attempt: int = 1) -> Record:
    """Do one unit of the full resolution and record it; never raises for bad input.

    Parameters
    ----------
    staged
        What :func:`stage_unit` returned for the shards it reads, and the failure of its fit, if any.
    attempt
        How often it has been tried, with this time.
    """
    plan, clock = run.plan, Clock()
    facts: dict[str, Any] = {"unit": plan.name(unit), "key": plan.key(unit), "attempt": attempt}
    facts["worker"] = f"{socket.gethostname()}:{os.getpid()}"
    about: dict[str, Any] = {}
    shards: list[_Shard] = []
    with ExitStack() as until_written:
        with one_unit, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            facts["idle"] = idle_size(run)
            memory = until_written.enter_context(Peak())
            with failures(plan.store, facts):
                for result in staged:
                    if isinstance(result, S2SharpError):
                        raise result
                about, shards = net_thread.submit(_sharpen, run, unit, clock).result()
            # Before the next one begins: of all that a process holds there are two at most.
            until_written.enter_context(one_write)
        with failures(plan.store, facts), clock("write"):
            for layout, data in shards:
                write_shard(plan.store, layout, unit.time, unit.row, unit.col, data)
            facts |= about
    whose = plan.acquisition(unit).id
    told = tuple(
        dict.fromkeys(f"{whose}: {w.message}" for w in caught if w.category is UserWarning)
    )
    return keep(plan.out, Record(**facts, warnings=told, seconds=clock.seconds, peak=memory.bytes))


# A process sharpens one unit at a time, whatever threads a cluster gives it: memory is planned for that, and
# Python's record of warnings knows no threads. Meanwhile the one before may be written.
one_unit = threading.Lock()
one_write = threading.Lock()

net_thread = ThreadPoolExecutor(1)
"""The thread that nets run in, whichever of Dask's a unit came by: torch keeps buffers for each that it ever saw."""

WORKER_THREADS = 2
"""Dask's threads of a worker, for that; a net's threads are others."""

_Shard = tuple[Sharded, Mapping[str, np.ndarray]]


@contextmanager
def failures(store: Place, facts: dict[str, Any]) -> Iterator[None]:
    """What goes wrong with a unit becomes facts of its record."""
    try:
        yield
    except S2SharpError as error:
        facts |= {"status": "failed", "kind": error.kind, "message": str(error)}
        facts |= {"item": error.item, "band": error.band}
    except store_errors() as error:
        message = f"Cannot write {store}: {error}. {REMEDY_NO_SPACE}"
        facts |= {"status": "failed", "kind": "store-unwritable", "message": message}


def keep(out: Place, record: Record) -> Record:
    """Write a record; one that cannot be written counts as a failure, so that the unit is redone."""
    try:
        Ledger(out / "ledger").write(record)
    except store_errors() as error:
        message = f"Cannot write the ledger of {out}: {error}. {REMEDY_NO_SPACE}"
        return Record(record.unit, record.key, "failed", kind="store-unwritable", message=message)
    return record


def _strips(cells: Box, window: int) -> list[Box]:
    """A unit in strips of one row of windows: what is read ahead and held at once."""
    edges = range(cells.row0 // window * window, cells.row1, window)
    return [
        Box(max(cells.row0, row), min(cells.row1, row + window), cells.col0, cells.col1)
        for row in edges
    ]


def _sharpen(run: Run, unit: Unit, clock: Clock) -> tuple[dict[str, Any], list[_Shard]]:
    """Facts of the record, and what is to be written: whole shards of the unit's place."""
    plan = run.plan
    if run.threads:
        torch.set_num_threads(run.threads)
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)
    reader, sharpener = plan.reader(acquisition), plan.sharpener(acquisition.take)
    cells = layout.cells(unit.row, unit.col)
    wanted = plan.wanted(unit) & acquisition.box
    shape = cells.pixels(10)
    out = {band: np.full(shape, FILL, dtype=np.int16) for band in layout.bands}
    out |= {name: np.zeros(shape, dtype=dtype) for name, (dtype, _, _) in layout.layers.items()}
    # Also where nothing is valid: arrays that are all fill store nothing, and remove what was there.
    shards: list[_Shard] = [(layout, out)]
    if layout.native is not None:
        measured = _measured(reader, acquisition, layout.native, wanted, cells)
        shards.append((layout.native, measured))
    if _overcast(reader, acquisition, wanted, cells, out["cloud"]):
        return {"status": "cloudy"}, shards
    windows = 0
    strips = _strips(wanted, plan.config.window)
    with ThreadPoolExecutor(1) as ahead:

        def read(strip: Box) -> Block:
            with clock("read"):
                return load_block(reader, acquisition, plan.reads, strip, plan.margin)

        coming = ahead.submit(read, strips[0])
        for strip, after in zip(strips, [*strips[1:], None], strict=True):
            block = coming.result()
            if after is not None:
                coming = ahead.submit(read, after)
            with clock("net"):
                windows += _sharpen_strip(plan, block, strip, sharpener, cells, out)
            if strip == strips[len(strips) // 2]:
                _check(block, acquisition, sharpener, probe=_probed(layout, unit))
    with clock("overlaps"):
        differs = disagreement(acquisition, plan.reads, wanted)
    empty = all((out[band] == FILL).all() for band in layout.bands)
    valid = int(np.count_nonzero(out["valid"]))
    facts = {"windows": windows, "valid": valid, "disagreement": differs}
    return {"status": "empty" if empty else "ok", **facts}, shards


def _measured(
    reader: Reader, acquisition: Acquisition, native: Native, wanted: Box, cells: Box
) -> dict[str, np.ndarray]:
    """A shard of what is delivered as it was measured."""
    out = {}
    for band in native.bands:
        dn, _ = reader.mosaic(band, wanted)
        y, _ = decode(dn, *reference_offset(acquisition, band))
        out[band] = np.full(cells.shape, FILL, dtype=np.int16)
        out[band][cells.slices(wanted, CELL)] = encode(y)
    return out


def _overcast(
    reader: Reader, acquisition: Acquisition, wanted: Box, cells: Box, cloud: np.ndarray
) -> bool:
    """Whether the scene classification shows nothing but cloud; if so, it is put into ``cloud``."""
    if not all(scene.scl for scene in acquisition.within(wanted)):
        return False
    scl = load_scl(reader, wanted)
    seen = scl[scl != 0]
    if seen.size == 0 or not np.isin(seen, CLOUDS).all():
        return False
    cloud[cells.slices(wanted, 10)] = scl
    return True


def _sharpen_strip(
    plan: Plan,
    block: Block,
    strip: Box,
    sharpener: Sharpener | None,
    cells: Box,
    out: dict[str, np.ndarray],
) -> int:
    """Sharpen one strip into the arrays of its shard; returns how many windows it took."""
    place = cells.slices(strip, 10)
    reads = sharpener.reads if sharpener else plan.reads
    valid = valid_mask({band: block.data[band] for band in reads}, block.box, strip)
    layers = {"cloud": block.cloud, "saturated": block.saturated, "source": block.source}
    for name, layer in {**layers, "valid": valid}.items():
        out[name][place] = layer
    for band in plan.config.bands:
        if BANDS[band].gsd == 10:
            out[band][place] = encode(block.data[band][block.box.slices(strip, 10)])
    if sharpener is None or not valid.any():
        return 0
    sharp = sharpen_block(block.data, block.box, strip, sharpener, plan.config.window)
    for band, picture in sharp.items():
        out[band][place] = encode(picture) if band in BANDS else _dn(picture)
    return sum(1 for _ in strip.tiles(plan.config.window))


def _dn(figure: np.ndarray) -> np.ndarray:
    """A figure of reflectance as uint16 DN; from 1 on, since 0 is where there is none."""
    return np.where(np.isnan(figure), 0, np.clip(np.rint(figure * 1e4), 1, 65535)).astype(np.uint16)


def _probed(layout: Layout, unit: Unit) -> bool:
    """The unit in the middle, and every so many of the others."""
    middle = tuple(n // 2 for n in layout.shards())
    return (unit.row, unit.col) == middle or unit.row % _PROBE == unit.col % _PROBE == _PROBE - 1


def _check(
    block: Block, acquisition: Acquisition, sharpener: Sharpener | None, *, probe: bool
) -> None:
    """Warn where the pixels contradict the metadata, or bands do not lie on each other."""
    doubt = offset_doubt(block, acquisition)
    if doubt:
        warnings.warn(doubt, stacklevel=2)
    if probe:
        senses = sharpener is not None and METHODS[sharpener.name].senses
        warn_of_shifts(block.data, sharpener.sensor if sharpener and senses else SENTINEL2)


def overview_unit(run: Run, unit: Unit, missing: tuple[str, ...], attempt: int = 1) -> Record:
    """Make one shard of an overview from the level below, and record it."""
    plan, clock = run.plan, Clock()
    facts: dict[str, Any] = {"unit": plan.name(unit), "key": plan.key(unit, missing)}
    facts |= {"attempt": attempt, "status": "ok"}
    with one_unit, failures(plan.store, facts):
        layout = plan.layout(unit.epsg)
        with clock("read"):
            coarse = overview(plan.store, layout, unit.time, unit.row, unit.col, unit.level)
        with clock("write"):
            write_shard(plan.store, layout, unit.time, unit.row, unit.col, coarse, unit.level)
    return keep(plan.out, Record(**facts, seconds=clock.seconds))


def overview(
    store: Place, layout: Sharded, time: int, row: int, col: int, level: int
) -> dict[str, np.ndarray]:
    """One shard of an overview, every variable, from the level below."""
    rows, cols = layout.place(row, col, level)
    height, width = layout.shape(level - 1)
    below = [slice(2 * s.start, min(2 * s.stop, n)) for s, n in ((rows, height), (cols, width))]
    place = below[0], below[1]
    names = (*layout.bands, *layout.layers)

    def halved(name: str) -> np.ndarray:
        return _halve(name, read_part(store, layout, name, time, place, level - 1))

    # Two variables at a time: four shards of each are as much as a unit may hold.
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(halved, names), strict=True))


def _halve(name: str, x: np.ndarray) -> np.ndarray:
    """Half the resolution: reflectance as the mean of what is there, its errors as their root mean square, flags by
    any, doubts by the worst, classes by nearest.
    """
    if name.endswith(ERROR90):
        return _half_error(x)
    layer = name not in BANDS
    x = np.pad(x, [(0, n % 2) for n in x.shape], constant_values=0 if layer else FILL)
    if layer:
        quads = [x[i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return np.maximum.reduce(quads) if name in _WORST else quads[0]
    total = np.zeros((x.shape[0] // 2, x.shape[1] // 2), dtype=np.float32)
    count = np.zeros_like(total)
    for i in (0, 1):
        for j in (0, 1):
            part = x[i::2, j::2]
            there = part != FILL
            total += np.where(there, part, 0)
            count += there
    mean = np.rint(total / np.maximum(count, 1))
    return np.where(count > 0, mean, FILL).astype(np.int16)


def _half_error(x: np.ndarray) -> np.ndarray:
    """The root mean square of the half-widths that are there, of 2 × 2 each: as if the four errors were alike, the mean
    of the pixels can be off by no more.
    """
    x = np.pad(x, [(0, n % 2) for n in x.shape]).astype(np.float32)
    quads = np.stack([x[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    count = np.maximum((quads > 0).sum(axis=0), 1)
    return np.rint(np.sqrt((quads**2).sum(axis=0) / count)).astype(np.uint16)
