"""Method of a run: its outline, options of its fit, its weights and its sensor."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sensor.response import NAMED, SENTINEL2, Sensor
from s2sharp_core.sharpeners.methods import known
from s2sharp_core.windows import ABREAST, JOINED

from ..engine.resources import memory_of
from ..storage.files import contents, files, read_text
from ..storage.location import Location
from ..storage.mirror import local
from .config import RunConfig

# Bytes that a worker must have for windows to be joined: two threads then take 2 GB.
_ROOMY = 3e9


@dataclass(frozen=True)
class Outline:
    """Outline of a sharpener, before anything is fitted or measured.

    ``reads``: bands; ``margin``: cells around a block that its result can depend on; ``digest``: of everything that
    determines it; ``weights``, and ``start`` for those that fits start from: file → sha256; ``precision``: its arithmetic
    and device.
    """

    reads: tuple[str, ...] = ()
    margin: int = 0
    digest: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    start: dict[str, str] = field(default_factory=dict)
    precision: str = ""


def side_of(config: RunConfig, device: str, abreast: int) -> int:
    """Return the side, in cells, of what a thread sharpens at once: a window's, or that of several as one."""
    joins = known(config.method).joins and config.fit != "window"
    if not joins or config.trust or config.error90 or device != "cpu" or abreast > ABREAST:
        return config.window
    if config.scheduler:  # nobody knows the threads and the memory of its workers
        return config.window
    allowed = memory_of(config)
    return config.window * (JOINED if allowed is None or allowed >= _ROOMY else 1)


def check_fit(config: RunConfig) -> None:
    """Refuse options of a fit that have no effect, and too few steps (``bad-config``, ``method-unknown``)."""
    method = known(config.method)
    given = [
        flag
        for flag, value in (
            ("--fit window", config.fit == "window"),
            ("--fit-steps", config.fit_steps),
            ("--warm-start", config.warm_start),
        )
        if value
    ]
    why = ""
    if method.fit is None:
        why = f"{config.method} does not learn on the scene: there is nothing to fit"
    elif config.weights is not None:
        why = "with --weights there is nothing to fit"
    elif method.steps == 1 and given != ["--fit window"]:
        why = f"{config.method} is solved, not trained: it has no steps and no start"
    if given and why:
        raise S2SharpError("bad-config", f"{' and '.join(given)}: {why}.", "Leave it out.")
    method.check_steps(config.fit_steps)


def fits(config: RunConfig) -> bool:
    """Return whether the method is fitted to each datatake first."""
    learns = METHODS[config.method].fit is not None
    return learns and config.weights is None and config.fit == "datatake"


def options_of(config: RunConfig) -> FitOptions:
    steps = config.fit_steps or METHODS[config.method].steps
    return FitOptions(steps, config.seed, weights_folder(config.warm_start))


def weights_folder(weights: Location | None) -> Path | None:
    """Return a local copy of a folder of weights; ``weights-missing`` without any."""
    try:
        return local(weights) if weights else None
    except FileNotFoundError as error:
        raise S2SharpError(
            "weights-missing",
            f"There are no weights in {weights}.",
            "Make them with `s2sharp train --out FOLDER` (or fit them), or give another folder.",
        ) from error


def base_sensor(sensor: str) -> Sensor:
    """Return the sensor of datatakes that have none of their own, by the setting's name."""
    return NAMED.get(sensor, SENTINEL2)


def fitted_weights(folder: Location) -> dict[str, str]:
    """Return the weights in a folder from their cards: file → sha256."""
    try:
        return dict(_cards(folder, contents(folder)))
    except FileNotFoundError:
        return {}


@lru_cache(maxsize=256)
def _cards(folder: Location, contents: str) -> dict[str, str]:  # noqa: ARG001  (part of the cache's key)
    there = files(folder)
    weights = (name for name in there if name.endswith(".safetensors") and "/" not in name)
    cards = {name: name.removesuffix(".safetensors") + ".json" for name in weights}
    return {
        name: json.loads(read_text(folder / card))["sha256"]
        for name, card in cards.items()
        if card in there
    }


def digest_of_weights(weights: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()
