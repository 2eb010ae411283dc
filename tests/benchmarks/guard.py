"""Whether the guard of a fit chooses well: `python -m tests.benchmarks.guard [--method NAME] [--steps N] [--cells N]`.

A method is fitted to landscapes whose 10 m truth is known. Of each band, the errors of the net, of interpolation and of
the closed form: one level down, where the guard looks, and against the truth, which it never sees. RMSE in DN.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from s2sharp_core import METHODS, load_sharpener
from s2sharp_core.bands import BANDS, COARSE
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sensor.response import SENTINEL2
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.weights import load_net

# Seeds of landscapes that nothing was trained on, and the pixels at their rim that are not judged.
_SEED, _RIM = 30_000, 12

Errors = dict[str, float]


def fit(method: str, sample: Sample, folder: Path, steps: int | None) -> None:
    known = METHODS[method]
    assert known.fit is not None
    known.fit(sample, SENTINEL2, COARSE, FitOptions(steps), folder, "cpu", lambda *_: None)


def compare(
    method: str, steps: int | None, seed: int, cells: int
) -> list[tuple[str, Errors, Errors]]:
    """Each band with its errors one level down, and against the truth."""
    truth = landscape((6 * cells, 6 * cells), seed)
    sample = Sample.of(observe(truth, seed=seed))
    y = (sample.y10, sample.y20, sample.y60)
    found = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        fit(method, sample, folder / "net", steps)
        fit("atprk", sample, folder / "atprk", None)
        given = {"bicubic": load_sharpener("bicubic", device="cpu").sharpen(*y)}
        given["atprk"] = load_sharpener("atprk", weights=folder / "atprk", device="cpu").sharpen(*y)
        for file in sorted((folder / "net").glob("*.safetensors")):
            net = load_net(file)[0].net
            card = json.loads(file.with_suffix(".json").read_text())
            with torch.no_grad():
                given["net"] = dict(zip(net.bands, net(*y).unbind(1), strict=True))
            for band, below in card["one_level_down_rmse_dn"].items():
                answer = truth[list(BANDS).index(band)]
                rest = {name: given[name][band][0].numpy() - answer for name in below}
                inner = (slice(_RIM, -_RIM), slice(_RIM, -_RIM))
                real = {
                    name: 1e4 * float(np.sqrt((e[inner] ** 2).mean())) for name, e in rest.items()
                }
                found.append((band, below, real))
    return found


def main() -> None:
    guarded = ("ssc_cnn", "ucnn", "deep_sure", "deep_sure_bp", "unrolled")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=guarded, default="ssc_cnn")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--cells", type=int, default=48)
    parser.add_argument("--scenes", type=int, default=1)
    asked = parser.parse_args()
    table = Table(title=f"{asked.method}: RMSE in DN, one level down / against the truth")
    for column in ("scene", "band", "net", "bicubic", "atprk", "chosen", "best"):
        table.add_column(column, justify="right")
    right, total, lost = 0, 0, 0.0
    for i in range(asked.scenes):
        for band, below, real in compare(asked.method, asked.steps, _SEED + i, asked.cells):
            chosen, best = (min(errors, key=errors.__getitem__) for errors in (below, real))
            cells = (f"{below[n]:.1f} / {real[n]:.1f}" for n in ("net", "bicubic", "atprk"))
            table.add_row(str(i), band, *cells, chosen, best)
            right, total = right + (chosen == best), total + 1
            lost = max(lost, real[chosen] / real[best] - 1)
    console = Console(width=120)
    console.print(table)
    console.print(f"{right} of {total} bands by the best of the three; at most {lost:.0%} above it")


if __name__ == "__main__":
    main()
