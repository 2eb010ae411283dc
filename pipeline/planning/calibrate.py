"""Separate process that loads nets: it returns the outline of a method, and measures the time and memory of a window.

``python -m s2sharp.planning.calibrate`` answers each line of JSON with a line of JSON, and so does :func:`answer_at`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
import psutil
import torch

from s2sharp_core import BANDS, METHODS, S2SharpError, load_sharpener
from s2sharp_core.blocks import batch_of, context, sharpen_block, side_by_side
from s2sharp_core.lattice import Box
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.recording import WARM_UPS
from s2sharp_core.sensor.response import Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sharpeners.loading import unfitted_sharpener

from ..engine.worker import Peak
from .config import RunConfig
from .sharpener import outline_of, with_layers

# Seconds in which this process loaded its libraries.
_START = time.time() - psutil.Process().create_time()
# Number of rounds: memory that the allocator keeps shows only after the first one.
_TIMES = 3
# Steps of two trial fits: their difference gives the time of a step without that of the start.
_FEW, _MORE = 2, 6
# Windows of the trial fits, and bytes of each further window: twelve bands, and patches cut from them.
_WINDOWS, _WINDOW = 2, 16_000_000


def measure(settings: dict[str, Any]) -> dict[str, float]:
    """Sharpen as many windows as a worker does at once, a few times; time some steps of a fit, if the method needs one.

    Return ``seconds``: time of a window; ``bytes``: peak memory beyond the idle process and the input; ``fit``: seconds
    of a fit; ``fit_bytes``: its memory, both 0 without a fit; ``start``: seconds to load the libraries.
    """
    chosen = settings["method"], settings["bands"]
    where = settings["device"], settings["precision"]
    sensor = Sensor.of(settings["sensor"])
    if settings["unfitted"]:
        sharpener = unfitted_sharpener(*chosen, *where, sensor)
    else:
        sharpener = load_sharpener(*chosen, settings["weights"], *where, sensor)
    sharpener = with_layers(sharpener, trust=settings["trust"], error90=settings["error90"])
    window = settings["window"]
    abreast, _ = side_by_side(sharpener, settings["windows"], settings["threads"])
    torch.set_num_threads(settings["threads"])
    count = max(abreast, min(batch_of(sharpener), settings["windows"]))
    # On a GPU, a pass is recorded once it was called a few times.
    rounds = _TIMES + (0 if sharpener.device == "cpu" else WARM_UPS)
    if (
        settings["side"] > window
        and settings["windows"] >= count * (settings["side"] // window) ** 2
    ):
        window, rounds = settings["side"], _TIMES - 1
    want = Box(0, window, 0, count * window)
    have = want.grow(context(sharpener))
    rng = np.random.default_rng(0)
    data = {
        band: rng.random(have.pixels(BANDS[band].gsd), dtype=np.float32) for band in sharpener.reads
    }
    idle = psutil.Process().memory_info().rss
    seconds = []
    with Peak() as peak:
        for _ in range(rounds):
            start = time.perf_counter()
            sharpen_block(data, have, want, sharpener, settings["window"])
            seconds.append(time.perf_counter() - start)
    fit, fit_bytes = _fit(settings) if settings["fit_windows"] else (0.0, 0.0)
    return {
        "seconds": min(seconds) / count / (window // settings["window"]) ** 2,
        "bytes": peak.bytes - idle,
        "fit": fit,
        "fit_bytes": fit_bytes,
        "start": _START,
    }


def _fit(settings: dict[str, Any]) -> tuple[float, float]:
    """Estimate seconds and memory of a fit from a few steps on windows of random numbers."""
    method = METHODS[settings["method"]]
    count = min(settings["fit_windows"], _WINDOWS)
    torch.set_num_threads(settings["fit_threads"])
    assert method.fit is not None  # noqa: S101  (only such a method has fit_windows)
    random = torch.Generator().manual_seed(0)
    shapes = ((count, 4, 384, 384), (count, 6, 192, 192), (count, 2, 64, 64))
    sample = Sample(*(torch.rand(shape, generator=random) for shape in shapes))
    idle = psutil.Process().memory_info().rss
    seconds = []
    with Peak() as peak:
        for steps in (_FEW, _MORE):
            with TemporaryDirectory() as folder:
                start = time.perf_counter()
                try:
                    method.fit(
                        sample,
                        Sensor.of(settings["sensor"]),
                        tuple(settings["bands"]),
                        FitOptions(steps),
                        Path(folder),
                        settings["device"],
                        lambda *_: None,
                    )
                except S2SharpError as error:
                    # A fit to random numbers may fail; only its time is needed.
                    if error.kind != "fit-failed":
                        raise
                seconds.append(time.perf_counter() - start)
    step = max(0.0, (seconds[1] - seconds[0]) / (_MORE - _FEW))
    more = (settings["fit_windows"] - count) * _WINDOW
    return seconds[0] + step * (settings["fit_steps"] - _FEW), float(peak.bytes - idle + more)


def _outline(settings: dict[str, Any]) -> dict[str, Any]:
    config = RunConfig.model_validate(settings["config"])
    return asdict(outline_of(config, tuple(settings["coarse"]), settings["device"]))


_ANSWERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "outline": _outline,
    "measure": measure,
}


def answer_at(asked: Connection, said: Connection) -> None:
    """Answer in a forked process; what libraries print goes to the file behind ``said``."""
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    _serve(os.fdopen(os.dup(asked.fileno())), os.fdopen(os.dup(asked.fileno()), "w"))


def _serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer until the questions end."""
    for line in questions:
        asked = json.loads(line)
        try:
            said: dict[str, Any] = {"found": _ANSWERS[asked["what"]](asked["settings"])}
        except S2SharpError as error:
            said = {"error": [error.kind, error.message, error.remedy]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    # Output of libraries goes to the standard error.
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _serve(sys.stdin, own)
