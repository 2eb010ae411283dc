"""Time and memory of one window, measured in a process of its own: ``python -m s2sharp.calibrate JSON``."""

import json
import sys
import time
from typing import Any

import numpy as np
import psutil
import torch

from s2sharp_core import BANDS, load_sharpener
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.lattice import Box

from .unit import Peak


def measure(settings: dict[str, Any]) -> dict[str, float]:
    """Sharpen one window twice.

    Returns
    -------
    dict
        ``seconds`` of the second time, and ``bytes`` of memory at the peak beyond the idle process and
        the block that was given.
    """
    torch.set_num_threads(settings["threads"])
    sharpener = load_sharpener(
        settings["method"], settings["bands"], settings["weights"], settings["device"]
    )
    window = settings["window"]
    want = Box(0, window, 0, window)
    have = want.grow(context(sharpener))
    rng = np.random.default_rng(0)
    data = {
        band: rng.random(have.pixels(BANDS[band].gsd), dtype=np.float32) for band in sharpener.reads
    }
    idle = psutil.Process().memory_info().rss
    with Peak() as peak:
        sharpen_block(data, have, want, sharpener, window)
        start = time.perf_counter()
        sharpen_block(data, have, want, sharpener, window)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": peak.bytes - idle}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(json.loads(sys.argv[1]))))
