"""Loaded method of a run: its outline, and its sharpener."""

import hashlib
import json

from s2sharp_core import METHODS, S2SharpError, Sharpener, load_sharpener
from s2sharp_core.blocks import context
from s2sharp_core.sensor.response import Sensor
from s2sharp_core.sharpeners.error90 import WithError90
from s2sharp_core.sharpeners.loading import unfitted_sharpener
from s2sharp_core.sharpeners.net import NetSharpener
from s2sharp_core.sharpeners.trust import WithTrust
from s2sharp_core.sharpeners.window import WindowFitted

from ..storage.location import Location
from .config import RunConfig
from .method import (
    Outline,
    base_sensor,
    digest_of_weights,
    fits,
    fitted_weights,
    options_of,
    weights_folder,
)
from .plan import Plan


def outline(config: RunConfig, coarse: tuple[str, ...], device: str) -> Sharpener:
    """Return the sharpener before anything is measured; unfitted, if it will be fitted."""
    sensor = base_sensor(config.sensor)
    if fits(config):
        blank = unfitted_sharpener(config.method, coarse, device, config.precision, sensor)
        return with_layers(blank, trust=config.trust, error90=config.error90)
    return make_sharpener(config, coarse, device, None, config.precision, sensor)


def outline_of(config: RunConfig, coarse: tuple[str, ...], device: str) -> Outline:
    """Return the outline of the sharpener.

    Errors of :func:`~s2sharp_core.load_sharpener`; ``weights-missing`` for weights to start from.
    """
    sharpener, start = outline(config, coarse, device), _start(config, coarse)
    return Outline(
        reads=sharpener.reads,
        margin=context(sharpener),
        digest=_digest(config, sharpener, start),
        weights=sharpener.weights,
        start=start,
        precision=sharpener.precision,
    )


def make_sharpener(
    config: RunConfig,
    coarse: tuple[str, ...],
    device: str,
    fitted: Location | None,
    precision: str,
    sensor: Sensor,
) -> Sharpener:
    """Load the sharpener; ``fitted``: folder of its weights, if it was fitted in this run."""
    bare: Sharpener
    if config.fit == "window":
        method, options = METHODS[config.method], options_of(config)
        bare = WindowFitted(method, coarse, options, device, config.fit_threads)
        bare.see_with(sensor)
    else:
        folder = weights_folder(fitted or config.weights)
        bare = load_sharpener(config.method, coarse, folder, device, precision, sensor)
    return with_layers(bare, trust=config.trust, error90=config.error90)


def with_layers(bare: Sharpener, *, trust: bool, error90: bool) -> Sharpener:
    """Return the sharpener with the layers of ``--trust`` and ``--error90``, if requested."""
    sharpener = WithTrust(bare) if trust else bare
    return WithError90(sharpener) if error90 else sharpener


def _digest(config: RunConfig, sharpener: Sharpener, start: dict[str, str]) -> str:
    """Return the digest of the sharpener; before its fit, also of all that determines the fit, with the ``start``."""
    if not fits(config):
        return sharpener.digest
    options = options_of(config)
    facts = [sharpener.digest, options.steps, options.seed, start or None]
    # The order of sums, and so the weights, depend on the number of threads.
    facts += [config.fit_windows, config.fit_threads, dict(METHODS[config.method].constants)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _start(config: RunConfig, coarse: tuple[str, ...]) -> dict[str, str]:
    """Return the weights that fits begin from, file → sha256; none at random, ``weights-missing`` if some lack."""
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


def sharpener_of(plan: Plan, take: str) -> Sharpener | None:
    """Load the sharpener of a datatake; return None if only 10 m bands are requested.

    Errors: ``weights-differ``; ``weights-missing`` when a fit has not been made.
    """
    if not plan.coarse:
        return None
    arithmetic = plan.precision.split()[0]
    fitted, sensor = plan.fit_folder(take), plan.sensor(take)
    sharpener = make_sharpener(plan.config, plan.coarse, plan.device, fitted, arithmetic, sensor)
    found, wanted = sharpener.digest, plan.digest
    if plan.learns or plan.own_sensors:
        # The plan's digest is from before measurement and fit, so the weights are compared.
        found, wanted = (
            digest_of_weights(sharpener.weights),
            digest_of_weights(plan.weights_of(take)),
        )
    if (found, sharpener.precision) != (wanted, plan.precision):
        raise S2SharpError(
            "weights-differ",
            f"The {plan.config.method} of this process (digest {found[:12]}, "
            f"{sharpener.precision}) is not the plan's ({wanted[:12]}, {plan.precision}).",
            "Install the same version and weights on all workers, and restart them.",
        )
    return sharpener
