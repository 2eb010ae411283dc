"""Check of a fitted network, as far as possible without a truth.

The sample is degraded with its own sensor, so that its native bands are the answer (Wald's protocol). The fitted
network, interpolation, and the closed form (regression and kriging, fitted to the same degraded sample) estimate
them. For each band, the best of the three is returned. So no method returns an image that it can know to be worse
than its own start. The check is a proxy, because coarser land is other land.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bands import BANDS, BY_GSD, GSDS, ratio
from ..learning.dsen2 import wald_pair
from ..networks import GuardedNet, KrigingNet
from ..networks.guarded import Instead
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from ..sensor.upsampling import upsample
from .closed_form import SMALLEST, learn

Errors = dict[str, dict[str, float]]
"""Band → "net", "bicubic" and, if windows are large enough to learn it, "atprk" → RMSE at reduced resolution, DN."""

# Number of compared pixels of the answer for each GSD, and its rim that is left out, because values beyond a window
# are guesses.
_PIXELS, _RIM = 150_000, 6


@torch.no_grad()
def compare(net: Any, sample: Sample, sensor: Sensor) -> Errors:
    """Return the errors of ``net``, interpolation and the closed form in the coarse bands, at reduced resolution.

    A GSD whose windows are too small to be degraded is left out.
    """
    found: Errors = {}
    for gsd in (20, 60):
        bands = [band for band in net.bands if BANDS[band].gsd == gsd]
        coarser = list(_coarser(sample, gsd, sensor)) if bands else []
        if not coarser:
            continue
        total: dict[str, Any] = {"net": 0.0, "bicubic": 0.0}
        closed = KrigingNet(gsd, sensor=sensor).to(sample.y10.device)
        if min(coarser[0][0][gsd].shape[1:]) >= SMALLEST:
            learn(closed, Sample(*(torch.stack([x[g] for x, _ in coarser]) for g in GSDS)))
            total["atprk"] = 0.0
        for inputs, truth in coarser:
            y10, y20, y60 = (inputs[g][None] for g in GSDS)
            given = dict(zip(net.bands, net(y10, y20, y60)[0], strict=True))
            own = torch.stack([given.get(band, truth[i]) for i, band in enumerate(BY_GSD[gsd])])
            total["net"] += _squares(own, truth)
            total["bicubic"] += _squares(upsample(inputs[gsd][None], ratio(gsd))[0], truth)
            if "atprk" in total:
                total["atprk"] += _squares(closed(y10, y20, y60)[0], truth)
        for band in bands:
            i = BY_GSD[gsd].index(band)
            found[band] = {
                name: round(1e4 * float(np.sqrt(squares[i] / len(coarser))), 3)
                for name, squares in total.items()
            }
    return found


def _coarser(
    sample: Sample, gsd: int, sensor: Sensor
) -> Iterator[tuple[Mapping[int, Tensor], Tensor]]:
    """Yield windows of the sample at reduced resolution, inputs and answer, up to the compared number."""
    if min(sample.cells) < 2 * ratio(gsd):
        return
    seen = 0
    for window in sample.windows():
        pair = wald_pair(window, gsd, sensor)
        yield pair.inputs, pair.truth
        seen += pair.truth[0].numel()
        if seen >= _PIXELS:
            return


def _squares(guess: Tensor, truth: Tensor) -> np.ndarray:
    """Return mean squared errors of bands (n, h, w), without the rim: (n,)."""
    rim = min(_RIM, (min(truth.shape[1:]) - 1) // 4)
    inner = (slice(None), slice(rim, -rim or None), slice(rim, -rim or None))
    return (guess - truth)[inner].double().square().mean(dim=(1, 2)).cpu().numpy()


def guarded(net: Any, sample: Sample, sensor: Sensor) -> tuple[GuardedNet, Errors]:
    """Return ``net`` with its check: for each band, the best at reduced resolution is returned."""
    errors = compare(net, sample, sensor)
    instead: dict[str, Instead] = {}
    for band, of_band in errors.items():
        others: tuple[Instead, ...] = ("atprk", "bicubic") if "atprk" in of_band else ("bicubic",)
        best = min(others, key=of_band.__getitem__)
        if not of_band["net"] < of_band[best]:
            instead[band] = best
    behind = GuardedNet(net, sensor, instead).to(sample.y10.device)
    for closed in behind.closed.values():
        if set(instead) & set(closed.bands):
            learn(closed, sample)
    return behind, errors


def guard_message(method: str, folder: Path, bands: Collection[str]) -> str:
    """Return the messages in the cards of a fit about ``bands``, for the user; empty if the network is best for all."""
    instead: dict[str, str] = {}
    for weights in sorted(folder.glob("*.safetensors")):
        card = json.loads(weights.with_suffix(".json").read_text())
        chosen = card.get("instead", {})
        instead |= {band: other for band, other in chosen.items() if band in bands}
    parts = [
        f"{', '.join(band for band, name in instead.items() if name == other)} by {other}"
        for other in sorted(set(instead.values()))
    ]
    if not parts:
        return ""
    return (
        f"{method} was fitted, but other methods gave some bands better at reduced resolution, where the answer is "
        f"known. They replace it: {'; '.join(parts)}."
    )
