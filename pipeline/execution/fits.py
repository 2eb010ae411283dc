"""Fits of methods that learn on the scene: once per datatake, on windows spread over all of it.

Fitted weights are stored in ``OUT/fits/DATATAKE``.
"""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from distributed import get_worker

from s2sharp_core import METHODS
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sharpeners.guard import told

from ..engine.ledger import Record
from ..engine.worker import Clock, do_job
from ..planning.plan import Plan
from ..planning.units import Datatake
from ..storage.mirror import mirrored
from .run import TOPIC, Run
from .samples import Wish, draw, scenes_of
from .unit import idle_size, threads

# Sides of windows in cells, in order of preference; the method's smallest is added at the end.
_SIDES = (64, 32)


def draw_sample(plan: Plan, datatake: Datatake) -> tuple[Sample, tuple[str, ...]]:
    """Return the windows for a fit, and the ids of the items with their pixels.

    The choice is kept in ``sample.json`` in the fit's folder, and is not made again.
    """
    folder = plan.fit_folder(datatake.take)
    assert folder is not None  # noqa: S101  (only a method that learns is fitted)
    method = METHODS[plan.config.method]
    wish = Wish(
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
            about = {"take": datatake.take, "step": step, "steps": steps, "loss": loss}
            with suppress(ValueError):  # called without a cluster
                get_worker().log_event(TOPIC, about)
            push()  # uploads the checkpoint, from which any worker can continue

        sensor = plan.sensor(datatake.take)
        method.fit(sample, sensor, plan.coarse, options, here, plan.device, tell)
        return told(method.name, here, plan.coarse)
