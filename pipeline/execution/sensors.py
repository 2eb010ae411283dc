"""The sensor of each datatake: measured once on windows spread over all of it, and kept in ``OUT/sensors``.

Like a fit, it belongs to the datatake and not to the requested area, so that neighbouring areas, tiles and EPSG codes are
sharpened alike. A datatake keeps its sensor as long as ``OUT`` exists; tiles that are published later do not change it.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from s2sharp_core import S2SharpError
from s2sharp_core.sensor.sensing import SIDES, Sensed, sense

from ..engine.ledger import PASSING, Record
from ..engine.worker import Clock, Written, do_job
from ..planning.plan import Plan
from ..planning.sensor_files import about
from ..planning.units import Datatake
from ..scenes.versions import Versions
from ..storage.files import write_text
from .run import Run
from .samples import Window, Wish, draw, scenes_of
from .unit import idle_size

# Number of windows: those that a fit with the same seed draws first.
_WINDOWS = 6


def measure_datatake(
    datatake: Datatake, reads: Sequence[str], seed: int, seen: Versions
) -> tuple[Sensed, tuple[Window, ...]]:
    """Measure a datatake on up to six windows without gaps; without any, return the known sensor and the reason.

    ``seen``: versions of the files that were read before.

    Raises
    ------
    S2SharpError
        ``asset-unreadable``: no other window replaces an unreadable one, because that would change the sample.
    """
    wish = Wish(
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
        return Sensed.unknown(error.message.rstrip(".")), ()
    return sense(sample), windows


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
        kept = about(seen, [window.about for window in windows])
        text = {"key": key, **kept, "scenes": scenes_of(datatake, windows)}
        told = tuple(f"{datatake.take}: {line}" for line in seen.told)

        def write() -> Written:
            write_text(plan.sensor_file(datatake.take), json.dumps(text, indent=1) + "\n")
            return {}

        return {"warnings": told}, write

    idle = partial(idle_size, run)
    return do_job(plan.out, name, key, attempt, work, run.still, idle, alone=True)


def _measured(plan: Plan, datatake: Datatake, *, last: bool) -> tuple[Sensed, tuple[Window, ...]]:
    try:
        return measure_datatake(datatake, plan.reads, plan.config.seed, plan.seen)
    except S2SharpError as error:
        if error.kind in PASSING and not last:
            raise
        again = f"remove {plan.sensor_file(datatake.take)} and run again to measure it"
        return Sensed.unknown(f"{error.message.rstrip('.')}; {again}"), ()
    except (RuntimeError, ArithmeticError) as error:  # such as torch's for singular matrices
        return Sensed.unknown(f"{type(error).__name__}: {error}"), ()
