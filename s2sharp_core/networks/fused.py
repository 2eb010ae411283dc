"""Convolutions fused with ReLU or a sum, for inference on a CPU: one pass over memory instead of two.

oneDNN, which torch's CPU build contains, applies them while the result of a convolution is still in registers. In
bfloat16 a sum is then rounded once, not twice.
"""

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["added", "beside", "cut_off", "few", "parted", "possible", "together"]

_OPS = torch.ops.mkldnn
# Pixels of a row that a convolution to few channels computes at once.
_ABREAST = 4
_NAMES = ("_convolution_pointwise", "_convolution_pointwise_")


def possible(x: Tensor) -> bool:
    """Return whether this build of torch can fuse convolutions of ``x``, and no gradient is needed."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and x.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and all(hasattr(_OPS, name) for name in _NAMES)
    )


def cut_off(x: Tensor, layer: nn.Conv2d, less: int = 0) -> Tensor:
    """Apply the convolution, then ReLU; ``less``: rows at the top and at the bottom that are left out."""
    return _OPS._convolution_pointwise(
        x, _weight(x, layer), None, *_how(layer, less), "relu", [], ""
    )


def few(x: Tensor, layer: nn.Conv2d, less: int = 0) -> Tensor:
    """Apply a 3 × 3 convolution to four channels, with four pixels of a row at once.

    oneDNN always computes 16 channels. Four copies of the kernel, each a pixel further, make these the four channels of
    four pixels, in the memory order of the picture.
    """
    padding, _, dilation, groups = _how(layer, less)
    if not parted(x):
        return _OPS._convolution_pointwise(
            x, _weight(x, layer), None, *_how(layer, less), "none", [], ""
        )
    several = beside(_weight(x, layer)).contiguous(memory_format=torch.channels_last)
    stride = (1, _ABREAST)
    out = _OPS._convolution_pointwise(
        x, several, None, padding, stride, dilation, groups, "none", [], ""
    )
    return together(out)


def parted(x: Tensor) -> bool:
    """Return whether the rows of ``x`` can be made several pixels at once."""
    return x.shape[-1] % _ABREAST == 0


def beside(weight: Tensor) -> Tensor:
    """Set a kernel (c, …, w) off by a pixel each time, for pixels of a row that are made at once: (4c, …, w + 3)."""
    *shape, width = weight.shape
    several = weight.new_zeros(_ABREAST, *shape, width + _ABREAST - 1)
    for i in range(_ABREAST):
        several[i, ..., i : i + width] = weight
    return several.flatten(0, 1)


def together(out: Tensor) -> Tensor:
    """Put pixels that were made at once beside each other: (n, 4c, h, w) → (n, c, h, 4w)."""
    rows = out.permute(0, 2, 3, 1).unflatten(3, (_ABREAST, -1)).flatten(2, 3)
    return rows.permute(0, 3, 1, 2)


def added(x: Tensor, layer: nn.Conv2d, onto: Tensor) -> Tensor:
    """Add the convolution to ``onto`` in place."""
    return _OPS._convolution_pointwise_.binary(
        onto, x, _weight(x, layer), None, *_how(layer), "add", 1.0, None, [], None
    )


def _weight(x: Tensor, layer: nn.Conv2d) -> Tensor:
    return layer.weight.to(x.dtype, memory_format=torch.channels_last)


def _how(layer: nn.Conv2d, less: int = 0) -> tuple[object, object, object, int]:
    down, across = cast(tuple[int, int], layer.padding)
    return (down - less, across), layer.stride, layer.dilation, layer.groups
