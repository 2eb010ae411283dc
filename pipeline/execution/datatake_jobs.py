"""Work on a datatake, done once on windows spread over all of it: its sensor is measured, and a method is fitted to it.

Neither depends on the requested area, so that neighbouring areas, tiles and EPSG codes are sharpened alike. The sensor is
kept in ``OUT/sensors`` as long as ``OUT`` exists; tiles that are published later do not change it. Fitted weights are stored
in ``OUT/fits/DATATAKE``.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from distributed import get_worker

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.sensor.estimation import SIDES, SensorEstimate, estimate_sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sharpeners.guard import guard_message

from ..engine.ledger import PASSING, Record
from ..engine.worker import Clock, Written, do_job
from ..planning.plan import Plan
from ..planning.sensor_files import file_content
from ..planning.units import Datatake
from ..scenes.file_versions import Versions
from ..storage.files import write_text
from ..storage.mirror import mirrored
from .run import TOPIC, Run
from .samples import SampleRequest, Window, draw, scenes_of
from .unit import idle_size, threads

# Number of windows of a measurement: those that a fit with the same seed draws first.
_WINDOWS = 6
# Sides of windows of a fit in cells, in order of preference; the method's smallest is added at the end.
_SIDES = (64, 32)


def measure_datatake(
    datatake: Datatake, reads: Sequence[str], seed: int, seen: Versions
) -> tuple[SensorEstimate, tuple[Window, ...]]:
    """Measure a datatake on up to six windows without gaps; without any, return the known sensor and the reason.

    ``seen``: versions of the files that were read before.

    Error: ``asset-unreadable``: no other window replaces an unreadable one, because that would change the sample.
    """
    wish = SampleRequest(
        reads=tuple(reads),
        count=_WINDOWS,
        sides=SIDES,
        seed=seed,
        why=("A sensor is measured on windows", ""),
        apart=True,
        seen=seen,
    )
    try:
        sample, windows = draw(datatake, wish)
    except S2SharpError as error:
        if error.kind != "nothing-to-fit":
            raise
        return SensorEstimate.unknown(error.message.rstrip(".")), ()
    return estimate_sensor(sample), windows


def measure_unit(run: Run, datatake: Datatake, attempt: int = 1) -> Record:
    """Measure the sensor of one datatake, keep it, and record it; never raises for bad input.

    If a window is still unreadable at the last attempt, the known sensor is kept with a warning, so that units do not fail
    because of windows far away.
    """
    plan = run.plan
    name, key = plan.sensor_name(datatake), plan.sensor_key(datatake)

    def work(clock: Clock) -> tuple[dict[str, Any], Callable[[], Written]]:
        with clock("sensor"):
            seen, windows = _measured(plan, datatake, last=attempt > plan.config.retries)
        kept = file_content(seen, [window.about for window in windows])
        text = {"key": key, **kept, "scenes": scenes_of(datatake, windows)}
        lines = tuple(f"{datatake.take}: {line}" for line in seen.told)

        def write() -> Written:
            write_text(plan.sensor_file(datatake.take), json.dumps(text, indent=1) + "\n")
            return {}

        return {"warnings": lines}, write

    idle = partial(idle_size, run)
    return do_job(plan.out, name, key, attempt, work, run.still, idle, alone=True)


def _measured(
    plan: Plan, datatake: Datatake, *, last: bool
) -> tuple[SensorEstimate, tuple[Window, ...]]:
    try:
        return measure_datatake(datatake, plan.reads, plan.config.seed, plan.seen)
    except S2SharpError as error:
        if error.kind in PASSING and not last:
            raise
        again = f"remove {plan.sensor_file(datatake.take)} and run again to measure it"
        return SensorEstimate.unknown(f"{error.message.rstrip('.')}; {again}"), ()
    except (RuntimeError, ArithmeticError) as error:  # such as torch's for singular matrices
        return SensorEstimate.unknown(f"{type(error).__name__}: {error}"), ()


def draw_sample(plan: Plan, datatake: Datatake) -> tuple[Sample, tuple[str, ...]]:
    """Return the windows for a fit, and the ids of the items with their pixels.

    The choice is kept in ``sample.json`` in the fit's folder, and is not made again.
    """
    folder = plan.fit_folder(datatake.take)
    assert folder is not None  # noqa: S101  (only a method that learns is fitted)
    method = METHODS[plan.config.method]
    wish = SampleRequest(
        reads=plan.reads,
        count=plan.config.fit_windows,
        sides=(*(s for s in _SIDES if s > method.smallest), method.smallest),
        seed=plan.config.seed,
        why=(
            f"{plan.config.method} learns on the scene",
            "Choose a method that needs no fit (s2net-m), or give --weights of an earlier fit.",
        ),
        file=folder / "sample.json",
        key=plan.sample_key(datatake),
        seen=plan.seen,
    )
    sample, windows = draw(datatake, wish)
    return sample, scenes_of(datatake, windows)


def fit_unit(run: Run, datatake: Datatake, attempt: int = 1) -> Record:
    """Fit the method to one datatake and record it; never raises for bad input.

    An interrupted fit continues from its last checkpoint.
    """
    plan = run.plan
    name, key = plan.fit_name(datatake), plan.fit_key(datatake)

    def work(clock: Clock) -> tuple[dict[str, Any], None]:
        run.still()
        with clock("fit"), threads(plan.config.fit_threads):
            note = _fit(plan, datatake)
        return {"warnings": (note,) if note else ()}, None

    idle = partial(idle_size, run)
    return do_job(plan.out, name, key, attempt, work, run.still, idle, datatake.take, alone=True)


def _fit(plan: Plan, datatake: Datatake) -> str:
    """Fit, and return a warning for the user, or an empty text."""
    folder = plan.fit_folder(datatake.take)
    method = METHODS[plan.config.method]
    # Only plans with such a method have datatakes to fit.
    assert folder is not None and method.fit is not None  # noqa: S101, PT018
    sample, scenes = draw_sample(plan, datatake)
    options = replace(plan.options, scenes=scenes)
    with mirrored(folder) as (here, push):

        def tell(step: int, steps: int, loss: float) -> None:
            far = {"take": datatake.take, "step": step, "steps": steps, "loss": loss}
            with suppress(ValueError):  # called without a cluster
                get_worker().log_event(TOPIC, far)
            push()  # uploads the checkpoint, from which any worker can continue

        sensor = plan.sensor(datatake.take)
        method.fit(sample, sensor, plan.coarse, options, here, plan.device, tell)
        return guard_message(method.name, here, plan.coarse)
