"""Nets on a GPU: ``python -m tests.benchmarks.gpu [METHOD …] [--device cuda|cpu]``; takes torch, NumPy and safetensors alone.

A row of windows of noise goes through each method as a run gives it: in batches, arrays in and arrays out. Beside it: what
the device does at most of what binds it, measured there and then (the largest product of matrices, the largest copy); the
way to it and back; the difference from the processor; and that between batches of another size.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, COARSE
from s2sharp_core.blocks import Prepared, context, prepare_block, sharpen_prepared
from s2sharp_core.lattice import Box
from s2sharp_core.networks import ResidualNet
from s2sharp_core.sharpeners import NetSharpener, Sharpener
from s2sharp_core.sharpeners.loading import load_sharpener
from s2sharp_core.windows import BATCH, WINDOW

METHODS = ("s2net-m", "s2net-l", "dsen2 128 × 6")
TILE = 1830**2
"""Cells of a whole tile."""


def sharpener_of(name: str, device: str, precision: str) -> Sharpener:
    """Load a method; DSen2 at its published size is untrained: its pace is asked for."""
    if "×" not in name:
        return load_sharpener(name, device=device, precision=precision)
    torch.manual_seed(0)
    nets = {str(gsd): ResidualNet(gsd, 128, 6) for gsd in (20, 60)}
    made = NetSharpener(name, COARSE, nets, {}, Path(), device)
    made.compute_in(precision)
    return made


def block_of(sharpener: Sharpener, windows: int) -> Prepared:
    """A row of windows with what lies around, of noise in the range of land."""
    want = Box(0, WINDOW, 0, windows * WINDOW)
    have = want.grow(context(sharpener))
    random = np.random.default_rng(0)
    data = {
        band: random.uniform(0.02, 0.4, have.pixels(BANDS[band].gsd)).astype(np.float32)
        for band in sharpener.reads
    }
    return prepare_block(data, have, want, sharpener)


def seconds_of(what: Callable[[], object], device: str, times: int = 3) -> float:
    """The best of some times, the first not counted."""
    found = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        what()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begin)
    return min(found[1:])


def limits(device: str, kind: torch.dtype) -> tuple[float, float, float, float]:
    """Multiply-adds a second of a product of matrices, and bytes a second of a copy on the device, to it and back."""
    side, many = (8192, 2**28) if device == "cuda" else (2048, 2**25)
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    adds = side**3 / seconds_of(lambda: a @ b, device)
    there = torch.empty(many, dtype=torch.uint8, device=device)
    other = torch.empty_like(there)
    copied = 2 * many / seconds_of(lambda: other.copy_(there), device)
    here = torch.empty(many, dtype=torch.uint8, pin_memory=device == "cuda")
    sent = many / seconds_of(lambda: there.copy_(here), device)
    back = many / seconds_of(lambda: here.copy_(there), device)
    return adds, copied, sent, back


def differs(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Largest difference in DN."""
    return max(1e4 * float(np.abs(x - other[band]).max()) for band, x in one.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--windows", type=int, default=4 * BATCH)
    given = parser.parse_args()
    name = torch.cuda.get_device_name() if given.device == "cuda" else "this processor"
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        adds, copied, sent, back = limits(given.device, kind)
        print(
            f"{name}, {precision}: at most {adds / 1e12:.2f} T multiply-adds/s, {copied / 1e9:.0f} GB/s on it, "
            f"{sent / 1e9:.1f} GB/s to it, {back / 1e9:.1f} GB/s back",
            flush=True,
        )
        for method in given.methods:
            try:
                sharpener = sharpener_of(method, given.device, precision)
            except S2SharpError as error:  # it computes in float32 alone
                print(f"  {method}: {error}")
                continue
            block = block_of(sharpener, given.windows)
            took = seconds_of(lambda s=sharpener, b=block: sharpen_prepared(b, s), given.device)
            cells = given.windows * WINDOW**2
            net = sum(getattr(n, "multiply_adds", 0) for n in getattr(sharpener, "nets", ()))
            few = block_of(sharpener, 4)
            there = sharpen_prepared(few, sharpener)
            one = sharpen_prepared(few, sharpener, batch=1)
            alone = sharpen_prepared(few, sharpener_of(method, "cpu", precision))
            print(
                f"  {method}: {36 * cells / took / 1e6:.1f} Mpx/s, a tile {took / cells * TILE:.1f} s; "
                f"{100 * net * 36 * cells / took / adds:.0f} % of the multiply-adds, halo not counted; "
                f"{differs(there, alone):.3f} DN from the processor; {differs(there, one):.4f} DN between batches",
                flush=True,
            )


if __name__ == "__main__":
    main()
