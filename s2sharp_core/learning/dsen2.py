"""Supervised training by Wald's protocol: a scene at reduced resolution, with itself as the truth.

Wald, Ranchin and Mangolini (PERS 63, 1997) degrade every band by the ratio to be learned, so that the native band is
the answer. Synthetic landscapes, whose 10 m truth is known, need no degrading.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..bands import BANDS, BY_GSD, GSDS, ratio
from ..errors import S2SharpError
from ..networks import ResidualNet
from ..sensor.observation import degrade
from ..sensor.response import SENTINEL2, Sensor
from .examples import landscapes


@dataclass(frozen=True)
class Recipe:
    """Recipe of a training; it goes into the model card.

    ``gsd``: the learned bands (20 or 60). ``patch``: side of a training patch in cells. ``real_share``: the share of
    patches from real scenes, if there are any. ``jitter``: standard deviation of each band's random gain, as a
    fraction.
    """

    gsd: int
    features: int = 48
    blocks: int = 6
    steps: int = 2000
    batch: int = 8
    patch: int = 8
    rate: float = 1e-3
    jitter: float = 0.15
    real_share: float = 0.7
    synthetic: int = 12
    seed: int = 0

    def card(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Pair:
    """Inputs by GSD (bands, H, W) and the truth on the grid of the 10 m input: (bands, 6h, 6w)."""

    inputs: Mapping[int, Tensor]
    truth: Tensor


def wald_pair(
    scene: Mapping[int, np.ndarray | Tensor], gsd: int, sensor: Sensor = SENTINEL2
) -> Pair:
    """Return a scene degraded by ``gsd / 10``, with its native bands of that GSD as truth.

    Parameters
    ----------
    scene
        GSD → float32 reflectance (4, 6h, 6w), (6, 3h, 3w), (2, h, w), without gaps.
    """
    r = ratio(gsd)
    cells = [side // r for side in scene[60].shape[1:]]
    if min(cells) < 1:
        raise S2SharpError(
            "scene-too-small",
            f"A scene of {scene[60].shape[1:]} cells leaves none when it is degraded by {r}.",
            f"Train on scenes of at least {10 * r} cells ({600 * r} m) a side.",
        )
    inputs = {}
    for g in GSDS:
        n = 60 // g * r
        native = torch.as_tensor(scene[g])[:, : cells[0] * n, : cells[1] * n]
        inputs[g] = degrade(native[None], BY_GSD[g], r, sensor)[0]
    n = 60 // gsd * r
    return Pair(inputs, torch.as_tensor(scene[gsd])[:, : cells[0] * n, : cells[1] * n])


def synthetic_pairs(count: int, gsd: int, cells: int = 60, seed: int = 0) -> list[Pair]:
    """Return the :func:`landscapes` with the 10 m truth of one GSD, 20 or 60."""
    first = 0 if gsd == 20 else len(BY_GSD[20])
    wanted = slice(first, first + len(BY_GSD[gsd]))
    return [Pair(each.inputs, each.truth[wanted]) for each in landscapes(count, cells, seed)]


def _patch(
    pair: Pair, recipe: Recipe, rng: np.random.Generator
) -> tuple[dict[int, Tensor], Tensor]:
    """Return one random patch: cut on cells, turned, mirrored, with random gains of its bands."""
    height, width = pair.inputs[60].shape[1:]
    size = min(recipe.patch, height, width)
    row, col = rng.integers(height - size + 1), rng.integers(width - size + 1)
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
    gains = np.exp(rng.normal(0, recipe.jitter, len(BANDS)) + rng.normal(0, recipe.jitter))
    gain = dict(zip(BANDS, gains.astype(np.float32), strict=True))

    def cut(x: Tensor, n: int, bands: Sequence[str]) -> Tensor:
        x = x[:, row * n : (row + size) * n, col * n : (col + size) * n]
        x = torch.rot90(x, turns, (1, 2))
        x = torch.flip(x, (2,)) if mirror else x
        return x * torch.tensor([gain[b] for b in bands])[:, None, None]

    inputs = {g: cut(pair.inputs[g], 60 // g, BY_GSD[g]) for g in GSDS}
    return inputs, cut(pair.truth, 6, BY_GSD[recipe.gsd])


def train(
    recipe: Recipe,
    real: Sequence[Pair],
    synthetic: Sequence[Pair],
    progress: Callable[[int, float], None] | None = None,
) -> ResidualNet:
    """Train a residual net: L1 loss, AdamW, a one-cycle learning rate, bfloat16 activations.

    Parameters
    ----------
    recipe
        The recipe of the training.
    real, synthetic
        Pairs to draw patches from; one of the two may be empty.
    progress
        Called with (step, mean loss in reflectance since the last call) every 50 steps.
    """
    if not real and not synthetic:
        raise S2SharpError(
            "no-data", "There is nothing to train on.", "Give scenes or --synthetic N."
        )
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    net = ResidualNet(recipe.gsd, recipe.features, recipe.blocks)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.arithmetic = "bfloat16"
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=0.1
    )
    mean = 0.0
    for step in range(1, recipe.steps + 1):
        patches = []
        for _ in range(recipe.batch):
            pool = (
                real if not synthetic or (real and rng.random() < recipe.real_share) else synthetic
            )
            sizes = np.array([pair.inputs[60].numel() for pair in pool], dtype=float)
            pair = pool[rng.choice(len(pool), p=sizes / sizes.sum())]
            patches.append(_patch(pair, recipe, rng))
        inputs = {g: torch.stack([p[0][g] for p in patches]) for g in GSDS}
        truth = torch.stack([p[1] for p in patches])
        guess = net(inputs[10].to(memory_format=torch.channels_last), inputs[20], inputs[60])
        loss = F.l1_loss(guess, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        mean += loss.item() / 50
        if step % 50 == 0:
            if progress:
                progress(step, mean)
            mean = 0.0
    net.arithmetic = "float32"
    return net.to(memory_format=torch.contiguous_format).eval()
