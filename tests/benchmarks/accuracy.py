"""How accurate the recipe is, on scenes it was not trained on: `python -m tests.benchmarks.accuracy`.

Protocol `mtf`: a scene is blurred by each band's MTF with the kernel centred on the coarse pixel,
decimated, sharpened, and compared with its native bands. SRE = 10·log10(Σx²/Σe²) in dB per band. The
figures belong to the recipe: each of the four real scenes is left out of training in turn.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from s2sharp_core.bands import BANDS, BY_GSD, ratio
from s2sharp_core.evaluation.metrics import rmse, sre
from s2sharp_core.learning.dsen2 import Pair, Recipe, synthetic_pairs, train, wald_pair
from s2sharp_core.networks import ResidualNet
from s2sharp_core.sensor.simulate import observe
from s2sharp_core.sensor.upsampling import upsample
from tests.data import SCENES, by_gsd, paper, real_scene

# Pixels of the band's own grid cut off at the border of a degraded scene. The issue asks for 6 at
# 20 m; the small scenes seen at 360 m are 11 to 16 pixels wide, so that 60 m allows no more than 1
# of them: 6 of the 60 m pixels that are predicted.
BORDER = 6
GOAL = 7.0
# Training draws its landscapes from seed 0 on: these are others.
UNSEEN = 1000

console = Console(width=170)


@dataclass(frozen=True)
class Score:
    """SRE in dB and RMSE in DN, per band, of a method on one picture."""

    sre: np.ndarray
    rmse: np.ndarray


def score(x: torch.Tensor, truth: torch.Tensor) -> Score:
    inner = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    a, b = x.numpy()[inner], truth.numpy()[inner]
    return Score(sre(a, b), 1e4 * rmse(a, b))


def scores(net: ResidualNet, pair: Pair) -> tuple[Score, Score]:
    """(bicubic, net)"""
    inputs = {gsd: y[None] for gsd, y in pair.inputs.items()}
    with torch.inference_mode():
        sharp = net(*inputs.values())[0]
        floor = upsample(inputs[net.gsd], ratio(net.gsd), "cubic")[0]
    return score(floor, pair.truth), score(sharp, pair.truth)


def apex(gsd: int) -> Pair:
    """APEX: airborne, with true 10 m bands in ESA's order; observed without noise."""
    truth = np.ascontiguousarray(paper("apex")["truth"].transpose(2, 0, 1), dtype=np.float32) / 1e4
    seen = observe(truth, snr=float("inf"))
    wanted = truth[[list(BANDS).index(b) for b in BY_GSD[gsd]]]
    return Pair({g: torch.from_numpy(y) for g, y in seen.items()}, torch.from_numpy(wanted))


def table(title: str, gsd: int, rows: Sequence[tuple[str, Score, Score]]) -> None:
    out = Table(title=title)
    for name in ("scene", "bicubic dB", "net dB", "gain dB", "RMSE DN: bicubic", "net"):
        out.add_column(name, justify="left" if name == "scene" else "right")
    for band in BY_GSD[gsd]:
        out.add_column(f"gain {band}", justify="right")
    for name, floor, net in rows:
        gain = net.sre - floor.sre
        means = (floor.sre.mean(), net.sre.mean(), gain.mean())
        errors = (floor.rmse.mean(), net.rmse.mean())
        cells = [f"{v:.2f}" for v in means] + [f"{v:.1f}" for v in errors]
        out.add_row(name, *cells, *(f"{v:.2f}" for v in gain))
    console.print(out)


def mean_gain(rows: Sequence[tuple[str, Score, Score]]) -> np.ndarray:
    """Per picture: the mean gain over its bands in dB."""
    return np.array([(net.sre - floor.sre).mean() for _, floor, net in rows])


def mean(each: Sequence[Score]) -> Score:
    """The mean over several pictures of one kind, band by band."""
    return Score(np.mean([s.sre for s in each], axis=0), np.mean([s.rmse for s in each], axis=0))


def leave_one_out(
    recipe: Recipe, real: dict[str, Pair], others: dict[str, list[Pair]]
) -> tuple[list[tuple[str, Score, Score]], list[tuple[str, Score, Score]]]:
    """Scores of each real scene by a net that has not seen it, and of ``others`` by all these nets."""
    synthetic = synthetic_pairs(recipe.synthetic, recipe.gsd)
    held, beyond = [], []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=recipe.steps * len(real))
        for i, name in enumerate(real):
            start = i * recipe.steps
            progress.update(task, description=f"{recipe.gsd} m, without {name}")

            def tell(step: int, loss: float, start: int = start) -> None:  # noqa: ARG001
                progress.update(task, completed=start + step)

            net = train(recipe, [real[s] for s in real if s != name], synthetic, tell)
            held.append((name, *scores(net, real[name])))
            for other, pairs in others.items():
                floors, nets = zip(*(scores(net, pair) for pair in pairs), strict=True)
                beyond.append((f"{other}, not {name}", mean(floors), mean(nets)))
    return held, beyond


def spread(gains: np.ndarray) -> str:
    return f"{gains.mean():.2f} dB (from {gains.min():.2f} to {gains.max():.2f})"


def run(steps: int | None, gsds: Sequence[int], *, quick: bool) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    scenes = {name: by_gsd(real_scene(name)) for name in SCENES}
    last = []
    for gsd in gsds:
        recipe = Recipe(gsd)
        if quick:
            recipe = replace(recipe, steps=100, features=16, blocks=2, synthetic=3)
        if steps:
            recipe = replace(recipe, steps=steps)
        console.print(f"{recipe}")
        real = {name: wald_pair(scene, gsd) for name, scene in scenes.items()}
        landscapes = synthetic_pairs(2 if quick else 4, gsd, seed=UNSEEN)
        others = {f"{len(landscapes)} landscapes": landscapes, "APEX": [apex(gsd)]}
        held, beyond = leave_one_out(recipe, real, others)
        wald = f"{gsd * ratio(gsd)}→{gsd} m"
        table(f"{wald}, each scene by a net trained on the other three", gsd, held)
        table(f"{gsd}→10 m against 10 m truth, by the same nets", gsd, beyond)
        if gsd == 60:
            sizes = ", ".join("×".join(map(str, p.truth.shape[1:])) for p in real.values())
            console.print(
                f"The real scenes have {sizes} pixels of 60 m; {BORDER} at each border (one of 360 m) "
                "do not count. That is little: read their spread, not their mean."
            )
        for name in others:
            gains = mean_gain([row for row in beyond if row[0].startswith(name)])
            last.append(f"mean gain {gsd}→10 m, {name}: {spread(gains)}")
        gains = mean_gain(held)
        if gsd == 60:
            last.append(f"mean gain {wald}, real scenes: {spread(gains)}")
        else:
            last.append(f"mean gain 20 m: {gains.mean():.2f} dB (figure: >= {GOAL:.0f})")
    for line in sorted(last, key=lambda line: "figure" in line):
        console.print(line, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="training steps (default: the recipe's)")
    parser.add_argument("--gsd", type=int, choices=(20, 60), help="only the bands of this GSD")
    parser.add_argument(
        "--quick", action="store_true", help="a small net, to see that all this runs"
    )
    given = parser.parse_args()
    run(given.steps, [given.gsd] if given.gsd else [60, 20], quick=given.quick)


if __name__ == "__main__":
    main()
