"""Training of :class:`~s2sharp_core.networks.S2Net`: scenes at half their resolution, in many variants.

A net soon memorises a few scenes. So each scene is shown in many variants: turned and mirrored, with bands mixed with
one another (other spectra), and with noise. The 60 m bands have hardly any pixels left when they are degraded by six.
So mixtures of the other bands play them, degraded by their point spread functions, with a known truth. Synthetic
landscapes are added.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bands import BY_GSD, GSDS
from ..errors import S2SharpError
from ..networks import S2Net
from ..networks.s2net import Detail
from ..sensor.response import Sensor
from ..sensor.sample import Sample
from ..weights.store import read_tensors, write_tensors
from .examples import Example, landscapes, scene_variants
from .fitting import Curve, optimise
from .options import FitCourse, Tell, silent

SIZES = {"s2net-s": (24, 2), "s2net-m": (48, 4), "s2net-l": (64, 5)}
"""Method → features and blocks of its net."""

# Side in cells of the smallest image for training.
_SMALLEST = 8

_ADAPT_RATE = 3e-4
# Number of checks on the held-out part without an improvement, and the ratio that counts as one over the first
# weights.
_PATIENCE = 4
_WORTH = 0.995

ADAPT_CONSTANTS = MappingProxyType({"rate": _ADAPT_RATE, "patience": _PATIENCE, "worth": _WORTH})
"""Numbers that its result depends on, besides its arguments."""


@dataclass(frozen=True)
class S2Recipe:
    """Recipe of the training of an s2net; it goes into the model card.

    A step uses ``batch`` windows of ``cells`` a side; ``synthetic`` landscapes are added to the scenes.
    """

    features: int
    blocks: int
    steps: int = 800
    batch: int = 8
    cells: int = 16
    rate: float = 2e-3
    variants: int = 12
    mix: float = 0.15
    noise: float = 8e-4
    synthetic: int = 12
    seed: int = 0

    def card(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Prepared:
    """An example up to the input of the network: everything that does not change in training, without the first axis.

    ``unit`` (8, 1, 1): root mean square error of local regression alone, the unit of errors.
    """

    detail: Detail
    y20: Tensor
    truth: Tensor
    unit: Tensor
    sensor: Sensor
    counts: tuple[int, ...]

    @property
    def cells(self) -> tuple[int, int]:
        """Return height and width in cells."""
        return self.y20.shape[-2] // 3, self.y20.shape[-1] // 3


@torch.no_grad()
def prepared(net: S2Net, examples: Iterable[Example], device: str = "cpu") -> list[Prepared]:
    """Compute the local regression of each."""
    found = []
    for example in examples:
        y10, y20, y60 = (example.inputs[g][None].to(device) for g in GSDS)
        truth = example.truth.to(device)
        net.see_with(example.sensor)
        detail = net.detail(y10, y20, y60)
        none = torch.zeros_like(detail.amplitude).repeat_interleave(4, dim=1)
        plain = net.finished(detail, none, y20)[0]
        unit = (plain - truth).square().mean(dim=(1, 2), keepdim=True).sqrt() + 1e-5
        inputs = tuple(x[0].bfloat16() for x in detail.inputs)
        detail = Detail(inputs, detail.picture[0], detail.amplitude[0], detail.doubt[0])
        found.append(Prepared(detail, y20[0], truth, unit, example.sensor, example.counts))
    return found


def error(
    net: S2Net,
    examples: Sequence[Prepared],
    random: torch.Generator,
    *,
    batch: int = 8,
    cells: int = 16,
    rim: int = 2,
) -> Tensor:
    """Return the error of ``batch`` random windows of ``cells``, less ``rim`` cells, over that of local regression
    alone.

    It is the mean of the absolute error and of each window's root mean square. The windows are cut from examples of
    one sensor, drawn by their size. Smaller examples give smaller windows, and more of them.
    """
    sizes = torch.tensor([float(math.prod(e.cells)) for e in examples])
    first = examples[int(torch.multinomial(sizes, 1, generator=random))]
    side = min(cells, *first.cells)
    pool = [e for e in examples if e.sensor == first.sensor and min(e.cells) >= side]
    count = max(1, round(batch * (cells / side) ** 2))
    sizes = torch.tensor([float(math.prod(e.cells)) for e in pool])
    drawn = torch.multinomial(sizes, count, replacement=True, generator=random).tolist()
    inner = slice(6 * rim, 6 * (side - rim))
    windows = [_window(pool[at], side, random) for at in drawn]
    off = _errors(net, windows)[:, list(first.counts), inner, inner]
    return (off.abs().mean() + (off.square().mean(dim=(2, 3)) + 1e-6).sqrt().mean()) / 2


def _errors(net: S2Net, examples: Sequence[Prepared]) -> Tensor:
    """Return the errors of ``net`` over those of local regression alone: (n, 8, 6h, 6w), for examples of one size and
    sensor.
    """

    def stacked(of: Iterable[Any], *names: str) -> tuple[Tensor, ...]:
        return tuple(torch.stack([getattr(one, name) for one in of]) for name in names)

    details = [e.detail for e in examples]
    inputs = tuple(
        torch.stack(band).float() for band in zip(*(d.inputs for d in details), strict=True)
    )
    detail = Detail(inputs, *stacked(details, "picture", "amplitude", "doubt"))
    y20, truth, unit = stacked(examples, "y20", "truth", "unit")
    net.see_with(examples[0].sensor)
    return (net.finished(detail, net.correction(inputs), y20) - truth) / unit


def _window(example: Prepared, side: int, random: torch.Generator) -> Prepared:
    """Return a random window of ``side`` cells."""
    ends = [length - side + 1 for length in example.cells]
    row, col = (int(torch.randint(end, (), generator=random)) for end in ends)

    def cut(x: Tensor, n: int = 3) -> Tensor:
        return x[:, n * row : n * (row + side), n * col : n * (col + side)]

    d = example.detail
    detail = Detail(tuple(map(cut, d.inputs)), cut(d.picture), cut(d.amplitude), cut(d.doubt))
    return replace(example, detail=detail, y20=cut(example.y20), truth=cut(example.truth, 6))


def train_net(
    recipe: S2Recipe,
    scenes: Sequence[Mapping[int, np.ndarray]],
    checkpoint: Path | None = None,
    tell: Tell = silent,
    device: str = "cpu",
) -> tuple[S2Net, Curve]:
    """Train an s2net on ``scenes`` and landscapes; with a ``checkpoint`` file, it can be stopped and resumed.

    Parameters
    ----------
    scenes
        GSD → float32 reflectance (bands, y, x) without gaps, of at least 16 cells a side.
    """
    if not scenes and not recipe.synthetic:
        raise S2SharpError(
            "no-data", "There is nothing to train on.", "Give scenes or --synthetic N."
        )
    small = [s[60].shape[1:] for s in scenes if min(s[60].shape[1:]) < 2 * _SMALLEST]
    if small:
        raise S2SharpError(
            "scene-too-small",
            f"A scene of {small[0]} cells is too small to learn from at half its resolution.",
            f"Train on scenes of at least {2 * _SMALLEST} cells ({120 * _SMALLEST} m) a side.",
        )
    torch.manual_seed(recipe.seed)
    net = S2Net(recipe.features, recipe.blocks).to(device)
    net.arithmetic = "bfloat16"
    variants = (
        example
        for i, scene in enumerate(scenes)
        for example in scene_variants(
            scene, recipe.variants, recipe.seed + i, mix=recipe.mix, noise=recipe.noise
        )
    )
    examples = prepared(net, variants, device)
    examples += prepared(net, landscapes(recipe.synthetic, seed=recipe.seed), device)

    def loss(random: torch.Generator) -> Tensor:
        return error(net, examples, random, batch=recipe.batch, cells=recipe.cells)

    course = FitCourse(recipe.steps, recipe.seed, checkpoint, tell)
    curve = optimise(net, loss, course, rate=recipe.rate)
    net.learn_ranges([example.detail.inputs for example in examples])
    return net.cpu().eval(), curve


class _EnoughError(Exception):
    """Raised when the error on the held-out part no longer improves."""


def adapt(net: S2Net, sample: Sample, sensor: Sensor, course: FitCourse) -> Curve:
    """Train a net further on the scene itself at reduced resolution: its 20 m bands at 40 m.

    A quarter of the data is held out, and the error on it is checked every 20 steps. After ``_PATIENCE`` checks
    without an improvement, training ends and the best weights are kept. The first weights are kept unless others are
    better by 0.5 %. So no reference is needed, and useless training changes nothing. The network of the 60 m bands is
    unchanged, because a scene degraded by six leaves too few of their pixels.

    Parameters
    ----------
    net
        The net, changed in place.
    sample
        Windows of at least 24 cells a side.
    """
    net.arithmetic = "bfloat16"
    net.forget_ranges()
    for p in net.of60.parameters():
        p.requires_grad_(False)
    learned, held = _parted(net, sample, sensor, course.seed)
    before = _missed(net, held)
    kept = course.checkpoint.with_suffix(".best") if course.checkpoint else None
    best = (_Best.read(kept) if kept else None) or _Best.of(before * _WORTH, net, 0)
    curve: list[tuple[int, float]] = []

    def look(step: int, steps: int, value: float) -> None:
        nonlocal best
        curve.append((step, value))
        found = _missed(net, held)
        if found < best.error:
            best = _Best.of(found, net, step)
            if kept:
                best.write(kept)
        course.tell(step, steps, found)
        if step - best.step >= _PATIENCE * curve[0][0]:
            raise _EnoughError

    cells = min(16, *(side for e in learned for side in e.cells))

    def loss(random: torch.Generator) -> Tensor:
        return error(net, learned, random, cells=cells, rim=1)

    with suppress(_EnoughError):
        optimise(net, loss, replace(course, tell=look), rate=_ADAPT_RATE)
    net.load_state_dict(best.state)
    if kept:
        kept.unlink(missing_ok=True)
    after = best.error if best.step else before
    facts = {"held_out_before": before, "held_out_after": after, "kept_step": best.step}
    steps, values = zip(*curve, strict=True)
    return Curve(steps, values, 1.0, facts=facts)


@torch.no_grad()
def _missed(net: S2Net, examples: Iterable[Prepared]) -> float:
    """Return the mean absolute error on whole examples, over that of local regression alone."""
    each = [_errors(net, [e])[0][list(e.counts)].abs().mean() for e in examples]
    return float(np.mean([float(x) for x in each]))


@dataclass(frozen=True)
class _Best:
    """The least error on the held-out part, with its weights and step; 0: the first weights."""

    error: float
    state: Mapping[str, Tensor]
    step: int

    @classmethod
    def of(cls, error: float, net: S2Net, step: int) -> "_Best":
        return cls(error, {name: x.clone() for name, x in net.state_dict().items()}, step)

    def write(self, file: Path) -> None:
        write_tensors(file, self.state, {"error": repr(self.error), "step": str(self.step)})

    @classmethod
    def read(cls, file: Path) -> "_Best | None":
        """Return what :meth:`write` wrote; None if the file is missing or torn."""
        found = read_tensors(file)
        if found is None or not {"error", "step"} <= found[1].keys():
            return None
        state, facts = found
        return cls(float(facts["error"]), state, int(facts["step"]))


def _parted(
    net: S2Net, sample: Sample, sensor: Sensor, seed: int
) -> tuple[list[Prepared], list[Prepared]]:
    """Return training examples, in both orientations, and held-out examples: each fourth window, or the last rows. Only
    20 m bands count.
    """
    windows = [{g: y.cpu() for g, y in window.items()} for window in sample.windows()]
    held = windows[3::4]
    learned = [w for i, w in enumerate(windows) if i % 4 != 3]
    if not held:
        rows = sample.cells[0] // 8 * 2
        held = [{g: y[:, -rows * 60 // g :] for g, y in w.items()} for w in windows]
        learned = [{g: y[:, : -rows * 60 // g] for g, y in w.items()} for w in windows]

    def examples(scenes: list[dict[int, Tensor]], count: int) -> list[Prepared]:
        device = str(sample.y60.device)
        found = (
            replace(example, counts=tuple(b for b in example.counts if b < len(BY_GSD[20])))
            for i, scene in enumerate(scenes)
            for k in range(count)
            for example in scene_variants(scene, 2, seed + 100 * i + k, sensor)
        )
        return prepared(net, found, device)

    return examples(learned, 3), examples(held, 1)
