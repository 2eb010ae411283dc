"""s2super (ESA Φ-lab, MIT) among our methods: `python -m tests.benchmarks.outsider --python PYTHON`.

PYTHON is that of an environment of its own with what `pip install s2super tf_keras` brings (TensorFlow among it). The cases of
protocol `measured` for the 20 m bands are written, sharpened there (`tests/benchmarks/outsider_s2super.py`) and judged here
like everything else. It is given no 60 m bands: it was made for those of 20 m.
"""

import argparse
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from s2sharp.bench.compare import BenchOutcome, compare

from s2sharp_core.bands import BY_GSD, ratio
from s2sharp_core.evaluation.cases import BenchScene, Case
from s2sharp_core.evaluation.combining import Row
from s2sharp_core.evaluation.evaluate import Result, judge_pictures
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.sensor.upsampling import upsample

from ..data import L2A_CHIPS, SCENES, by_gsd, l2a_chip, real_scene, shared_data
from .showing import show

NAME = "s2super"
WORKER = Path(__file__).with_name("outsider_s2super.py")


def run(python: str, cases: Sequence[Case]) -> list[Result]:
    """What s2super makes of cases, and what that is worth."""
    arrays = {}
    for i, case in enumerate(cases):
        rows = [BY_GSD[20].index(band) for band in case.bands]
        low = torch.from_numpy(case.inputs[20][rows])[None]
        arrays[f"low-{i}"] = upsample(low, ratio(20), "linear")[0].numpy()
        arrays[f"visible-{i}"] = case.inputs[10][:3]
    with TemporaryDirectory() as folder:
        given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, **arrays)
        begin = time.perf_counter()
        subprocess.run([python, str(WORKER), str(given), str(made)], check=True)
        seconds = time.perf_counter() - begin
        with np.load(made) as content:
            found = [content[str(i)] for i in range(len(cases))]
    results = []
    for case, pictures in zip(cases, found, strict=True):
        named = dict(zip(case.bands, pictures, strict=True))
        result = judge_pictures(case, NAME, named)
        share = seconds * pictures.size / sum(p.size for p in found)
        facts = (case.scene, case.protocol.name, case.part, "seconds", share, False)
        results.append(replace(result, rows=(*result.rows, Row(NAME, *facts))))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="of an environment with s2super")
    parser.add_argument("--method", action="append", help="ours beside it; repeat for more")
    parser.add_argument(
        "--scene", action="append", choices=[*SCENES, *L2A_CHIPS], help="only this one"
    )
    given = parser.parse_args()
    if shared_data() is None:
        raise SystemExit("No real scenes: set S2SHARP_DATA, or put them at ../shared/data.")
    protocol = PROTOCOLS["measured"]
    cases = []
    for name in given.scene or [*SCENES, *L2A_CHIPS]:
        read = real_scene if name in SCENES else l2a_chip
        cases += protocol.cases(BenchScene(name, native=by_gsd(read(name))))
    cases = [case for case in cases if case.gsds == (20,)]
    ours = compare(given.method or ["bicubic", "atprk", "dsen2", "s2net-m"], cases, device="cpu")
    show(BenchOutcome((*run(given.python, cases), *ours.results), ours.left_out))


if __name__ == "__main__":
    main()
