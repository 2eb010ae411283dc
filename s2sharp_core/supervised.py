"""Teaching :class:`~s2sharp_core.networks.S2Net`: scenes seen twice as coarse, and variety.

A few scenes are soon known by heart. So each is shown in many variants: turned and mirrored, its bands mixed with one
another (other spectra), noise added; and the 60 m bands, which have hardly any pixels left when they are seen
six times coarser, are played by mixtures of the other bands, seen through their point spread functions, whose
truth is known. Synthetic landscapes stand beside them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .bands import BANDS, BY_GSD, GSDS
from .networks import S2Net
from .networks.s2net import Detail
from .observation import degrade, upsample
from .simulate import landscape, observe

__all__ = ["Example", "Variety", "error", "examples_of", "landscapes", "prepare", "scene_variants"]


@dataclass(frozen=True)
class Example:
    """A scene and its answer: inputs by GSD (bands, h, w), and the eight coarse bands (8, 6h, 6w)."""

    inputs: Mapping[int, Tensor]
    truth: Tensor


@dataclass(frozen=True)
class Variety:
    """How variants of a scene differ: ``count`` of them, standard deviations of what is varied.

    ``mix``: share of every other band in a band; ``noise``: largest noise of a band, reflectance.
    """

    count: int = 10
    mix: float = 0.15
    noise: float = 5e-4


def _turned(x: Tensor, way: int) -> Tensor:
    """One of the eight ways to lay a square down; ``way`` 0: as it is."""
    x = torch.rot90(x, way % 4, (-2, -1))
    return torch.flip(x, (-1,)) if way >= 4 else x


def scene_variants(
    scene: Mapping[int, np.ndarray | Tensor], variety: Variety, seed: int
) -> Iterable[Example]:
    """A scene seen twice as coarse, again and again, the first time as it is.

    Parameters
    ----------
    scene
        GSD → float32 reflectance (4, 6h, 6w), (6, 3h, 3w), (2, h, w), without gaps.
    """
    random = np.random.default_rng(seed)
    cells = [side // 2 for side in scene[60].shape[1:]]
    native = {
        g: torch.as_tensor(scene[g])[:, : cells[0] * 120 // g, : cells[1] * 120 // g].float()
        for g in GSDS
    }
    for variant in range(variety.count):
        bands = dict(native)
        if variant:
            for g in (10, 20):
                shares = random.normal(0, variety.mix, (len(bands[g]),) * 2)
                mixing = torch.eye(len(bands[g])) + torch.as_tensor(shares, dtype=torch.float32)
                bands[g] = torch.einsum("ij,jyx->iyx", mixing, bands[g]).clamp_min(1e-4)
        inputs = {g: degrade(bands[g][None], BY_GSD[g], 2)[0] for g in (10, 20)}
        played = _mixtures(torch.cat([inputs[10], bands[20]]), random)
        inputs[60] = degrade(played[None], BY_GSD[60], 6)[0]
        if variant:
            for g in GSDS:
                level = random.uniform(0, variety.noise, (len(inputs[g]), 1, 1))
                noise = level * random.standard_normal(tuple(inputs[g].shape))
                inputs[g] = inputs[g] + torch.as_tensor(noise, dtype=torch.float32)
        way = int(random.integers(8))
        truth = torch.cat([bands[20], played])
        yield Example({g: _turned(y, way) for g, y in inputs.items()}, _turned(truth, way))


def _mixtures(bands: Tensor, random: np.random.Generator) -> Tensor:
    """Two bands that the others tell much of but not all: (n, y, x) → (2, y, x)."""
    shares = torch.as_tensor(random.dirichlet(np.full(len(bands), 0.4), 2), dtype=torch.float32)
    mixed = torch.einsum("ij,jyx->iyx", shares, bands)
    power = torch.as_tensor(random.uniform(0.7, 1.5, (2, 1, 1)), dtype=torch.float32)
    mean = mixed.mean(dim=(1, 2), keepdim=True)
    return mean * (mixed / mean).clamp_min(1e-3) ** power


def landscapes(count: int, cells: int = 48, seed: int = 0) -> Iterable[Example]:
    """Synthetic landscapes with their 10 m truth; seeds from 10 000 on, so that a user's own are unseen."""
    names = list(BANDS)
    coarse = [names.index(band) for g in (20, 60) for band in BY_GSD[g]]
    for i in range(count):
        truth = landscape((6 * cells, 6 * cells), 10_000 + seed + i)
        seen = observe(truth, seed=10_000 + seed + i)
        inputs = {g: torch.from_numpy(y) for g, y in seen.items()}
        yield Example(inputs, torch.from_numpy(truth[coarse]))


@dataclass(frozen=True)
class Prepared:
    """An example up to the network: what does not change while this learns, without the first axis."""

    detail: Detail
    y20: Tensor
    y60: Tensor
    truth: Tensor
    unit: Tensor


@torch.no_grad()
def prepare(net: S2Net, example: Example, device: str = "cpu") -> Prepared:
    """Local regression of an example, and the unit of its errors: those of bicubic interpolation, (8, 1, 1)."""
    y10, y20, y60 = (example.inputs[g][None].to(device) for g in GSDS)
    floor = torch.cat([upsample(y20, 2), upsample(y60, 6)], dim=1)[0]
    truth = example.truth.to(device)
    unit = (truth - floor).abs().mean(dim=(1, 2), keepdim=True) + 1e-5
    detail = net.detail(y10, y20, y60)
    return Prepared(
        Detail(detail.inputs[0].bfloat16(), detail.picture[0], detail.amplitude[0]),
        y20[0],
        y60[0],
        truth,
        unit,
    )


def examples_of(net: S2Net, examples: Iterable[Example], device: str = "cpu") -> list[Prepared]:
    """All of ``examples``, prepared."""
    return [prepare(net, example, device) for example in examples]


def error(
    net: S2Net,
    examples: Sequence[Prepared],
    random: torch.Generator,
    *,
    batch: int = 8,
    cells: int = 16,
    rim: int = 2,
) -> Tensor:
    """Mean absolute error of ``batch`` random windows of ``cells``, less ``rim`` cells, over bicubic's."""
    sizes = torch.tensor([float(e.y60[0].numel()) for e in examples])
    parts = []
    for at in torch.multinomial(sizes, batch, replacement=True, generator=random).tolist():
        example = examples[at]
        ends = [side - cells + 1 for side in example.y60.shape[1:]]
        row, col = (int(torch.randint(end, (), generator=random)) for end in ends)

        def cut(x: Tensor, n: int, row: int = row, col: int = col) -> Tensor:
            return x[:, n * row : n * (row + cells), n * col : n * (col + cells)]

        d = example.detail
        parts.append(
            (
                cut(d.inputs, 3),
                cut(d.picture, 3),
                cut(d.amplitude, 3),
                cut(example.y20, 3),
                cut(example.truth, 6),
                example.unit,
            )
        )
    inputs, picture, amplitude, y20, truth, unit = map(torch.stack, zip(*parts, strict=True))
    with torch.autocast(inputs.device.type, torch.bfloat16):
        correction = net.correction(inputs)
    x = net.finished(Detail(inputs, picture, amplitude), correction, y20)
    inner = slice(6 * rim, 6 * (cells - rim))
    return ((x - truth) / unit)[..., inner, inner].abs().mean()
