"""Cost of a run, before any pixel is read: reads, units, memory, output and time."""

import math
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np

from s2sharp_core import BANDS, S2SharpError
from s2sharp_core.bands import GSDS, TRUST
from s2sharp_core.lattice import Box
from s2sharp_core.windows import BATCH

from ..engine.cost import Cost
from ..engine.ledger import FINAL
from ..engine.resources import memory_of, threads_of, workers_of
from ..scenes.limits import ABREAST, GDAL_CACHE
from .client_plan import ClientPlan
from .method import base_sensor, side_of, weights_folder
from .net_process import end_process, known
from .plan import Plan
from .readers import stage_of
from .sensor_files import is_measured
from .unit_states import UnitStates
from .units import strips

# Bytes per second on one worker, and seconds per unit: orders of magnitude for steps that are not measured.
_READ, _WRITE, _UNIT = 150e6, 80e6, 0.15
# Seconds to start a local cluster, without loading nets; seconds for the first picture.
_CLUSTER, _PICTURE = 3.0, 3.0
# Bytes per second of COGs on one thread.
_PUBLISH = 30e6
# Seconds for measuring a sensor; bytes that a worker holds afterwards, with a small unit.
_SENSOR, _SENSOR_BYTES = 8.0, 430e6
# int16 reflectance under blosc-zstd with shuffle: 1.6 times smaller in our measurements.
_COMPRESSION = 1.6
# Most acquisitions that are counted; evenly spread, they represent the others.
_COUNTED = 100


@dataclass(frozen=True, kw_only=True)
class Estimate(Cost):
    """Cost of a run.

    ``windows``: windows of the units in ``todo``; ``exact``: whether all units were counted, where in a plan of very many
    acquisitions some represent all; ``sensors``, ``fits``: datatakes to measure and to fit to first, whose time
    ``seconds`` includes, as the start of the workers; ``feeding``: workers that read and write as fast as one GPU
    sharpens, 0 without a GPU.
    """

    acquisitions: int
    scenes: int
    exact: bool
    windows: int
    sensors: int
    fits: int
    feeding: float


# Figures of a method that has nothing to do.
_NOTHING = {"seconds": 0.0, "bytes": 0.0, "fit": 0.0, "fit_bytes": 0.0, "start": 0.0}


def estimate(plan: ClientPlan) -> Estimate:
    """Count the units, and time one window in a separate process (a few seconds), unless the user's cache knows its time."""
    some = plan.asked[:: -(-len(plan.asked) // _COUNTED)]
    share = len(plan.asked) / len(some)
    counted = _count(plan, frozenset(some))
    every, todo, windows = (round(share * n) for n in counted[:3])
    read, stored, written = (share * size for size in counted[3:])
    workers, threads = workers_of(plan.config), threads_of(plan.config)
    abreast = _abreast(plan, threads)
    sensors = sum(not is_measured(plan, d) for d in plan.datatakes) if plan.measures else 0
    fits = sum(found.state not in FINAL for found in UnitStates(plan).taken(("fit",)))
    learns = fits > 0 or plan.config.fit == "window"
    left = bool(todo or fits or sensors or share > 1)
    calibration = _calibrate(plan, threads, abreast, learns=learns) if left else _NOTHING
    each = calibration["seconds"]
    net = calibration["bytes"]
    if plan.config.fit == "window":
        # Fits are made within a unit, whose memory is held meanwhile.
        each += calibration["fit"]
        net = max(net, calibration["fit_bytes"])
    moving = read / _READ + 1.33 * written / _WRITE + todo * _UNIT
    feeding = moving + (written / _PUBLISH if plan.config.publish else 0.0)
    busy = windows * each + moving
    busy += fits * calibration["fit"] + sensors * _SENSOR
    begin = _CLUSTER + calibration["start"]
    if plan.config.publish:
        begin += _PICTURE
        busy += written / _PUBLISH / min(len(plan.config.bands), threads)
    return Estimate(
        acquisitions=len(plan.present),
        scenes=sum(len(a.scenes) for a in plan.present),
        exact=share == 1,
        units=every,
        todo=todo,
        windows=windows,
        sensors=sensors,
        fits=fits,
        read=read,
        output=1.33 * stored / _COMPRESSION,
        delivered=(2.66 if plan.config.publish else 1.33) * stored / _COMPRESSION,
        memory=max(
            _SENSOR_BYTES if sensors else 0.0,
            calibration["fit_bytes"] if fits else 0.0,
            *(_memory(plan, x, abreast, net, several=every > workers) for x in _sides(plan)),
        )
        if left
        else 0.0,
        seconds=busy / workers + begin if left else 0.0,
        workers=workers,
        feeding=feeding / (windows * each) if plan.device != "cpu" and windows * each else 0.0,
    )


def _count(plan: ClientPlan, ids: frozenset[str]) -> tuple[int, int, int, float, float, float]:
    """Units, those to do, their windows; bytes to read, of the cube, and to write; of the acquisitions ``ids``."""
    count = todo = windows = 0
    read = stored = written = 0.0
    for acquisition, every in groupby(
        UnitStates(plan).units(ids), lambda x: plan.acquisition(x.of)
    ):
        stage = stage_of(plan, acquisition) if plan.staged else None
        staged: set[Box] = set()
        for _, unit, _, _, state in every:
            count += 1
            wanted = plan.wanted(unit) & acquisition.box
            stored += _stored_bytes(plan, wanted)
            if state in FINAL:
                continue
            todo += 1
            windows += sum(1 for _ in wanted.tiles(plan.config.window))
            if stage is not None:
                staged.update(stage.needed(wanted.grow(plan.margin)))
            else:
                read += _native_bytes(plan, wanted.grow(plan.margin))
            written += _stored_bytes(plan, wanted)
        read += sum(_native_bytes(plan, cells) for cells in staged)
    return count, todo, windows, read, stored, written


def check_memory(plan: Plan, cost: Estimate) -> None:
    """Refuse a run whose workers do not fit into memory (``memory-exceeded``); a run without work needs no workers."""
    if not (cost.todo or cost.sensors or cost.fits):
        return
    allowed = memory_of(plan.config)
    if allowed is not None and cost.memory > allowed:
        raise S2SharpError(
            "memory-exceeded",
            f"A worker's projected memory of {cost.memory / 1e9:.2f} GB exceeds the allowed "
            f"{allowed / 1e9:.2f} GB.",
            "Choose a smaller --shard or --window, or fewer --workers.",
        )


def _native_bytes(plan: Plan, box: Box) -> float:
    return float(sum(2 * math.prod(box.pixels(BANDS[band].gsd)) for band in plan.reads))


def _stored_bytes(plan: Plan, box: Box) -> float:
    return float(2 * len(plan.config.bands) * math.prod(box.pixels(10)))


def _calibrate(plan: Plan, threads: int, abreast: int, *, learns: bool) -> dict[str, float]:
    config = plan.config
    if not plan.coarse:
        return _NOTHING
    settings = {
        "method": config.method,
        "bands": plan.coarse,
        "fit_steps": plan.options.steps,
        "trust": config.trust,
        "error90": config.error90,
        "unfitted": plan.learns or config.fit == "window",
        "fit_windows": (1 if config.fit == "window" else config.fit_windows) if learns else 0,
        "fit_threads": config.fit_threads,
        "sensor": asdict(base_sensor(config.sensor)),
        "weights": str(weights_folder(config.weights)) if config.weights else None,
        "device": plan.device,
        "precision": plan.precision.split()[0],
        "window": config.window,
        "side": side_of(config, plan.device, abreast),
        # In a strip of the largest unit: those that can be at work at once.
        "windows": max(
            _windows(_strip(plan, x, abreast), x[0], config.window) for x in _sides(plan)
        ),
        "threads": threads,
    }
    weights = (config.weights, config.warm_start)
    try:
        found = known("measure", settings, weights)
    finally:
        end_process()
    return {key: float(value) for key, value in found.items()}


def _sides(plan: Plan) -> set[tuple[int, int, int]]:
    """Return (shard, rows, columns) in cells of the largest unit of each EPSG code."""
    return {
        (x.shard, min(x.shard, x.area.shape[0]), min(x.shard, x.area.shape[1]))
        for x in plan.layouts
    }


def _abreast(plan: Plan, threads: int) -> int:
    """Return the number of windows at work at once; it is 1 for a user's own scheduler, whose threads are unknown."""
    if plan.device != "cpu":
        return BATCH
    return 1 if plan.config.scheduler else threads


def _strip(plan: Plan, sides: tuple[int, int, int], abreast: int) -> Box:
    """Return the strip of a unit that takes most memory.

    A unit that is cut off at the end of an acquisition has fewer windows in a row, more rows in a strip, and perhaps more
    windows in all.
    """
    _, rows, cols = sides
    side = side_of(plan.config, plan.device, abreast)
    widths = (cols, *range(side, cols, side))
    every = [strips(Box(0, rows, 0, width), side, abreast)[0] for width in widths]
    return max(every, key=lambda x: _blocks(x, rows) * math.prod(x.grow(plan.margin).shape))


def _windows(strip: Box, shard: int, window: int) -> int:
    """Windows that an area of a strip's size meets at most, wherever it lies in its shard."""
    most = -(-shard // window)
    return math.prod(min(most, -(-(side - 1) // window) + 1) for side in strip.shape)


def _blocks(strip: Box, rows: int) -> int:
    """Return the number of blocks in memory: one at work, and three of the next strip while its gaps are filled."""
    return 4 if rows > strip.shape[0] else 3


def pixel_memory(plan: Plan) -> float:
    """Return the bytes of pixels that a worker may hold without a unit: the memory of a unit without its net.

    Pinned memory does not count, because torch keeps it.
    """
    abreast = _abreast(plan, threads_of(plan.config))
    here = plan.model_copy(update={"device": "cpu"})
    peak = max(_memory(here, sides, abreast, 0.0, several=False) for sides in _sides(plan))
    return (peak - _PROCESS) / _SLACK


def _memory(
    plan: Plan, sides: tuple[int, int, int], abreast: int, net: float, *, several: bool
) -> float:
    """Return the peak bytes of a worker: the arrays of a unit, and those of its steps; with ``several`` units, also the
    previous one, which is being written, and the beginning of the next one.
    """
    shard, rows, _ = sides
    strip = _strip(plan, sides, abreast)
    around = strip.grow(plan.margin)
    native = sum(4 * math.prod(around.pixels(BANDS[band].gsd)) for band in plan.reads)
    shard_pixels = (6 * shard) ** 2
    layers = sum(np.dtype(dtype).itemsize for dtype, _, _ in plan.layouts[0].layers.values())
    held = shard_pixels * (2 * len(plan.config.bands) + layers)
    # Results of windows on their way into the shard: a strip's in float32, at most.
    sharp = 4 * _results(plan) * math.prod(strip.pixels(10))
    pinned = _pinned(plan, strip) if plan.device != "cpu" else 0
    work = _blocks(strip, rows) * native + sharp + pinned
    write = 3 * 2 * shard_pixels
    cache = min(GDAL_CACHE, sum(2 * math.prod(around.pixels(BANDS[b].gsd)) for b in plan.reads))
    # Meanwhile, a shard is copied into the stage, some bands at once: DN, and the numbers of scenes.
    copied = ABREAST * 4 * shard_pixels if plan.staged else 0
    # The net's share was measured; the rest is computed.
    at_work = held + work + cache + net + copied
    written = held + write
    peak = at_work + written + native if several else max(at_work, written + cache)
    if any(x.levels for x in plan.layouts):
        # An overview, while another one is written and a unit begins: a shard below for each of two variables, compressed
        # and halved.
        begun = native + cache if several else 0
        peak = max(peak, held + written + begun + 2 * _BELOW * shard_pixels)
    return _SLACK * peak + _PROCESS


def _results(plan: Plan) -> int:
    """Return the number of bands and layers that a sharpener makes."""
    coarse = sum(BANDS[band].gsd > 10 for band in plan.config.bands)
    return coarse * (2 if plan.config.error90 else 1) + len(TRUST) * plan.config.trust


def _pinned(plan: Plan, strip: Box) -> float:
    """Return the bytes of the host that a GPU reads and writes: what a strip reads, of three strips, and the results of two.

    One strip is being prepared, one is at work and one comes back.
    """
    around = strip.grow(plan.margin)
    read = [sum(BANDS[band].gsd == gsd for band in plan.reads) for gsd in GSDS]
    sent = (4 * n * math.prod(around.pixels(gsd)) for n, gsd in zip(read, GSDS, strict=True))
    result = _as_pinned(2 * math.prod(strip.pixels(10)))
    return 3 * sum(map(_as_pinned, sent)) + 2 * _results(plan) * result


def _as_pinned(size: int) -> float:
    """Return what torch keeps for ``size`` bytes of pinned memory: a power of two, and smaller ones of smaller strips."""
    return 2.0 * 2 ** math.ceil(math.log2(size)) if size else 0.0


# Bytes of the shard below, and of its halves, for each pixel of a shard and variable.
_BELOW = 8
# Bytes of code and buffers that the first units of a process take, whatever their size; share held back by the allocator.
_PROCESS = 54e6
_SLACK = 1.2
