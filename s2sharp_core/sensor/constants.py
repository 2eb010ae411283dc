"""Constants of networks on their device, sent there once: a copy from the host would make every call wait for it."""

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor


def constant(values: Iterable[float], like: Tensor) -> Tensor:
    """Return ``values`` (n,) in the type and on the device of ``like``. They must not be changed."""
    return _sent(tuple(values), like.dtype, like.device)


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)
def _sent(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values).to(device, dtype)
