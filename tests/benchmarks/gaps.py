"""What a gap costs beside it: `python -m tests.benchmarks.gaps [SCENE …]`.

Real scenes by protocol `measured`, with a gap and without it: RMSE of the 20 m bands with the gap over that of the same
pixels without it, by their distance from it, the mean of scenes and bands. The net that ships has seen these scenes,
with gaps and without.
"""

import argparse
from collections.abc import Mapping

import numpy as np
from rich.table import Table
from scipy.ndimage import distance_transform_cdt

from s2sharp_core import load_sharpener
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.evaluation.cases import BenchScene, Case
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.lattice import Box
from s2sharp_core.sharpeners import Sharpener
from s2sharp_core.sharpening import sharpen_part

from ..data import SCENES, by_gsd, real_scene
from .showing import console

# Pixels of 10 m from the gap.
AWAY = ((0, 2), (2, 6), (6, 12), (12, 24))


def gone(kind: str, height: int, width: int) -> np.ndarray:
    """Where a gap of a kind lies: bool (6h, 6w)."""
    rows, cols = np.indices((6 * height, 6 * width))
    if kind == "a straight end":
        return cols >= width // 2 * 6
    if kind == "a slope, by pixels":
        return cols - 3 * width > 0.18 * (rows - 3 * height)
    cells = np.zeros((height, width), dtype=bool)
    if kind == "a slope, by cells":
        rows, cols = np.indices(cells.shape)
        cells = cols - width // 2 > 0.18 * (rows - height // 2)
    else:
        rng = np.random.default_rng(0)
        for _ in range(8):
            row, col, side = rng.integers(4, height - 8), rng.integers(4, width - 8), 0
            side = rng.integers(1, 5)
            cells[row : row + side, col : col + side] = True
    return cells.repeat(6, axis=0).repeat(6, axis=1)


KINDS = ("a straight end", "a slope, by cells", "a slope, by pixels", "holes of 60 to 240 m")


def sharpened(
    case: Case, sharpener: Sharpener, inputs: Mapping[int, np.ndarray]
) -> dict[str, np.ndarray]:
    arrays = {b: y for g in GSDS for b, y in zip(BY_GSD[g], inputs[g], strict=True)}
    box = Box(0, case.cells[0], 0, case.cells[1])
    return sharpen_part(arrays, box, box, sharpener, 64)


def costs(case: Case, kind: str) -> list[list[float]]:
    """Of each band: the ratio of RMSEs by distance."""
    height, width = case.cells
    fine = gone(kind, height, width)
    inputs, bad = {}, np.zeros_like(fine)
    for gsd, y in case.inputs.items():
        n = gsd // 10
        hole = fine.reshape(6 * height // n, n, 6 * width // n, n).any(axis=(1, 3))
        inputs[gsd] = np.where(hole, np.float32(np.nan), y)
        bad |= hole.repeat(n, axis=0).repeat(n, axis=1)
    sharpener = load_sharpener("s2net-m", sensor=case.found, device="cpu")
    with_gap, without = (sharpened(case, sharpener, x) for x in (inputs, case.inputs))
    away = distance_transform_cdt(~bad, "chessboard")
    found = []
    for band in case.bands:
        truth = case.truth[20][BY_GSD[20].index(band)]
        both = [np.square(x[band] - truth) for x in (with_gap, without)]
        rings = [(away > a) & (away <= b) for a, b in AWAY]
        found.append([float(np.sqrt(both[0][r].mean() / both[1][r].mean())) for r in rings])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    scenes = parser.parse_args().scenes or ["iceland", "australia"]
    table = Table("gap", *(f"{10 * a} to {10 * b} m" for a, b in AWAY))
    native = [BenchScene(name, native=by_gsd(real_scene(name))) for name in scenes]
    cases = [c for s in native for c in PROTOCOLS["measured"].cases(s) if 20 in c.gsds]
    for kind in KINDS:
        every = np.mean([ratios for case in cases for ratios in costs(case, kind)], axis=0)
        table.add_row(kind, *(f"{value:.2f}" for value in every))
    console.print(table)


if __name__ == "__main__":
    main()
