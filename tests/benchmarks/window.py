"""One window of s2net, CPU seconds on one thread, here and in another checkout, in turns.

``python -m tests.benchmarks.window OTHER [METHOD …]``; OTHER: the root of that checkout. A window of 64 cells with its halo,
of a real scene, in the arithmetic of this machine. Other work makes both slower, and their ratio less so; the quickest
quarter of the turns counts.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from s2sharp.engine.resources import ALLOCATOR

from s2sharp_core import load_sharpener
from s2sharp_core.bands import GSDS
from tests.data import by_gsd, real_scene, shared_data

_TURNS, _CELLS = 15, 64


def serve(method: str) -> None:
    """Sharpen the window once for each line that comes in, and answer with the CPU seconds."""
    torch.set_num_threads(1)
    sharpener, scene = load_sharpener(method), by_gsd(real_scene("shark_bay"))
    side = _CELLS + 2 * sharpener.halo
    cut = {g: scene[g][:, : side * 60 // g, : side * 60 // g].copy() for g in GSDS}
    window = [torch.from_numpy(cut[g])[None] for g in GSDS]
    with torch.inference_mode():
        for _ in sys.stdin:
            begin = time.process_time()
            sharpener.sharpen_inner(*window)
            print(time.process_time() - begin, flush=True)


def started(root: Path, method: str) -> "subprocess.Popen[str]":
    """A process that serves with the code of ``root``; this file itself is found here."""
    environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": str(root), "S2SHARP_DATA": str(shared_data())}
    code = (
        "import sys, runpy\n"
        "import s2sharp_core, tests.data\n"
        "assert s2sharp_core.__file__.startswith(sys.argv[2]), s2sharp_core.__file__\n"
        "runpy.run_path(sys.argv[1])['serve'](sys.argv[3])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, __file__, str(root), method],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    )


def main(other: str, *methods: str) -> None:
    """Print the seconds of both, and their ratio."""
    roots = Path(other).resolve(), Path(__file__).resolve().parents[2]
    for method in methods or ("s2net-s", "s2net-m"):
        both = [started(root, method) for root in roots]
        seconds: list[list[float]] = [[], []]
        for _ in range(_TURNS + 2):
            for process, found in zip(both, seconds, strict=True):
                print("", file=process.stdin, flush=True)
                found.append(float(process.stdout.readline()) if process.stdout else 0.0)
        for process in both:
            process.communicate()
        there, here = (sorted(found[2:])[_TURNS // 4] for found in seconds)
        print(f"{method}: there {there:.3f} s, here {here:.3f} s: {there / here:.2f} times as fast")


if __name__ == "__main__":
    main(*sys.argv[1:])
