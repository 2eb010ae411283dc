"""The method that a run was asked for: what it will be like, what it is fitted with, and it itself."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from s2sharp_core import BANDS, METHODS, S2SharpError, Sharpener, load_sharpener
from s2sharp_core.learning.fitting import FitOptions
from s2sharp_core.sensor.observation import SENTINEL2, Sensor
from s2sharp_core.sensor.sensing import NAMED
from s2sharp_core.sharpeners import NetSharpener, WindowFitted, WithError90, WithTrust
from s2sharp_core.sharpeners.registry import unfitted_sharpener

from ..storage.files import contents, files, read_text
from ..storage.location import Location
from ..storage.mirror import local
from .config import RunConfig

__all__ = [
    "base_sensor",
    "brief",
    "check_fit",
    "digest_of",
    "fits",
    "fitted_weights",
    "judged",
    "options_of",
    "outline",
    "ready",
    "start_of",
    "weights_folder",
]


def check_fit(config: RunConfig) -> None:
    """Refuse options of a fit where they would mean nothing, and fewer steps than it takes.

    Raises
    ------
    S2SharpError
        ``bad-config``; ``method-unknown``.
    """
    if config.method not in METHODS:
        load_sharpener(config.method)
    given = [
        flag
        for flag, value in (
            ("--fit window", config.fit == "window"),
            ("--fit-steps", config.fit_steps),
            ("--warm-start", config.warm_start),
        )
        if value
    ]
    method = METHODS[config.method]
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
    """Whether the method is fitted to each datatake before it is used."""
    learns = METHODS[config.method].fit is not None
    return learns and config.weights is None and config.fit == "datatake"


def options_of(config: RunConfig) -> FitOptions:
    steps = config.fit_steps or METHODS[config.method].steps
    return FitOptions(steps, config.seed, weights_folder(config.warm_start))


def weights_folder(weights: Location | None) -> Path | None:
    """A folder of weights as one of this machine.

    Raises
    ------
    S2SharpError
        ``weights-missing``.
    """
    try:
        return local(weights) if weights else None
    except FileNotFoundError as error:
        raise S2SharpError(
            "weights-missing",
            f"There are no weights in {weights}.",
            "Make them with `s2sharp train --out FOLDER` (or fit them), or give another folder.",
        ) from error


def base_sensor(config: RunConfig) -> Sensor:
    """The sensor of datatakes that have none of their own."""
    return NAMED.get(config.sensor, SENTINEL2)


def outline(config: RunConfig, coarse: tuple[str, ...], device: str) -> Sharpener:
    """The sharpener, or what it will be like once it has been fitted, before anything is measured."""
    sensor = base_sensor(config)
    if fits(config):
        blank = unfitted_sharpener(config.method, coarse, device, config.precision, sensor)
        return judged(blank, trust=config.trust, error90=config.error90)
    return ready(config, coarse, device, None, config.precision, sensor)


def ready(
    config: RunConfig,
    coarse: tuple[str, ...],
    device: str,
    fitted: Location | None,
    precision: str,
    sensor: Sensor,
) -> Sharpener:
    """The sharpener itself; ``fitted``: where its weights were left, if it was fitted in this run."""
    bare = _bare(config, coarse, device, fitted, precision, sensor)
    return judged(bare, trust=config.trust, error90=config.error90)


def judged(bare: Sharpener, *, trust: bool, error90: bool) -> Sharpener:
    """The sharpener with what a run was asked to say about its errors.

    Raises
    ------
    S2SharpError
        ``not-calibrated``.
    """
    sharpener = WithTrust(bare) if trust else bare
    return WithError90(sharpener) if error90 else sharpener


def _bare(
    config: RunConfig,
    coarse: tuple[str, ...],
    device: str,
    fitted: Location | None,
    precision: str,
    sensor: Sensor,
) -> Sharpener:
    if config.fit == "window":
        method, options = METHODS[config.method], options_of(config)
        anew = WindowFitted(method, coarse, options, device, config.fit_threads)
        anew.see_with(sensor)
        return anew
    folder = weights_folder(fitted or config.weights)
    return load_sharpener(config.method, coarse, folder, device, precision, sensor)


def digest_of(config: RunConfig, sharpener: Sharpener) -> str:
    """Of the sharpener; of one that is fitted yet, with what its fit will follow from."""
    if not fits(config):
        return sharpener.digest
    options = options_of(config)
    coarse = tuple(band for band in sharpener.bands if band in BANDS)
    start = start_of(config, coarse) or None
    facts = [sharpener.digest, options.steps, options.seed, start]
    # Sums run in another order on another number of threads: the weights would not be the same.
    facts += [config.fit_windows, config.fit_threads, dict(METHODS[config.method].constants)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def start_of(config: RunConfig, coarse: tuple[str, ...]) -> dict[str, str]:
    """The weights that fits begin from: file → sha256; empty where they begin at random.

    Raises
    ------
    S2SharpError
        ``weights-missing``, before anything starts.
    """
    folder = config.warm_start
    if folder is None:
        return {}
    there = fitted_weights(folder)
    blank = unfitted_sharpener(config.method, coarse, "cpu")
    files = blank.files if isinstance(blank, NetSharpener) else ()
    missing = [file for file in files if file not in there]
    if missing:
        raise S2SharpError(
            "weights-missing",
            f"{folder} lacks {', '.join(missing)}, which the fits of {config.method} should begin from.",
            f"Make them with `s2sharp train --method {config.method}`, or leave --warm-start out.",
        )
    return {file: there[file] for file in files}


def fitted_weights(folder: Location) -> dict[str, str]:
    """The weights in a folder, as their cards state them: file → sha256."""
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


def brief(weights: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()
