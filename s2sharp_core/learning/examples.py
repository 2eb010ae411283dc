"""Training examples of s2net: scenes and landscapes, seen by sensors like those of products."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..bands import BANDS, BY_GSD, COARSE, GSDS, rows_of
from ..networks.detail_transfer import PLANES
from ..sensor.observation import degrade
from ..sensor.response import SENTINEL2, Response, Sensor
from ..sensor.simulate import landscape, observe


@dataclass(frozen=True)
class Example:
    """A scene and its answer: inputs by GSD (bands, h, w), the eight coarse bands (8, 6h, 6w), and the sensor.

    ``sensor`` is nearly the one of the inputs, as a measurement would give it. ``counts`` are those of the eight
    bands whose answer is as sharp as the guides.
    """

    inputs: Mapping[int, Tensor]
    truth: Tensor
    sensor: Sensor = SENTINEL2
    counts: tuple[int, ...] = tuple(range(8))


# Kernels among products (python -m tests.benchmarks.sensor), in pixels of the band: standard deviations of blur and
# edge around the known values, of shifts, and of the error of a measurement.
_BLUR, _EDGE, _SHIFT = 0.02, 0.01, 0.05
_BLUR_TOLD, _SHIFT_TOLD = 0.012, 0.008


def _sensors(
    random: np.random.Generator, bands: Sequence[str], noise: float
) -> tuple[Sensor, Sensor]:
    """Return a random sensor like those of products, and its values as a measurement would give them.

    All bands of 20 m have the kernel of one focal plane, that of ``bands``.
    """
    near = SENTINEL2.mean(bands)
    blur = float(near.blur + random.normal(0, _BLUR))
    edge = float(near.edge + random.normal(0, _EDGE))
    true, told, levels, guessed = [], [], [], []
    for band in COARSE:
        wide = blur if BANDS[band].gsd == 20 else BANDS[band].blur
        dy, dx = (float(d) for d in random.normal(0, _SHIFT, 2).clip(-0.3, 0.3))
        true.append(Response(band, wide, edge, dy, dx))
        off = [float(x) for x in random.normal(0, 1, 4)]
        moved = dy + _SHIFT_TOLD * off[1], dx + _SHIFT_TOLD * off[2]
        told.append(Response(band, wide + _BLUR_TOLD * off[0], edge, *moved))
        level = noise * float(10 ** random.uniform(-1.5, 0))
        levels.append((band, level))
        guessed.append((band, level * float(np.exp(0.3 * off[3]))))
    known = Sensor(responses=tuple(true), noise=tuple(levels))
    return known, Sensor(responses=tuple(told), noise=tuple(guessed))


def _in_one_plane(sensor: Sensor, bands: Sequence[str]) -> Sensor:
    """Return a sensor that sees all 20 m bands with the mean kernel of ``bands``, without a shift."""
    near = sensor.mean(bands)
    return Sensor(responses=tuple(Response(band, near.blur, near.edge) for band in BY_GSD[20]))


def _turned(x: Tensor, way: int) -> Tensor:
    """Return one of the eight orientations of a square; ``way`` 0: unchanged."""
    x = torch.rot90(x, way % 4, (-2, -1))
    return torch.flip(x, (-1,)) if way >= 4 else x


def scene_variants(
    scene: Mapping[int, np.ndarray | Tensor],
    count: int,
    seed: int,
    sensor: Sensor | None = None,
    *,
    mix: float = 0.15,
    noise: float = 8e-4,
) -> Iterable[Example]:
    """Yield ``count`` variants of a scene at half its resolution, each with another sensor.

    A coarse band is played by itself, and the guides by 10 m bands degraded with its kernel, because only then are
    they as sharp as the answer. So variants alternate between the focal planes, and the bands of one plane count.
    Variant k of every scene has the same sensor, so windows of many scenes can be processed together.

    Parameters
    ----------
    scene
        GSD → float32 reflectance (4, 6h, 6w), (6, 3h, 3w), (2, h, w), without gaps.
    sensor
        Sensor of all variants, known exactly, without shifts and noise.
    mix
        Standard deviation of the share of every other band in a band.
    noise
        Largest noise of a band, reflectance.
    """
    random = np.random.default_rng(seed)
    cells = [side // 2 for side in scene[60].shape[1:]]
    native = {
        g: torch.as_tensor(scene[g])[:, : cells[0] * 120 // g, : cells[1] * 120 // g].float()
        for g in GSDS
    }
    for variant in range(count):
        plane = PLANES[variant % 2]
        true, told = _sensors(np.random.default_rng([variant, 7]), plane, noise)
        if sensor:
            true = told = _in_one_plane(sensor, plane)
        bands = dict(native)
        if variant:
            for g in (10, 20):
                shares = random.normal(0, mix, (len(bands[g]),) * 2)
                mixing = torch.eye(len(bands[g])) + torch.as_tensor(shares, dtype=torch.float32)
                bands[g] = torch.einsum("ij,jyx->iyx", mixing, bands[g]).clamp_min(1e-4)
        guides = degrade(bands[10][None], ("B05",) * 4, 2, _in_one_plane(true, plane))[0]
        inputs = {10: guides, 20: degrade(bands[20][None], BY_GSD[20], 2, true)[0]}
        at = [BY_GSD[20].index(band) for band in plane]
        played = _mixtures(torch.cat([guides, bands[20][at]]), random)
        inputs[60] = degrade(played[None], BY_GSD[60], 6, true)[0]
        if not sensor:
            inputs = _noisy(inputs, true, random)
        way = int(np.random.default_rng([variant, 8]).integers(8))
        truth = torch.cat([bands[20], played])
        turned = {g: _turned(y, way) for g, y in inputs.items()}
        yield Example(turned, _turned(truth, way), _turned_sensor(told, way), (*at, 6, 7))


def _noisy(
    inputs: Mapping[int, Tensor], sensor: Sensor, random: np.random.Generator
) -> dict[int, Tensor]:
    """Add white noise to every band: that of the sensor in the coarse ones, half of the quietest in the guides."""
    noisy = {}
    for g, y in inputs.items():
        levels = sensor.noise_of(BY_GSD[g])
        if g == 10:
            levels = (min(level for _, level in sensor.noise) / 2,) * len(y)
        noise = random.standard_normal(tuple(y.shape)) * np.array(levels)[:, None, None]
        noisy[g] = y + torch.as_tensor(noise, dtype=torch.float32)
    return noisy


def _turned_sensor(sensor: Sensor, way: int) -> Sensor:
    """Return the sensor of a scene that :func:`_turned` has turned: its shifts turn with it."""

    def turned(r: Response) -> Response:
        dy, dx = r.dy, r.dx
        for _ in range(way % 4):
            dy, dx = -dx, dy
        return replace(r, dy=dy, dx=-dx if way >= 4 else dx)

    return replace(sensor, responses=tuple(map(turned, sensor.responses)))


def _mixtures(bands: Tensor, random: np.random.Generator) -> Tensor:
    """Return mixtures of two bands that the others explain in large part, but not fully: (n, y, x) → (2, y, x)."""
    shares = torch.as_tensor(random.dirichlet(np.full(len(bands), 0.4), 2), dtype=torch.float32)
    mixed = torch.einsum("ij,jyx->iyx", shares, bands)
    power = torch.as_tensor(random.uniform(0.7, 1.5, (2, 1, 1)), dtype=torch.float32)
    mean = mixed.mean(dim=(1, 2), keepdim=True)
    return mean * (mixed / mean).clamp_min(1e-3) ** power


def landscapes(count: int, cells: int = 48, seed: int = 0) -> Iterable[Example]:
    """Yield synthetic landscapes with their 10 m truth; seeds from 10 000 on, so that a user's own are unseen.

    They are observed with the default sensor and the instrument's noise.
    """
    coarse = rows_of(BY_GSD[20] + BY_GSD[60])
    for i in range(count):
        truth = landscape((6 * cells, 6 * cells), 10_000 + seed + i)
        seen = observe(truth, seed=10_000 + seed + i)
        inputs = {g: torch.from_numpy(y) for g, y in seen.items()}
        yield Example(inputs, torch.from_numpy(truth[coarse]))
