"""s2net-m in fewer bits beside float32, on the four Level-1C scenes: `python -m tests.benchmarks.precision`.

Protocols `measured` (SRE) and `spectrum` (least coherence with B08, and the gain that departs most). The shipped weights
have seen these scenes: what counts is the difference between precisions, not the figures themselves.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from s2sharp_core import Sharpener, load_sharpener
from s2sharp_core.evaluation.cases import BenchScene, Case
from s2sharp_core.evaluation.evaluate import judge
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.evaluation.spectrum import departure, middle

from ..data import SCENES, by_gsd, real_scene
from .showing import console
from .speed import precisions


def figures(case: Case, sharpener: Sharpener) -> str:
    """Return the figures of a case that count, in one line."""
    rows = judge(case, sharpener).rows
    sre = [row.value for row in rows if row.metric == "SRE"]
    if sre:
        return f"{np.mean(sre):.3f} dB"
    coherence = min(row.value for row in rows if row.metric == "coherence")
    gains = [np.mean([row.value for row in rows if row.metric == f"gain, {at}"]) for at in middle()]
    return f"{coherence:.3f}, {departure(gains):.3f}"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="s2net-m")
    method = parser.parse_args(given).method
    every = {p: load_sharpener(method, device="cpu", precision=p) for p in precisions(method)}
    table = Table(title=f"{method}: SRE by `measured`; coherence and departure by `spectrum`")
    for column in ("scene", "case", *every):
        table.add_column(column)
    for scene in SCENES:
        for name in ("measured", "spectrum"):
            for case in PROTOCOLS[name].cases(BenchScene(scene, by_gsd(real_scene(scene)))):
                found = [figures(case, sharpener) for sharpener in every.values()]
                table.add_row(scene, f"{name}, {case.scale} × coarser", *found)
    console.print(table)


if __name__ == "__main__":
    main()
