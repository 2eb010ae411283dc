"""Teaching :class:`~s2sharp_core.networks.S2Net`: scenes seen twice as coarse, and variety.

A few scenes are soon known by heart. So each is shown in many variants: turned and mirrored, its bands mixed with one
another (other spectra), noise added; and the 60 m bands, which have hardly any pixels left when they are seen
six times coarser, are played by mixtures of the other bands, seen through their point spread functions, whose
truth is known. Synthetic landscapes stand beside them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .bands import BANDS, BY_GSD, GSDS
from .errors import S2SharpError
from .fitting import Curve, FitOptions, Sample, Tell, optimise
from .networks import S2Net
from .networks.s2net import Detail
from .observation import Sensor, degrade, upsample
from .simulate import landscape, observe

__all__ = [
    "ADAPT_CONSTANTS",
    "ADAPT_STEPS",
    "SIZES",
    "Example",
    "S2Recipe",
    "Variety",
    "adapt",
    "error",
    "landscapes",
    "prepared",
    "scene_variants",
    "teach",
]

SIZES = {"s2net-s": (24, 2), "s2net-m": (48, 4), "s2net-l": (64, 5)}
"""Method → features and blocks of its net."""

ADAPT_STEPS = 300
"""Steps of :func:`adapt` at most."""
_ADAPT_RATE = 3e-4
# Looks at what is held out without an improvement, and what counts as one over the weights before.
_PATIENCE = 4
_WORTH = 0.995

ADAPT_CONSTANTS = MappingProxyType({"rate": _ADAPT_RATE, "patience": _PATIENCE, "worth": _WORTH})
"""What its result follows from, besides its arguments."""


@dataclass(frozen=True)
class S2Recipe:
    """How an s2net is taught; goes into its model card.

    ``batch`` windows of ``cells`` a side make a step; ``synthetic`` landscapes stand beside the scenes.
    """

    features: int
    blocks: int
    steps: int = 400
    batch: int = 8
    cells: int = 16
    rate: float = 1e-3
    variants: int = 10
    mix: float = 0.15
    noise: float = 5e-4
    synthetic: int = 6
    seed: int = 0

    def card(self) -> dict[str, float]:
        return asdict(self)


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
def prepared(net: S2Net, examples: Iterable[Example], device: str = "cpu") -> list[Prepared]:
    """Local regression of each, and the unit of its errors: those of bicubic interpolation."""
    return [_prepared(net, example, device) for example in examples]


def _prepared(net: S2Net, example: Example, device: str) -> Prepared:
    y10, y20, y60 = (example.inputs[g][None].to(device) for g in GSDS)
    floor = torch.cat([upsample(y20, 2), upsample(y60, 6)], dim=1)[0]
    truth = example.truth.to(device)
    unit = (truth - floor).abs().mean(dim=(1, 2), keepdim=True) + 1e-5
    detail = net.detail(y10, y20, y60)
    inputs = detail.inputs[0].bfloat16()
    detail = Detail(inputs, detail.picture[0], detail.amplitude[0], detail.doubt[0])
    return Prepared(detail, y20[0], y60[0], truth, unit)


def error(
    net: S2Net,
    examples: Sequence[Prepared],
    random: torch.Generator,
    *,
    batch: int = 8,
    cells: int = 16,
    rim: int = 2,
    bands: slice = slice(None),
) -> Tensor:
    """Mean absolute error of ``batch`` random windows of ``cells``, less ``rim`` cells, over bicubic's.

    ``bands``: of the eight, those that count.
    """
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
    correction = net.correction(inputs.float())
    x = net.finished(Detail(inputs, picture, amplitude), correction, y20)
    inner = slice(6 * rim, 6 * (cells - rim))
    return ((x - truth) / unit)[:, bands, inner, inner].abs().mean()


def teach(
    recipe: S2Recipe,
    scenes: Sequence[Mapping[int, np.ndarray]],
    checkpoint: Path | None = None,
    tell: Tell = lambda *_: None,
    device: str = "cpu",
) -> tuple[S2Net, Curve]:
    """Train an s2net on ``scenes`` and landscapes; with a ``checkpoint`` file, it can be stopped and resumed.

    Parameters
    ----------
    scenes
        GSD → float32 reflectance (bands, y, x) without gaps, of at least 2 × ``recipe.cells`` cells a side.
    """
    if not scenes and not recipe.synthetic:
        raise S2SharpError(
            "no-data", "There is nothing to train on.", "Give scenes or --synthetic N."
        )
    small = [s[60].shape[1:] for s in scenes if min(s[60].shape[1:]) < 2 * recipe.cells]
    if small:
        raise S2SharpError(
            "scene-too-small",
            f"A scene of {small[0]} cells is too small to be seen twice as coarse and learned from.",
            f"Train on scenes of at least {2 * recipe.cells} cells ({120 * recipe.cells} m) a side.",
        )
    torch.manual_seed(recipe.seed)
    net = S2Net(recipe.features, recipe.blocks).to(device)
    net.arithmetic = "bfloat16"
    variety = Variety(recipe.variants, recipe.mix, recipe.noise)
    examples = [
        example
        for i, scene in enumerate(scenes)
        for example in prepared(net, scene_variants(scene, variety, recipe.seed + i), device)
    ]
    examples += prepared(net, landscapes(recipe.synthetic, seed=recipe.seed), device)

    def loss(random: torch.Generator) -> Tensor:
        return error(net, examples, random, batch=recipe.batch, cells=recipe.cells)

    curve = optimise(
        net,
        loss,
        steps=recipe.steps,
        rate=recipe.rate,
        seed=recipe.seed,
        checkpoint=checkpoint,
        tell=tell,
    )
    return net.cpu().eval(), curve


class _EnoughError(Exception):
    """What is held out does not get better any more."""


def adapt(
    net: S2Net,
    sample: Sample,
    sensor: Sensor,  # noqa: ARG001  (the net is made for one)
    options: FitOptions,
    checkpoint: Path | None = None,
    tell: Tell = lambda *_: None,
) -> Curve:
    """Go on teaching a net on the scene itself, one level down: its 20 m bands seen at 40 m.

    A quarter of what there is is held out. Every 20 steps the error on it is looked at; after ``_PATIENCE``
    looks without an improvement, learning ends, and the best weights are kept: those that it began with, unless
    others are better by 0.5 %. So no reference is needed, and what does not help is not done. The network of
    the 60 m bands stays as it is: of these, a scene seen six times coarser leaves too little.

    Parameters
    ----------
    net
        Taught; changed in place.
    sample
        Windows of at least 24 cells a side.
    """
    wanted = slice(0, len(BY_GSD[20]))
    net.arithmetic = "bfloat16"
    for p in net.of60.parameters():
        p.requires_grad_(False)
    learned, held = _parted(net, sample, options.seed)

    @torch.no_grad()
    def missed() -> float:
        each = []
        for e in held:
            d = Detail(*(x[None] for x in (e.detail.inputs, e.detail.picture, e.detail.amplitude)))
            x = net.finished(d, net.correction(d.inputs.float()), e.y20[None])[0]
            each.append(float(((x - e.truth) / e.unit)[wanted].abs().mean()))
        return float(np.mean(each))

    before = missed()
    kept = checkpoint.with_suffix(".best") if checkpoint else None
    best = _Best(before * _WORTH, {k: v.clone() for k, v in net.state_dict().items()}, 0)
    if kept and kept.exists():
        best = _Best.read(kept, best)
    curve: list[tuple[int, float]] = []

    def look(step: int, steps: int, value: float) -> None:
        nonlocal best
        curve.append((step, value))
        found = missed()
        if found < best.error:
            best = _Best(found, {k: v.clone() for k, v in net.state_dict().items()}, step)
            if kept:
                best.write(kept)
        tell(step, steps, found)
        if step - best.step >= _PATIENCE * curve[0][0]:
            raise _EnoughError

    cells = min(16, *(side for e in learned for side in e.y60.shape[1:]))

    def loss(random: torch.Generator) -> Tensor:
        return error(net, learned, random, cells=cells, rim=1, bands=wanted)

    with suppress(_EnoughError):
        optimise(
            net,
            loss,
            steps=options.steps or ADAPT_STEPS,
            rate=_ADAPT_RATE,
            seed=options.seed,
            checkpoint=checkpoint,
            tell=look,
        )
    net.load_state_dict(best.state)
    if kept:
        kept.unlink(missing_ok=True)
    after = best.error if best.step else before
    facts = {"held_out_before": before, "held_out_after": after, "kept_step": best.step}
    steps, values = zip(*curve, strict=True)
    return Curve(steps, values, 1.0, facts=facts)


@dataclass(frozen=True)
class _Best:
    """The least error on what is held out, the weights that had it, and their step; 0: those before."""

    error: float
    state: Mapping[str, Tensor]
    step: int

    def write(self, file: Path) -> None:
        tensors = {k: v.cpu().contiguous() for k, v in self.state.items()}
        draft = file.with_suffix(".draft")
        draft.write_bytes(save(tensors, {"error": repr(self.error), "step": str(self.step)}))
        draft.replace(file)

    @classmethod
    def read(cls, file: Path, default: "_Best") -> "_Best":
        try:
            with safe_open(file, "pt") as content:
                facts = content.metadata()
                state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            return cls(float(facts["error"]), state, int(facts["step"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return default


def _parted(net: S2Net, sample: Sample, seed: int) -> tuple[list[Prepared], list[Prepared]]:
    """Examples to learn from, turned both ways, and those held out: each fourth window, or the last rows."""
    windows = list(zip(sample.y60, sample.y20, sample.y10, strict=True))
    held = windows[3::4]
    learned = [w for i, w in enumerate(windows) if i % 4 != 3]
    if not held:
        rows = sample.cells[0] // 8 * 2
        held = [
            tuple(y[:, -rows * n :] for y, n in zip(w, (1, 3, 6), strict=True)) for w in windows
        ]
        cut = sample.cells[0] - rows
        learned = [
            tuple(y[:, : cut * n] for y, n in zip(w, (1, 3, 6), strict=True)) for w in windows
        ]

    def examples(parts: Iterable[Sequence[Tensor]], count: int) -> list[Prepared]:
        device = str(sample.y60.device)
        scenes = ({g: y.cpu() for g, y in zip((60, 20, 10), part, strict=True)} for part in parts)
        found = (
            example
            for i, scene in enumerate(scenes)
            for k in range(count)
            for example in scene_variants(scene, Variety(1), seed + 100 * i + k)
        )
        return prepared(net, found, device)

    return examples(learned, 3), examples(held, 1)
