"""Do the layers of --trust rank places by their true error? `python -m tests.benchmarks.trust`.

Spearman's rank correlation, over cells of 60 m, between each layer and the error of the result (RMS over the cell's
pixels and the coarse bands), on landscapes that no net was trained on and, where the data are at hand, on APEX;
beside it what the layer picks out: the error in the tenth of the cells where it is highest, over the mean.
"""

import argparse
import os

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from torch.nn import functional as F

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BANDS, COARSE, TRUST
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import WithTrust
from tests.data import paper, shared_data

SEEDS = (2_000_001, 2_000_002, 2_000_003)
EDGE = 4
"""Cells at the border that do not count."""


def apex() -> np.ndarray:
    """The airborne picture, (12, 6h, 6w) reflectance; its own noise is enough."""
    truth = np.ascontiguousarray(paper("apex")["truth"].transpose(2, 0, 1), dtype=np.float32) / 1e4
    rows, cols = (n // 6 * 6 for n in truth.shape[1:])
    return truth[:, :rows, :cols]


def judge(
    truth: np.ndarray, method: str, snr: float, seed: int
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Mean error in DN, and by layer its rank correlation and how much worse its worst tenth is."""
    seen = [torch.from_numpy(y)[None] for y in observe(truth, snr, seed).values()]
    with torch.inference_mode():
        out = WithTrust(load_sharpener(method)).sharpen(*seen)
    wanted = torch.from_numpy(truth[[list(BANDS).index(band) for band in COARSE]])[None]
    error = F.avg_pool2d((torch.stack([out[b] for b in COARSE], dim=1) - wanted).square(), 6)
    inside = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    flat = error.mean(dim=1).sqrt()[0].numpy()[inside].ravel()
    found = {}
    for name in TRUST:
        layer = out[name][0, ::6, ::6].numpy()[inside].ravel()
        if layer.max() - layer.min() < 1e-6:  # interpolation carries nothing over
            continue
        worst = flat[np.argsort(layer, kind="stable")[-len(layer) // 10 :]].mean() / flat.mean()
        found[name] = (float(spearmanr(layer, flat)[0]), float(worst))
    return float(1e4 * flat.mean()), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["bicubic", "s2net-m", "dsen2"])
    given = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    pictures = {
        f"landscape {i}": (landscape((384, 384), s), 200.0, s) for i, s in enumerate(SEEDS, 1)
    }
    if shared_data():
        pictures["APEX"] = (apex(), float("inf"), 0)
    out = Table(
        title="Rank correlation with the true error of a cell; error of the worst tenth over the mean"
    )
    for name in ("picture", "method", "error, DN", *TRUST):
        out.add_column(name, justify="left" if name in ("picture", "method") else "right")
    for picture, (truth, snr, seed) in pictures.items():
        for method in given.methods:
            error, found = judge(truth, method, snr, seed)
            figures = (
                f"{found[name][0]:.2f}; {found[name][1]:.1f} ×" if name in found else "–"
                for name in TRUST
            )
            out.add_row(picture, method, f"{error:.1f}", *figures)
    Console(width=120).print(out)


if __name__ == "__main__":
    main()
