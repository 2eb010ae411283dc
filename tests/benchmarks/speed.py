"""Speed beside accuracy, all methods on one scene in one run: `python -m tests.benchmarks.speed [--keras PYTHON]`.

Mpx/s: millions of 10 m pixels a second, all twelve bands of a real scene, arrays in and arrays out, best of three. `--keras` names a
Python with TensorFlow, in which DSen2's two nets (128 × 6) run with the published patching on the same pixels
beside ours (`tests/benchmarks/keras_dsen2.py`). Methods that learn on the scene count without their fit, which does not
change their pace. bfloat16 and int8 are also compared with float32 on the scenes: change in DN.
"""

import argparse
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from s2sharp_core import METHODS, S2SharpError, load_sharpener
from s2sharp_core.bands import COARSE, GSDS
from s2sharp_core.networks import ResidualNet
from s2sharp_core.sharpeners import NetSharpener, Sharpener
from s2sharp_core.sharpeners.loading import unfitted_sharpener
from tests.data import SCENES, by_gsd, real_scene

console = Console(width=130)
READY = ("bicubic", "s2net-s", "s2net-m", "s2net-l", "dsen2")
LEARNING = [n for n, m in METHODS.items() if m.fit and not n.endswith("-adapted")]


def published() -> NetSharpener:
    """DSen2 at its published size, untrained: what it costs in this package."""
    nets = {str(gsd): ResidualNet(gsd, 128, 6) for gsd in (20, 60)}
    return NetSharpener("dsen2 128 × 6", COARSE, nets, {}, Path())


def pace(sharpener: Sharpener, inputs: list[torch.Tensor]) -> float:
    """Millions of 10 m pixels a second."""
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            begin = time.perf_counter()
            sharpener.sharpen(*inputs)
            best = min(best, time.perf_counter() - begin)
    return inputs[0].shape[-2] * inputs[0].shape[-1] / best / 1e6


def keras(python: str, height: int, width: int) -> float:
    """Mpx/s of the published way."""
    script = Path(__file__).with_name("keras_dsen2.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(script), str(height), str(width)],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return height * width / float(done.stdout.split()[-1]) / 1e6


def precisions(name: str) -> list[str]:
    """Those that a method can compute in on this machine, float32 first."""
    found = ["float32"]
    for precision in ("bfloat16", "int8"):
        with suppress(S2SharpError):
            load_sharpener(name, precision=precision)
            found.append(precision)
    return found


def narrowed(name: str, precision: str) -> tuple[float, float]:
    """Mean and largest change of a value in DN by fewer bits than float32, on the real scenes."""
    mean, most = [], 0.0
    for scene in SCENES:
        inputs = [torch.from_numpy(by_gsd(real_scene(scene))[g])[None] for g in GSDS]
        with torch.inference_mode():
            wide, narrow = (
                load_sharpener(name, precision=p).sharpen(*inputs) for p in ("float32", precision)
            )
        change = [1e4 * (narrow[b] - wide[b]).abs() for b in wide]
        mean.append(float(np.mean([c.mean() for c in change])))
        most = max(most, *(float(c.max()) for c in change))
    return float(np.mean(mean)), most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keras", metavar="PYTHON", help="a Python that has TensorFlow")
    parser.add_argument("--method", action="append", choices=READY, help="only this one; repeat")
    parser.add_argument("--scene", choices=SCENES, default="shark_bay")
    given = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    scene = by_gsd(real_scene(given.scene))
    height, width = scene[10].shape[1:]
    inputs = [torch.from_numpy(scene[g])[None] for g in GSDS]
    rows = {}
    for name in READY:
        if given.method and name not in given.method:
            continue
        for precision in precisions(name):
            sharpener = load_sharpener(name, precision=precision)
            rows[f"{name}, {precision}"] = pace(sharpener, inputs)
    for name in [] if given.method else LEARNING:
        rows[f"{name}, float32"] = pace(unfitted_sharpener(name, COARSE, "cpu"), inputs)
    for precision in () if given.method else ("float32", "bfloat16"):
        sharpener = published()
        sharpener.compute_in(precision)
        rows[f"{sharpener.name}, {precision}"] = pace(sharpener, inputs)
    reference = None
    if given.keras:
        reference = rows["DSen2's two nets, Keras, patches"] = keras(given.keras, height, width)
    table = Table(title=f"{given.scene}, {height} × {width} px, {torch.get_num_threads()} threads")
    for column in ("", "Mpx/s", "over Keras", "multiply-adds per px"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in rows.items():
        method = name.split(",")[0]
        cost = METHODS[method].cost if method in METHODS else ""
        over = f"{value / reference:.1f} ×" if reference else ""
        table.add_row(name, f"{value:.4f}", over, cost)
    console.print(table)
    for name in given.method or READY[1:]:
        for precision in precisions(name)[1:]:
            mean, most = narrowed(name, precision)
            console.print(
                f"{name}: {precision} changes a value by {mean:.3f} DN in the mean, {most:.1f} at most"
            )


if __name__ == "__main__":
    main()
