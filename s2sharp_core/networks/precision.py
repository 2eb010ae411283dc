"""Numbers that a network computes with: its convolutions alone; what they correct stays float32."""

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from . import int8

Arithmetic = Literal["float32", "bfloat16", "int8"]


def arithmetic(kind: Arithmetic, device: torch.device) -> AbstractContextManager[object]:
    """Run what stands inside in bfloat16, if it is ``kind``; others are of what is given."""
    if kind != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def fastest(device: str, able: Collection[Arithmetic]) -> Arithmetic:
    """Return the fastest that the processor has in hardware, among those that a net is ``able`` to compute in."""
    if "int8" in able and device == "cpu" and int8.supported():
        return "int8"
    if "bfloat16" not in able:
        return "float32"
    if device == "cpu":
        # Private functions that torch itself uses. A torch without them gets float32, which is always right.
        asks = (
            getattr(torch.cpu, name, lambda: False)
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        )
        return "bfloat16" if any(ask() for ask in asks) else "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
