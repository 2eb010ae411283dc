"""The picture of the README: a real scene as delivered and sharpened. `python -m tests.benchmarks.before_after OUT.png`."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

mpl.use("agg")
from matplotlib import pyplot as plt

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BANDS, BY_GSD, GSDS
from s2sharp_core.sensor.estimation import estimate_sensor
from s2sharp_core.sensor.sample import Sample

from ..data import by_gsd, real_scene

SCENE, METHOD = "shark_bay", "s2net-m"
# The crop, rows and columns of 10 m; what is shown: heading → bands as red, green, blue.
CROP = (slice(114, 414), slice(0, 300))
SHOWN = {
    "Short-wave infrared: B12, B8A, B05": ("B12", "B8A", "B05"),
    "Coastal aerosol: B01": ("B01", "B01", "B01"),
}
CREDIT = "Shark Bay, Australia. Contains modified Copernicus Sentinel data."
_DPI = 100


def main() -> None:
    out = Path(sys.argv[1])
    native = by_gsd(real_scene(SCENE))
    sharpener = load_sharpener(METHOD, sensor=estimate_sensor(Sample.of(native)).sensor)
    with torch.inference_mode():
        given = [torch.from_numpy(np.ascontiguousarray(native[g]))[None] for g in GSDS]
        sharp = {band: x[0].numpy() for band, x in sharpener.sharpen(*given).items()}
    figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.9), dpi=_DPI, layout="constrained")
    for row, (heading, bands) in zip(axes, SHOWN.items(), strict=True):
        gsd = BANDS[bands[0]].gsd
        blocks = np.ones((gsd // 10, gsd // 10), dtype=np.float32)
        before = {b: np.kron(native[BANDS[b].gsd][BY_GSD[gsd].index(b)], blocks) for b in bands}
        for axis, pictures, what in (
            (row[0], before, f"{gsd} m, as delivered"),
            (row[1], sharp, f"10 m, {METHOD}"),
        ):
            ends = [np.percentile(before[band][CROP], (1, 99.5)) for band in bands]
            shown = [
                np.clip((pictures[band][CROP] - low) / (high - low), 0, 1)
                for band, (low, high) in zip(bands, ends, strict=True)
            ]
            axis.imshow(np.stack(shown, axis=-1), interpolation="nearest")
            axis.set_title(f"{heading}\n{what}", fontsize=8)
            axis.set_axis_off()
    figure.supxlabel(CREDIT, fontsize=7)
    figure.savefig(out)


if __name__ == "__main__":
    main()
