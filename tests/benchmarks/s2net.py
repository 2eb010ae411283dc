"""s2net-m beside DSen2 (128 × 6) on scenes that neither has seen: `python -m tests.benchmarks.s2net`.

Protocol `mtf`; each real scene is left out of training in turn and judged at 40→20 m. DSen2 gets as much wall time for each
of its two nets as s2net-m takes for all bands; its steps are timed first, since the learning rate follows their
number. Two points of each curve: a quarter of the time, and all of it. The nets of the last fold are also judged
where the truth is known at 10 m: APEX and landscapes, 20 and 60 m bands, invention.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from s2sharp.bench.compare import compare, find_tasks

from s2sharp_core.evaluation.cases import Case
from s2sharp_core.evaluation.combining import Row
from s2sharp_core.learning.dsen2 import Recipe, synthetic_pairs, train, wald_pair
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.learning.s2net import SIZES, S2Recipe, train_net
from s2sharp_core.weights import save_net, weights_file
from tests.data import SCENES, by_gsd, real_scene, shared_data

console = Console(width=150)
Bands = Mapping[int, np.ndarray]
NAMES = ("bicubic", "dsen2", "s2net-m", "s2net-m-adapted")


def taught(folder: Path, scenes: Mapping[str, Bands], steps: int) -> float:
    """s2net-m on ``scenes``; returns the seconds that it took."""
    begin = time.perf_counter()
    recipe = S2Recipe(*SIZES["s2net-m"], steps=steps)
    net, _ = train_net(recipe, list(scenes.values()))
    seconds = time.perf_counter() - begin
    save_net(net, folder / "s2net-m.safetensors", {"scenes": sorted(scenes)})
    return seconds


def trained(folder: Path, scenes: Mapping[str, Bands], seconds: float, gsds: Sequence[int]) -> int:
    """DSen2's nets on ``scenes``, so long each; returns the steps of the last."""
    steps = 0
    for gsd in gsds:
        recipe = Recipe(gsd, features=128, blocks=6)
        synthetic = synthetic_pairs(recipe.synthetic, gsd)
        pairs = [wald_pair(scene, gsd) for scene in scenes.values()]
        marks = []
        for few in (4, 4, 14):
            marks.append(time.perf_counter())
            train(replace(recipe, steps=few), pairs, synthetic)
        pace = (time.perf_counter() - marks[2] - (marks[2] - marks[1])) / 10
        steps = max(20, int(seconds / pace))
        net = train(replace(recipe, steps=steps), pairs, synthetic)
        save_net(net, folder / weights_file("dsen2", gsd), {"scenes": sorted(scenes)})
    return steps


def value(rows: Sequence[Row], method: str, band: str, metric: str) -> float:
    found = [r.value for r in rows if (r.method, r.band, r.metric) == (method, band, metric)]
    return float(np.mean(found)) if found else float("nan")


def judged(cases: Sequence[Case], folder: Path, names: Sequence[str]) -> list[Row]:
    own = {name: folder for name in ("dsen2", "s2net-m") if name in names}
    options = FitOptions(start=folder)
    outcome = compare(names, cases, weights=own, options=options, device="cpu")
    for text in outcome.left_out:
        console.print(f"left out: {text}")
    return list(outcome.rows)


def show(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    table = Table(title=title)
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for name, values in rows.items():
        table.add_row(name, *(f"{v:.4f}" if abs(v) < 1 else f"{v:.2f}" for v in values))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=S2Recipe.steps, help="of s2net-m")
    parser.add_argument("--only", action="append", choices=SCENES, help="leave out only this scene")
    given = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    data = shared_data()
    if data is None:
        raise SystemExit("No real scenes: set S2SHARP_DATA, or put them at ../shared/data.")
    catalog = data / "scenes" / "catalog.json"
    scenes = {name: by_gsd(real_scene(name)) for name in SCENES}
    every = find_tasks(["mtf"], catalog=catalog, synthetic=2, cells=30).cases
    held: dict[str, list[float]] = {}
    indices: dict[str, list[float]] = {}
    curve: dict[str, list[float]] = {}
    with TemporaryDirectory() as place:
        folder = Path(place)
        for out in given.only or SCENES:
            others = {name: scene for name, scene in scenes.items() if name != out}
            cases = [c for c in every if c.scene == out and c.gsds == (20,)]
            full = 0.0
            for share in (1.0, 0.25):
                folder = Path(place) / f"{out}-{share:g}"
                seconds = taught(folder, others, max(20, int(share * given.steps)))
                full = full or seconds
                last = out == (given.only or SCENES)[-1] and share == 1
                steps = trained(folder, others, seconds, (20, 60) if last else (20,))
                console.print(f"without {out}: {seconds:.0f} s each; DSen2 {steps} steps")
                rows = judged(cases, folder, NAMES if share == 1 else NAMES[1:3])
                for name in NAMES if share == 1 else NAMES[1:3]:
                    sre = value(rows, name, "20 m", "SRE")
                    curve.setdefault(f"{name}, {share:.0%} of the time", []).append(sre)
                    if share == 1:
                        held.setdefault(name, []).append(sre)
                        indices.setdefault(name, []).append(
                            float(
                                np.mean(
                                    [
                                        value(rows, name, i, "index RMSE")
                                        for i in ("NDVI-RE", "NDWI", "NBR")
                                    ]
                                )
                            )
                        )
        names = [*(given.only or SCENES), "mean"]
        show(
            "40→20 m, nets that have not seen the scene: mean SRE, dB",
            names,
            {name: [*v, float(np.mean(v))] for name, v in curve.items()},
        )
        floor = np.mean(held["bicubic"])
        for name, values in held.items():
            console.print(f"{name}: {np.mean(values) - floor:+.2f} dB over bicubic")
        show(
            "RMSE of NDVI red-edge, NDWI, NBR, mean of the three",
            names,
            {name: [*v, float(np.mean(v))] for name, v in indices.items()},
        )
        beyond = [c for c in every if c.scene not in SCENES]
        folder = Path(place) / f"{(given.only or SCENES)[-1]}-1"
        rows = judged(beyond, folder, NAMES[:3])
        for scene in dict.fromkeys(c.scene for c in beyond):
            own = [r for r in rows if r.scene == scene]
            show(
                f"{scene}, truth at 10 m, nets without {(given.only or SCENES)[-1]}",
                ("SRE 20 m", "SRE 60 m", "invention 20 m", "invention 60 m"),
                {
                    name: [
                        value(own, name, band, metric)
                        for metric in ("SRE", "invention")
                        for band in ("20 m", "60 m")
                    ]
                    for name in NAMES[:3]
                },
            )


if __name__ == "__main__":
    main()
