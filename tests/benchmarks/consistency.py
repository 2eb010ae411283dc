"""Does the sharpened picture, seen again by the satellite, give what it saw?

`python -m tests.benchmarks.consistency`: the float32 result before any rounding, degraded again with
each band's PSF as it is measured on the scene, against the native input: RMSE in DN, at valid cells one PSF away from
any edge. Methods are given that sensor, too.
"""

import argparse
import os

import numpy as np
import torch
import xarray as xr
from rich.console import Console
from rich.table import Table

from s2sharp_core import load_sharpener, sharpen
from s2sharp_core.bands import BANDS, COARSE
from s2sharp_core.evaluation.cases import measured_sensor
from s2sharp_core.sensor.observation import residual
from s2sharp_core.sensor.response import Sensor
from tests.data import SCENES, by_gsd, real_scene


def inconsistency(scene: xr.DataTree, result: xr.Dataset, band: str, sensor: Sensor) -> float:
    """RMSE in DN between ``band`` of ``scene`` and ``result`` seen again."""
    native = scene[f"r{BANDS[band].gsd}m"][band].values
    return float(
        1e4 * np.sqrt(np.nanmean(residual(result[band].values, native, band, sensor) ** 2))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["bicubic", "dsen2"])
    parser.add_argument("--weights", help="a folder with weights of your own, for dsen2")
    given = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    out = Table(title="RMSE in DN between the sharpened picture, seen again, and the input")
    for name in ("scene", "method", *COARSE, "mean"):
        out.add_column(name, justify="left" if name in ("scene", "method") else "right")
    mean = {method: np.zeros(len(COARSE)) for method in given.methods}
    for name in SCENES:
        scene = real_scene(name)
        sensor = measured_sensor(by_gsd(scene))
        for method in given.methods:
            weights = given.weights if method == "dsen2" else None
            result = sharpen(scene, load_sharpener(method, weights=weights, sensor=sensor))
            row = np.array([inconsistency(scene, result, band, sensor) for band in COARSE])
            mean[method] += row / len(SCENES)
            out.add_row(name, method, *(f"{v:.1f}" for v in row), f"{row.mean():.1f}")
    for method, row in mean.items():
        out.add_row("mean", method, *(f"{v:.1f}" for v in row), f"{row.mean():.1f}")
    console = Console(width=120)
    console.print(out)


if __name__ == "__main__":
    main()
