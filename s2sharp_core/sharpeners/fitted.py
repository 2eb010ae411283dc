"""Base of all methods that learn on the scene: networks, files, and fits."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ..errors import S2SharpError
from ..learning.fitting import CONSTANTS, Curve
from ..learning.options import FitCourse, FitOptions, Tell
from ..networks import GuardedNet
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from ..weights.store import load_net, save_net
from .base import Sharpener, digest_of
from .guard import guarded
from .methods import Method
from .net import NetSharpener, exact

Learn = Callable[[Any, Sample, Sensor, FitCourse], Curve]
"""Fit one network in place."""


def solved(solve: Callable[[Any, Sample], float]) -> Learn:
    """Wrap ``solve(net, sample)``, which works in one step and returns the residual, as a fit."""

    @torch.no_grad()
    def learn(net: Any, sample: Sample, _: Sensor, course: FitCourse) -> Curve:
        loss = solve(net, sample)
        course.tell(1, 1, loss)
        return Curve((1,), (loss,), 1.0)

    return learn


def _begin(net: Any, file: Path) -> tuple[str, set[str]]:
    """Load the weights of ``file`` into ``net``, and return their sha256 and the scenes that they have seen.

    Raises
    ------
    S2SharpError
        ``weights-missing``, or ``weights-corrupt`` for those of another network.
    """
    before, sha256 = load_net(file)
    before = before.net if isinstance(before, GuardedNet) else before
    # The sensor is that of the scene.
    alike = {**before.config, "sensor": None} == {**net.config, "sensor": None}
    if type(before) is not type(net) or not alike:
        raise S2SharpError(
            "weights-corrupt",
            f"{file} holds a network of {before.config}, not of {net.config}.",
            "Give weights of the same method to begin from.",
        )
    net.load_state_dict(before.state_dict())
    card = json.loads(file.with_suffix(".json").read_text())
    return sha256, set(card.get("scenes", ()))


def _cause(
    method: Method, net: Any, sample: Sample, sensor: Sensor, options: FitOptions, start: str | None
) -> dict[str, Any]:
    """Return all that determines a fit, in the form in which its card is read; ``start``: sha256."""
    cause = {
        "method": method.name,
        "software": version("s2sharp"),
        "constants": dict(method.constants),
        "network": net.config,
        "sensor": asdict(sensor),
        "steps": options.steps,
        "seed": options.seed,
        "start": start,
        "sample": sample.digest,
        "windows": len(sample),
        "window_cells": sample.cells,
    }
    known: dict[str, Any] = json.loads(json.dumps(cause))
    return known


def _done(file: Path, cause: dict[str, Any]) -> bool:
    """Return whether this very fit has been made before."""
    try:
        card = json.loads(file.with_suffix(".json").read_text())
        load_net(file)
    except (S2SharpError, OSError, ValueError):
        return False
    return bool(card.get("cause") == cause)


def fitted(
    method: Method,
    *,
    nets: Mapping[str, Callable[[], Any]],
    learn: Learn,
    guard: bool = False,
    start: Path | None = None,
    constants: Mapping[str, Any] = MappingProxyType({}),
) -> Method:
    """Return a method that learns on the scene, with its functions.

    Parameters
    ----------
    nets
        File name → function that builds the untrained network. Only networks that return a wanted band are fitted.
    learn
        Function that fits one of them.
    guard
        Whether interpolation or the closed form replaces the net for bands that they give better at reduced
        resolution.
    start
        Folder of the weights that a fit begins from if its options name none.
    constants
        Numbers in the method's code, or lists of them, that determine its weights; other numbers make another fit.
    """
    method = replace(method, constants={**CONSTANTS, **constants})
    name = method.name

    def wanted(bands: tuple[str, ...]) -> dict[str, Any]:
        made = {file: build() for file, build in nets.items()}
        mine = {file: net for file, net in made.items() if set(net.bands) & set(bands)}
        return {file: GuardedNet(net) for file, net in mine.items()} if guard else mine

    def load(bands: tuple[str, ...], weights: Path | None, device: str) -> Sharpener:
        if weights is None:
            raise S2SharpError(
                "not-fitted",
                f"{name} learns on the scene and has no weights before a fit.",
                "`s2sharp run` fits it. For your own scene, use fit_sharpener(scene, "
                f'"{name}"). Or give the folder of an earlier fit as weights.',
            )
        return NetSharpener.load(name, bands, weights, wanted(bands), device)

    def blank(bands: tuple[str, ...], device: str) -> Sharpener:
        return NetSharpener(name, bands, wanted(bands), {}, Path(), device)

    def fit(
        sample: Sample,
        sensor: Sensor,
        bands: tuple[str, ...],
        options: FitOptions,
        folder: Path,
        device: str,
        tell: Tell,
    ) -> None:
        sample.at_least(method.smallest, name)
        count = options.steps or method.steps
        method.check_steps(count)
        options = replace(options, steps=count)
        exact(device)
        begin = options.start or start
        folder.mkdir(parents=True, exist_ok=True)
        sample = Sample(*(y.to(device) for y in sample.by_gsd.values()))
        for file in wanted(bands):
            torch.manual_seed(options.seed)
            net = nets[file]()
            sha256, before = _begin(net, begin / file) if begin else (None, set())
            cause = _cause(method, net, sample, sensor, options, sha256)
            if _done(folder / file, cause):
                continue
            if hasattr(net, "sensor"):
                net.sensor = sensor
            checkpoint = (folder / file).with_suffix(f".{digest_of(cause)[:12]}.checkpoint")
            net = net.to(device).to(memory_format=torch.channels_last)
            curve = learn(net, sample, sensor, FitCourse(count, options.seed, checkpoint, tell))
            about = {
                "method": name,
                "scenes": sorted(before.union(options.scenes)),
                "start_scenes": sorted(before),
                "cause": cause,
                "result": curve.card(),
                "protocol": options.protocol,
            }
            if guard:
                net, errors = guarded(net.eval(), sample, sensor)
                about |= {"one_level_down_rmse_dn": errors, "instead": net.instead}
            curve.write((folder / file).with_suffix(".loss.csv"))
            save_net(net.cpu(), folder / file, about)
            checkpoint.unlink(missing_ok=True)

    return replace(method, load=load, fit=fit, blank=blank)
