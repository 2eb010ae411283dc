"""In which numbers a network computes: the convolutions alone; what they correct stays float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

__all__ = ["Arithmetic", "arithmetic", "fastest"]

Arithmetic = Literal["float32", "bfloat16"]


def arithmetic(kind: Arithmetic, device: torch.device) -> AbstractContextManager[object]:
    """Run what stands inside in ``kind``; float32 leaves things as they are."""
    if kind == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def fastest(device: str) -> Arithmetic:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    if device == "cpu":
        # Private, but what torch itself asks; without them (another torch), what is always right.
        asks = (
            getattr(torch.cpu, name, lambda: False)
            for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        )
        return "bfloat16" if any(ask() for ask in asks) else "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
