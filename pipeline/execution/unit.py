"""Work on one unit, on a worker: read, sharpen, write the shard whole, then record it."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any

import numpy as np
import psutil
import torch

from s2sharp_core import BANDS, METHODS, S2SharpError, Sharpener
from s2sharp_core.bands import CELL, in_order
from s2sharp_core.blocks import Begun, Prepared, begin_sharpening, prepare_block, valid_mask
from s2sharp_core.lattice import Box
from s2sharp_core.sensor.registration import warn_of_shifts
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.windows import BATCH

from ..cube.layout import FILL, Layout, Native, Sharded, encode
from ..cube.overviews import overview
from ..cube.write import write_shard
from ..engine.ledger import Record
from ..engine.worker import Clock, Written, do_job, net_thread
from ..planning.plan import Plan
from ..planning.readers import files_of
from ..planning.sharpener import outline, sharpener_of
from ..planning.units import Unit
from ..scenes.acquisition import Acquisition
from ..scenes.disagreement import disagreement
from ..scenes.holes import Holes
from ..scenes.offset_check import offset_doubt
from ..scenes.read import Block, Files, Reader, load_block, reflectance
from .read_ahead import ReadAhead, beginning, reading_ahead
from .run import Run

# Distance in shards along both axes between units that are checked for misregistered bands.
_PROBE = 4


@lru_cache(maxsize=1)
def idle_size(run: Run) -> int:
    """Load the sharpener, and return the memory of the process in bytes once it is ready for a run."""
    plan = run.plan
    if plan.coarse:
        outline(plan.config, plan.coarse, plan.device)
    return psutil.Process().memory_info().rss


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set torch's number of threads during the block, because the order of sums depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sharpen_unit(run: Run, unit: Unit, staged: list[object], attempt: int = 1) -> Record:
    """Do one unit of the full resolution and record it; never raises for bad input.

    ``staged``: results of :func:`stage_unit` for the shards that it reads.
    """
    plan = run.plan
    key, idle, whose = plan.key(unit), partial(idle_size, run), plan.acquisition_id(unit)
    failures = [result for result in staged if isinstance(result, S2SharpError)]
    with ExitStack() as stack:
        if not failures:
            abreast = run.threads if plan.device == "cpu" else BATCH
            come = stack.enter_context(beginning(plan, unit, abreast))

        def work(clock: Clock) -> tuple[dict[str, Any], Callable[[], Written]]:
            if failures:
                raise failures[0]
            facts, shards = net_thread.submit(_sharpen, run, unit, come(), clock).result()
            return facts, partial(_write, plan, unit, shards)

        return do_job(plan.out, plan.name(unit), key, attempt, work, run.still, idle, whose)


def _write(plan: Plan, unit: Unit, shards: "list[_Shard]") -> Written:
    place = unit.time, unit.row, unit.col
    written = (write_shard(plan.store, layout, *place, data) for layout, data in shards)
    return {"files": {name: digest for part in written for name, digest in part.items()}}


_Shard = tuple[Sharded, Mapping[str, np.ndarray]]


def _sharpen(
    run: Run, unit: Unit, begun: ReadAhead, clock: Clock
) -> tuple[dict[str, Any], list[_Shard]]:
    """Sharpen a unit; return the facts of its record, and its whole shards."""
    plan = run.plan
    if run.threads:
        torch.set_num_threads(run.threads)
    clock.add("read", begun.seconds)
    layout, acquisition = plan.layout(unit.epsg), plan.acquisition(unit)
    reader, wanted, parts = begun.reader, begun.wanted, begun.parts
    sharpener = sharpener_of(plan, acquisition.take)
    cells = layout.cells(unit.row, unit.col)
    shape = cells.pixels(10)
    out = {band: np.full(shape, FILL, dtype=np.int16) for band in layout.bands}
    out |= {name: np.zeros(shape, dtype=dtype) for name, (dtype, _, _) in layout.layers.items()}
    # Written even without valid pixels: arrays of fill alone store nothing, and remove an earlier shard.
    shards: list[_Shard] = [(layout, out)]
    if layout.native is not None:
        measured = _measured(reader, acquisition, layout.native, wanted, cells)
        shards.append((layout.native, measured))
    if begun.overcast is not None:
        out["cloud"][cells.slices(wanted, 10)] = begun.overcast
        return {"status": "cloudy"}, shards
    windows, holes = 0, Holes(wanted)

    def read(strip: Box) -> Block:
        block, begun.first = begun.first, None
        if block is None:
            with clock("read"):
                block = load_block(reader, acquisition, plan.reads, strip, plan.margin)
        return block

    def take(strip: Box) -> Prepared | None:
        block = read(strip)
        with clock("prepare"):
            holes.look(block, strip)
            middle = strip == parts[len(parts) // 2]
            _check_offset(block, acquisition, plan.config.trust_offset, tell=middle)
            if middle and _probed(layout, unit):
                senses = sharpener is not None and METHODS[sharpener.name].senses
                sensor = sharpener.sensor if sharpener and senses else SENTINEL2
                warn_of_shifts(block.data, sensor)
            return _take_in(plan, block, strip, sharpener, cells, out)

    started: dict[Box, float] = {}

    def begin(strip: Box, prepared: Prepared | None, behind: Begun | None) -> Begun | None:
        if prepared is None or sharpener is None:
            return None
        started[strip] = time.perf_counter()
        into = {name: out[name][cells.slices(strip, 10)] for name in sharpener.bands}
        return begin_sharpening(prepared, sharpener, into, plan.config.window, behind=behind)

    before = 0.0
    for strip in reading_ahead(take, begin, parts):
        now = time.perf_counter()
        # Its windows waited for those of the strip before.
        clock.add("net", now - max(before, started[strip]))
        before = now
        windows += sum(1 for _ in strip.tiles(plan.config.window))
    _tell_holes(holes, acquisition, wanted)
    with clock("overlaps"):
        files = reader if isinstance(reader, Files) else files_of(plan, acquisition)
        differs = disagreement(acquisition, plan.reads, wanted, files.kept)
    empty = all((out[band] == FILL).all() for band in layout.bands)
    valid = int(np.count_nonzero(out["valid"]))
    facts = {"windows": windows, "valid": valid, "disagreement": differs}
    return {"status": "empty" if empty else "ok", **facts}, shards


def _tell_holes(holes: Holes, acquisition: Acquisition, wanted: Box) -> None:
    """Warn of bands without data where other bands have some: missing parts of a file read as no data."""
    if lacking := holes.found():
        bands = in_order(lacking)
        items = ", ".join(scene.id for scene in acquisition.within(wanted)[:3])
        warnings.warn(
            f"{', '.join(bands)} of {items}: no data in places where other bands have some: a file is not whole, perhaps. "
            "What follows from it is no data there, too.",
            stacklevel=2,
        )


def _measured(
    reader: Reader, acquisition: Acquisition, native: Native, wanted: Box, cells: Box
) -> dict[str, np.ndarray]:
    """Return a shard of the bands that are kept as measured."""
    out = {}
    for band in native.bands:
        y = reflectance(reader, acquisition, band, wanted)
        out[band] = np.full(cells.shape, FILL, dtype=np.int16)
        out[band][cells.slices(wanted, CELL)] = encode(y)
    return out


def _take_in(
    plan: Plan,
    block: Block,
    strip: Box,
    sharpener: Sharpener | None,
    cells: Box,
    out: dict[str, np.ndarray],
) -> Prepared | None:
    """Copy the layers and the 10 m bands of a strip into the arrays of its shard; prepare the coarse bands, if any."""
    place = cells.slices(strip, 10)
    prepared = prepare_block(block.data, block.box, strip, sharpener) if sharpener else None
    valid = prepared.valid if prepared else valid_mask(block.data, block.box, strip)
    layers = {"cloud": block.cloud, "saturated": block.saturated, "source": block.source}
    for name, layer in {**layers, "valid": valid}.items():
        out[name][place] = layer
    for band in plan.config.bands:
        if BANDS[band].gsd == 10:
            out[band][place] = encode(block.data[band][block.box.slices(strip, 10)])
    return prepared if valid.any() else None


def _probed(layout: Layout, unit: Unit) -> bool:
    """Return whether a unit is checked for misregistration: the one in the middle, and some of the others."""
    middle = tuple(n // 2 for n in layout.shards())
    return (unit.row, unit.col) == middle or unit.row % _PROBE == unit.col % _PROBE == _PROBE - 1


def _check_offset(block: Block, acquisition: Acquisition, trust: str | None, *, tell: bool) -> None:
    """Refuse pixels that certainly contradict their metadata, unless ``trust`` decides.

    ``tell``: whether to warn of a likely contradiction, which is the same all over a unit.
    """
    doubt = offset_doubt(block, acquisition)
    if doubt is None:
        return
    if doubt.certain and trust != "metadata":
        other = "" if trust else ", or pixels to believe them"
        raise S2SharpError(
            "offset-doubtful",
            doubt.text,
            f"Take another archive, or run again with --trust-offset metadata to believe the item{other}.",
            item=doubt.item,
        )
    if tell:
        text = f"{doubt.text} Compare with another archive before you use the values."
        warnings.warn(text, stacklevel=2)


def overview_unit(run: Run, unit: Unit, key: str, attempt: int = 1) -> Record:
    """Make one shard of an overview from the level below, and record it under the client's ``key``."""
    plan = run.plan
    layout = plan.layout(unit.epsg)
    place = unit.time, unit.row, unit.col

    def work(clock: Clock) -> tuple[dict[str, Any], Callable[[], Written]]:
        with clock("read"):
            coarse = overview(plan.store, layout, *place, unit.level)

        def write() -> Written:
            return {"files": write_shard(plan.store, layout, *place, coarse, unit.level)}

        return {}, write

    return do_job(plan.out, plan.name(unit), key, attempt, work, run.still)
