"""Published figures, by each paper's own protocol: `python -m tests.benchmarks.papers [--only NAME]`.

Protocols `papers/…`: exactly what the papers did, their quirks included, to stand beside their tables; not
what a user may expect. Each fit gets so many minutes: its steps are timed first,
since the learning rate follows their number. SRE = 10·log10(Σx²/Σe²) in dB, the mean over the bands; "best"
is the best of the evaluations against the reference during the fit (oracle stopping), "last" the frozen net's.

`--side` cuts the picture, since a processor does not do the papers' thousands of steps on all of it: what comes of it
stands beside the paper's curve, not beside its table. Ground differs: bicubic on the same cut is told.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.errors import S2SharpError
from s2sharp_core.evaluation import protocols
from s2sharp_core.evaluation.metrics import sre
from s2sharp_core.learning.dsen2 import Pair
from s2sharp_core.learning.options import FitCourse
from s2sharp_core.learning.unsupervised import infer, observe
from s2sharp_core.networks import SkipNet, ThreeGridNet
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners import deep_sure, ssc_cnn, ucnn
from tests.benchmarks import published
from tests.data import paper

SEVEN = protocols.PROTOCOLS["papers/iceland"].sensor
FIFTEEN = protocols.PROTOCOLS["papers/apex-30"].sensor

# Steps that are timed, after as many that are not.
TIMED = 20

console = Console(width=150)


@dataclass(frozen=True)
class Task:
    """One fit: course → None, and the SRE of each band of the network as it is; and of bicubic."""

    fit: Callable[[FitCourse], object]
    score: Callable[[], np.ndarray]
    floor: np.ndarray


@dataclass(frozen=True)
class Protocol:
    published: float
    bands: tuple[str, ...]
    quirks: str
    make: Callable[[int, int | None], Task]


def first(x: np.ndarray) -> torch.Tensor:
    """Rows first, bands last → (bands, h, w), float32."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), dtype=np.float32))


def coastal(seed: int, side: int | None) -> Task:
    arrays = {name: first(x) / 1e4 for name, x in paper("coastal_rr").items()}
    if side:
        wide = {"y10": side, "y20": side // 2, "truth20": side}
        arrays = {name: x[:, : wide[name], : wide[name]] for name, x in arrays.items()}
    cells = arrays["y10"].shape[-1] // 6
    inputs = {10: arrays["y10"], 20: arrays["y20"], 60: torch.zeros(2, cells, cells)}
    pair = Pair(inputs, arrays["truth20"])
    torch.manual_seed(seed)
    net = SkipNet((20,)).to(memory_format=torch.channels_last)

    def score() -> np.ndarray:
        with torch.no_grad():
            x = net(*(y[None] for y in inputs.values()))[0]
        return sre(x.numpy(), pair.truth.numpy())

    floor = sre(upsample(inputs[20][None], 2)[0].numpy(), pair.truth.numpy())
    return Task(partial(ssc_cnn.fit_pairs, net, [pair]), score, floor)


def picture(net: torch.nn.Module, sample: Sample) -> torch.Tensor:
    """The twelve bands by GSD, (12, 6h, 6w), with batch statistics as long as these are not frozen."""
    with torch.no_grad():
        return infer(net, sample.y10, sample.y20, sample.y60, narrow=False)[0]


def iceland(seed: int, side: int | None) -> Task:
    raw = {int(name[1:]): first(x)[None] / 1e4 for name, x in paper("iceland_raw").items()}
    if side:  # of the native 20 m bands, which are the answer
        raw = {g: y[..., : 20 * side // g, : 20 * side // g] for g, y in raw.items()}
    seen = [degrade(raw[g], BY_GSD[g], 2, SEVEN) for g in GSDS]
    sample, truth = Sample(*seen), raw[20][0]
    torch.manual_seed(seed)
    net = ThreeGridNet().to(memory_format=torch.channels_last)
    inner = (slice(None), slice(2, -2), slice(2, -2))

    def score() -> np.ndarray:
        return sre(picture(net, sample)[4:10].numpy()[inner], truth.numpy()[inner])

    floor = sre(upsample(sample.y20, 2)[0].numpy()[inner], truth.numpy()[inner])
    fit = partial(ucnn.fit_scene, net, sample, SEVEN, cells=max(sample.cells))
    return Task(fit, score, floor)


def apex(
    snr: float, seed: int, side: int | None, build: Callable[[Sensor], torch.nn.Module]
) -> Task:
    names = list(BANDS)
    order = [names.index(band) for g in GSDS for band in BY_GSD[g]]
    truth = first(paper("apex")["truth"])[order]
    truth = truth[:, :side, :side] / truth.max()
    seen = observe(truth[None], FIFTEEN)
    random = torch.Generator().manual_seed(seed)
    sigma = {g: (y.square().mean(dim=(0, 2, 3)) / 10 ** (snr / 10)).sqrt() for g, y in seen.items()}
    noisy = [
        y + sigma[g][:, None, None] * torch.randn(y.shape, generator=random)
        for g, y in seen.items()
    ]
    sample = Sample(*noisy)
    torch.manual_seed(seed)
    net = build(FIFTEEN).to(memory_format=torch.channels_last)

    fit = partial(
        deep_sure.fit_scene,
        net,
        sample,
        FIFTEEN,
        sigma=sigma,
        cells=max(sample.cells),
        eps=deep_sure.PUBLISHED_EPS,
    )

    def score() -> np.ndarray:
        return sre(picture(net, sample)[4:].numpy(), truth[4:].numpy())

    between = torch.cat([upsample(sample.y20, 2), upsample(sample.y60, 6)], dim=1)[0]
    return Task(fit, score, sre(between.numpy(), truth[4:].numpy()))


def deep(snr: float, projected: bool = True) -> Callable[[int, int | None], Task]:
    build = partial(published.deep_sure, projected=projected)
    return lambda seed, side: apex(snr, seed, side, build)


def admm(seed: int, side: int | None) -> Task:
    return apex(30, seed, side or 192, published.unrolled)


_APEX = (
    "APEX (198² pixels, 12 true bands; for the hourglass 192²) over its largest value, blurred by 15 taps on the first pixel of "
    "each coarse one, circular; white noise at {} dB in each band, its level known to the method; all "
    "pixels of the eight coarse bands."
)

PROTOCOLS: dict[str, Protocol] = {
    "deep_sure-apex-30": Protocol(25.85, BY_GSD[20] + BY_GSD[60], _APEX.format(30), deep(30)),
    "deep_sure-apex-40": Protocol(27.53, BY_GSD[20] + BY_GSD[60], _APEX.format(40), deep(40)),
    "deep_sure-apex-30-interpolated": Protocol(
        25.85,
        BY_GSD[20] + BY_GSD[60],
        _APEX.format(30) + " The network reads interpolated bands in place of back-projected ones.",
        deep(30, projected=False),
    ),
    "unrolled-apex-30": Protocol(
        25.24,
        BY_GSD[20] + BY_GSD[60],
        _APEX.format(30)
        + " Oracle stopping (at 500 steps 22.85, at 1 000 24.14, at 2 000 25.00, at the last 25.13).",
        admm,
    ),
    "ucnn-iceland": Protocol(
        31.68,
        BY_GSD[20],
        "Iceland as cropped by the authors (grids 5 and 2 pixels off one another), all bands seen twice "
        "as coarse through 7 taps on the first pixel of each coarse one; native 20 m bands as reference, 2 "
        "pixels of border cut; oracle stopping.",
        iceland,
    ),
    "ssc_cnn-coastal": Protocol(
        33.92,
        BY_GSD[20],
        "Coastal at reduced resolution: trained on the very picture it is tested on, towards its "
        "reference; best by validation on that picture.",
        coastal,
    ),
}


class _EnoughError(Exception):
    """Steps have been timed."""


def seconds_per_step(task: Task) -> float:
    """Of a fit that is then given up, evaluation now and then included."""
    marks: list[float] = []

    def tell(*_: object) -> None:
        task.score()
        marks.append(time.perf_counter())
        if len(marks) == 2:
            raise _EnoughError

    with suppress(_EnoughError):
        task.fit(FitCourse(100 * TIMED, tell=tell))
    return (marks[1] - marks[0]) / TIMED


@dataclass(frozen=True)
class Result:
    steps: int
    seconds: float
    at: int
    best: np.ndarray
    last: np.ndarray
    floor: np.ndarray
    note: str


def measure(
    protocol: Protocol, seed: int, minutes: float, steps: int | None, side: int | None
) -> Result:
    """Fit within so many minutes, or for so many ``steps``; ``side``: of the picture, in pixels of the answer."""
    begin = time.perf_counter()
    if steps is None:
        pace = seconds_per_step(protocol.make(seed, side))
        left = 60 * minutes - (time.perf_counter() - begin)
        steps = max(2 * TIMED, int(left / pace / TIMED) * TIMED)
        console.print(f"  {pace:.2f} s a step: {steps} steps")
    task = protocol.make(seed, side)
    curve: list[tuple[int, np.ndarray]] = []
    often = max(1, steps // TIMED // 20)

    def tell(step: int, steps: int, loss: float) -> None:
        curve.append((step, task.score()))
        if len(curve) % often == 0 or step == steps:
            took = time.perf_counter() - begin
            console.print(
                f"  {step:6d} steps  {took:6.0f} s  loss {loss:.5g}  SRE {curve[-1][1].mean():.2f}"
            )

    note = ""
    try:
        task.fit(FitCourse(steps, seed, tell=tell))
    except S2SharpError as error:
        note = str(error)
    at, best = max(curve, key=lambda found: float(found[1].mean()))
    took = time.perf_counter() - begin
    return Result(steps, took, at, best, task.score(), task.floor, note)


def report(name: str, results: list[Result]) -> None:
    protocol = PROTOCOLS[name]
    out = Table(title=f"papers/{name}: published {protocol.published:.2f} dB")
    for column in ("seed", "steps", "s", "", "at", "mean SRE", "difference", *protocol.bands):
        out.add_column(column, justify="right")
    for seed, found in enumerate(results):
        for kind, at, value in (
            ("best", found.at, found.best),
            ("last", found.steps, found.last),
            ("bicubic", 0, found.floor),
        ):
            mean = float(value.mean())
            cells = [str(seed), str(found.steps), f"{found.seconds:.0f}", kind, str(at)]
            cells += [f"{mean:.2f}", f"{mean - protocol.published:+.2f}"]
            out.add_row(*cells, *(f"{v:.2f}" for v in value))
    console.print(out)
    for kind in ("best", "last"):
        middle = median(float(getattr(found, kind).mean()) for found in results)
        console.print(f"median of {len(results)}, {kind}: {middle:.2f} dB")
    for note in {found.note for found in results if found.note}:
        console.print(f"note: {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PROTOCOLS, help="one protocol")
    parser.add_argument("--minutes", type=float, default=30, help="for each fit")
    parser.add_argument("--seeds", type=int, default=1, help="fits of each, from seed 0 on")
    parser.add_argument("--steps", type=int, help="so many steps, whatever they take")
    parser.add_argument(
        "--side", type=int, help="cut the picture: pixels of the answer, a multiple of 12"
    )
    parser.add_argument("--quick", action="store_true", help="40 steps, to see that all this runs")
    given = parser.parse_args()
    steps = 2 * TIMED if given.quick else given.steps
    for name in [given.only] if given.only else PROTOCOLS:
        protocol = PROTOCOLS[name]
        console.print(f"papers/{name}: {protocol.quirks}")
        report(
            name,
            [
                measure(protocol, seed, given.minutes, steps, given.side)
                for seed in range(given.seeds)
            ],
        )


if __name__ == "__main__":
    main()
