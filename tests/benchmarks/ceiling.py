"""How far could any local regression come? `python -m tests.benchmarks.ceiling`.

In the cases of protocol `measured`, the detail that each coarse band lacks is regressed on that of all finer bands, and the
slopes are fitted to the truth itself, in square windows. No method can know these slopes: they are a bound for whatever
carries detail over in proportion, locally. The smaller the window, the more of the truth is simply copied: four slopes (six
or ten at 60 m) for a window's pixels.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from rich.table import Table

from s2sharp_core.bands import BY_GSD
from s2sharp_core.evaluation.cases import BenchScene, Case
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.upsampling import upsample

from ..data import L2A_CHIPS, SCENES, by_gsd, l2a_chip, real_scene, scene_of_20_m
from .showing import console

# Pixels of the truth on a side of a window, and what is left out at the border, as the bench does.
WINDOWS = (48, 24, 12)
BORDER = 6
KIND = {"Level-1C": SCENES, "Level-2A, chips": L2A_CHIPS}


def detail(case: Case, gsd: int) -> np.ndarray:
    """What finer bands have beyond the coarse pixels of ``gsd``, on the truth's grid: (guides, y, x)."""
    side = case.truth[gsd].shape[1]
    ratio = side // case.inputs[gsd].shape[1]
    found = []
    for finer in (10, 20):
        own = case.inputs[finer]
        if finer >= gsd or own.shape[1] > side:
            continue
        y = _batch(own) if own.shape[1] == side else upsample(_batch(own), side // own.shape[1])
        # Through the kernel of the first band that is judged.
        played = case.bands[:1] * len(own)
        found.append(y - upsample(degrade(y, played, ratio, case.sensor), ratio))
    return torch.cat(found, dim=1)[0].numpy()


def ceilings(case: Case, gsd: int) -> np.ndarray:
    """SRE of the judged bands, dB: (bands, ways); interpolated, then with slopes fitted in each of `WINDOWS`."""
    at = [BY_GSD[gsd].index(band) for band in case.bands]
    truth, coarse = case.truth[gsd], _batch(case.inputs[gsd])
    ratio = truth.shape[1] // coarse.shape[2]
    smooth = upsample(coarse, ratio)
    # Interpolation blurs: what it has lost of the band itself is fitted, too.
    lost = upsample(coarse - degrade(smooth, BY_GSD[gsd], ratio, case.sensor), ratio)[0].numpy()
    guides, plain = detail(case, gsd), smooth[0].numpy()
    found = []
    for b in at:
        lacking, known = truth[b] - plain[b], [*guides, lost[b]]
        results = [plain[b], *(plain[b] + _fitted(known, lacking, side) for side in WINDOWS)]
        found.append([_sre(x, truth[b]) for x in results])
    return np.array(found)


def _batch(y: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(y)).float()[None]


def _fitted(guides: Sequence[np.ndarray], lacking: np.ndarray, side: int) -> np.ndarray:
    out = np.zeros_like(lacking)
    for top in range(0, lacking.shape[0], side):
        for left in range(0, lacking.shape[1], side):
            at = np.s_[top : top + side, left : left + side]
            a = np.stack([guide[at].ravel() for guide in guides], axis=1)
            slopes, *_ = np.linalg.lstsq(a, lacking[at].ravel(), rcond=None)
            out[at] = (a @ slopes).reshape(lacking[at].shape)
    return out


def _sre(x: np.ndarray, truth: np.ndarray) -> float:
    within = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    error = x[within].astype(float) - truth[within]
    return float(
        10 * np.log10(np.square(truth[within], dtype=float).sum() / np.square(error).sum())
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    table = Table(title="Slopes fitted to the truth: mean SRE of the bands, dB")
    for name in ("scene", "bands", "interpolation", *(f"windows of {w}" for w in WINDOWS)):
        table.add_column(name)
    scenes = [BenchScene(n, native=by_gsd(real_scene(n))) for n in SCENES]
    scenes += [BenchScene(n, native=by_gsd(l2a_chip(n))) for n in L2A_CHIPS]
    scenes.append(BenchScene("t18svg", native=scene_of_20_m()))
    every: dict[tuple[str, str], list[np.ndarray]] = {}
    for scene in scenes:
        for case in PROTOCOLS["measured"].cases(scene):
            (gsd,) = case.gsds
            found = ceilings(case, gsd)
            table.add_row(scene.name, case.part, *(f"{x:.2f}" for x in found.mean(axis=0)))
            kind = next((k for k, names in KIND.items() if scene.name in names), scene.name)
            every.setdefault((kind, f"{gsd} m"), []).extend(found)
    table.add_section()
    for (kind, bands), each in every.items():
        table.add_row(kind, bands, *(f"{x:.2f}" for x in np.mean(each, axis=0)))
    console.print(table)


if __name__ == "__main__":
    main()
