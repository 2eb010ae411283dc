"""Nets on a GPU: ``python -m tests.benchmarks.gpu [METHOD …] [--device cuda|cpu]``; takes torch, NumPy and safetensors alone.

Strips of noise go through each method as a run gives them: one begun before the other is back, in batches, int16 out. Beside
it stands what binds it: the multiply-adds of its nets, the bytes that its steps read and write on the device, and the bytes
to it and back, each at the pace that the device reaches there and then (the largest product of matrices, the largest
copies, both ways at once). The largest of these times is the least that these steps can take. Then what must not be: a
difference from the processor, between batches of another size, and between passes that were recorded and those that
were not.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, COARSE, GSDS
from s2sharp_core.blocks import Begun, Prepared, begin_sharpening, context, prepare_block
from s2sharp_core.device import Gpu, device_of
from s2sharp_core.lattice import Box
from s2sharp_core.networks import ResidualNet
from s2sharp_core.sharpeners import NetSharpener, Sharpener
from s2sharp_core.sharpeners.loading import load_sharpener
from s2sharp_core.windows import BATCH, WINDOW

METHODS = ("s2net-m", "s2net-l", "dsen2 128 × 6")
TILE = 1830**2 / WINDOW**2
"""Windows of a whole tile."""
STRIPS = {"cuda": 4, "cpu": 1}
"""Strips that go through one after the other."""


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
    """A square of windows with what lies around, of noise in the range of land."""
    across = next(n for n in range(int(windows**0.5), 0, -1) if windows % n == 0)
    want = Box(0, WINDOW * windows // across, 0, WINDOW * across)
    have = want.grow(context(sharpener))
    random = np.random.default_rng(0)
    data = {
        band: random.uniform(0.02, 0.4, have.pixels(BANDS[band].gsd)).astype(np.float32)
        for band in sharpener.reads
    }
    return prepare_block(data, have, want, sharpener)


Stored = dict[str, np.ndarray]


def through(
    block: Prepared, sharpener: Sharpener, strips: int = 1, batch: int | None = None
) -> Stored:
    """Sharpen a strip some times, as a unit does its strips: what came back last."""
    shape = block.want.pixels(10)
    both = [{band: np.zeros(shape, np.int16) for band in sharpener.bands} for _ in range(2)]
    before: Begun | None = None
    for i in range(strips):
        begun = begin_sharpening(block, sharpener, both[i % 2], WINDOW, batch, behind=before)
        if before is not None:
            before.wait()
        before = begun
    if before is not None:
        before.wait()
    return both[(strips - 1) % 2]


def seconds_of(what: Callable[[], object], device: str) -> float:
    """The best of some times, the first not counted."""
    found = []
    for _ in range(4 if device == "cuda" else 2):
        begin = time.perf_counter()
        what()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begin)
    return min(found[1:])


@dataclass
class Limits:
    """The paces of a device: multiply-adds a second; bytes a second of copies on it, to it, back, and each way at once."""

    adds: float
    on: float
    to: float
    back: float
    both: float

    @classmethod
    def of(cls, device: str, kind: torch.dtype) -> "Limits":
        side, many = (8192, 2**28) if device == "cuda" else (2048, 2**25)
        a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        there, other = (torch.empty(many, dtype=torch.uint8, device=device) for _ in range(2))
        here, too = (
            torch.empty(many, dtype=torch.uint8, pin_memory=device == "cuda") for _ in "ab"
        )
        aside = torch.cuda.stream(torch.cuda.Stream()) if device == "cuda" else nullcontext()

        def at_once() -> None:
            there.copy_(here, non_blocking=True)
            with aside:
                too.copy_(other, non_blocking=True)

        return cls(
            side**3 / seconds_of(lambda: a @ b, device),
            2 * many / seconds_of(lambda: other.copy_(there), device),
            many / seconds_of(lambda: there.copy_(here, non_blocking=True), device),
            many / seconds_of(lambda: here.copy_(there, non_blocking=True), device),
            many / seconds_of(at_once, device),
        )


class Counted(TorchDispatchMode):
    """Steps that are started on a device during the block, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        wrote = [x for x in tree_leaves(made) if isinstance(x, torch.Tensor)]
        known = {x.untyped_storage()._cdata for x in read}
        fresh = [x for x in wrote if x.untyped_storage()._cdata not in known]
        changes = func._schema.is_mutable
        if (fresh or changes) and "empty" not in str(func):
            self.steps += 1
            written = fresh if not changes else wrote
            self.bytes += sum(x.nbytes for x in (*read, *written))
        return made


def count(block: Prepared, sharpener: Sharpener) -> Counted:
    """Steps and bytes of one batch."""
    size = BATCH if sharpener.device == "cuda" else 1
    side = WINDOW + 2 * sharpener.halo
    inputs = [
        torch.rand(
            size, len(block.filled[g]), *Box(0, side, 0, side).pixels(g), device=sharpener.device
        )
        for g in GSDS
    ]
    known = torch.ones(size, 1, side, side, device=sharpener.device)
    with torch.inference_mode():
        sharpener.sharpen_inner(*inputs, known)
        with Counted() as counted:
            sharpener.sharpen_inner(*inputs, known)
    counted.bytes = round(counted.bytes / size)
    return counted


def differs(one: Stored, other: Stored) -> int:
    """Largest difference in DN."""
    return max(int(np.abs(x.astype(int) - other[band]).max()) for band, x in one.items())


def paced(block: Prepared, sharpener: Sharpener) -> float:
    """Seconds for a window, in strips one after the other."""
    windows = block.want.shape[0] * block.want.shape[1] / WINDOW**2
    strips = STRIPS[sharpener.device]
    return (
        seconds_of(lambda: through(block, sharpener, strips), sharpener.device) / strips / windows
    )


def report(method: str, precision: str, limits: Limits, device: str, windows: int) -> None:
    sharpener = sharpener_of(method, device, precision)
    block, few = block_of(sharpener, windows), block_of(sharpener, 4)
    card = device_of(device)
    whole = through(few, sharpener)
    facts = []
    if isinstance(card, Gpu):
        card.recorder.on = False
        slow, steps = paced(block, sharpener), through(few, sharpener)
        card.recorder.on = True
        through(few, sharpener, 4)
        facts.append(f"not recorded {slow * TILE:.2f} s")
        facts.append(f"{differs(through(few, sharpener), steps)} DN between recorded and not")
        facts.append("recorded" if card.recorder.on else "NOT RECORDED")
    each = paced(block, sharpener)
    counted, cells = count(block, sharpener), WINDOW**2
    adds = 36 * cells * sum(getattr(n, "multiply_adds", 0) for n in getattr(sharpener, "nets", ()))
    sent = sum(x.nbytes for x in block.filled.values()) / windows
    back = 2 * 36 * cells * len(sharpener.bands)
    least = {
        "multiply-adds, halo not counted": adds / limits.adds,
        "bytes on the device": counted.bytes / limits.on,
        "bytes to it": sent / limits.both,
        "bytes back": back / limits.both,
    }
    binding = max(least, key=least.__getitem__)
    shares = ", ".join(f"{100 * least[name] / each:.0f} % {name}" for name in least)
    one = through(few, sharpener, batch=1)
    alone = through(few, sharpener_of(method, "cpu", precision))
    print(
        f"  {method}: {36 * cells / each / 1e6:.1f} Mpx/s, a tile {each * TILE:.2f} s; "
        f"{100 * least[binding] / each:.0f} % of the limit that binds ({binding}: {least[binding] * TILE:.2f} s a tile); "
        f"{shares}; {counted.steps} steps a batch; {counted.bytes / 1e9:.2f} GB a window on the device, "
        f"{sent / 1e6:.1f} MB to it, {back / 1e6:.1f} MB back; {differs(whole, alone)} DN from the processor; "
        f"{differs(whole, one)} DN between batches; {'; '.join(facts) or 'nothing to record'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--windows", type=int, default=BATCH, help="windows of a strip")
    given = parser.parse_args()
    name = torch.cuda.get_device_name() if given.device == "cuda" else "this processor"
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        limits = Limits.of(given.device, kind)
        print(
            f"{name}, {precision}: at most {limits.adds / 1e12:.2f} T multiply-adds/s, {limits.on / 1e9:.0f} GB/s on it, "
            f"{limits.to / 1e9:.1f} GB/s to it, {limits.back / 1e9:.1f} GB/s back, {limits.both / 1e9:.1f} GB/s each way "
            "at once",
            flush=True,
        )
        for method in given.methods:
            try:
                report(method, precision, limits, given.device, given.windows)
            except S2SharpError as error:  # it computes in float32 alone
                print(f"  {method}: {error}")


if __name__ == "__main__":
    main()
