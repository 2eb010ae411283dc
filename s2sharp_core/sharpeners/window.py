"""A method that learns anew on every window."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..bands import BY_GSD, GSDS
from ..errors import S2SharpError
from ..learning.options import FitOptions, silent
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from ..weights.store import load_net
from .base import Sharpener
from .methods import METHODS, Method
from .net import NetSharpener


class WindowFitted(Sharpener):
    """A method that learns anew on every window: nothing to prepare, slow, and with seams.

    Two windows have their own weights, so a line shows where they meet. ``tolerance`` is unknown and counts as
    infinite.

    Parameters
    ----------
    threads
        Number of threads of a fit; another number gives other weights. None: the number set at the time, which
        :attr:`digest` then does not include.
    """

    tolerance = math.inf
    # A fit sets the process's threads.
    abreast = False

    def __init__(
        self,
        method: Method,
        bands: tuple[str, ...],
        options: FitOptions,
        device: str,
        threads: int | None = None,
    ) -> None:
        if method.fit is None or method.blank is None:
            raise S2SharpError(
                "bad-config",
                f"{method.name} has nothing to fit.",
                "Leave --fit out, or choose a method that learns on the scene.",
            )
        method.check_steps(options.steps)
        blank = method.blank(bands, device)
        self.method, self.fit, self.options, self.threads = method, method.fit, options, threads
        self.name, self.bands, self.device = method.name, bands, device
        self.reads, self.halo, self.period = blank.reads, blank.halo, blank.period
        facts = f"per window, {options.steps or method.steps} steps, seed {options.seed}"
        if threads:
            facts += f", {threads} threads"
        self.weights = {"fitted": facts}
        if options.start and isinstance(blank, NetSharpener):
            for file in blank.files:
                self.weights[f"start {file}"] = load_net(options.start / file)[1]

    def sharpen(
        self, y10: Tensor, y20: Tensor, y60: Tensor, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        with TemporaryDirectory() as folder:
            with torch.inference_mode(mode=False), _threads(self.threads):
                sample = Sample(*map(_whole, (y10, y20, y60), GSDS))
                given = (sample, self.sensor, self.bands, self.options, Path(folder), self.device)
                self.fit(*given, silent)
            ready = self.method.load(self.bands, Path(folder), self.device)
            with torch.inference_mode():
                return ready.sharpen(y10, y20, y60, known)

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        facts = (self.name, self.bands, self.options, self.device, self.threads, self.sensor)
        return _per_window, facts


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute on ``count`` threads meanwhile, if it is not None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _whole(y: Tensor, gsd: int) -> Tensor:
    """Return all bands of one GSD, with zeros if none is read."""
    bands = len(BY_GSD[gsd])
    return y.clone() if y.shape[1] == bands else y.new_zeros(y.shape[0], bands, *y.shape[2:])


def _per_window(
    name: str,
    bands: tuple[str, ...],
    options: FitOptions,
    device: str,
    threads: int | None,
    sensor: Sensor,
) -> WindowFitted:
    restored = WindowFitted(METHODS[name], bands, options, device, threads)
    restored.see_with(sensor)
    return restored
