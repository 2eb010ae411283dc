"""Convolutions of a net that only computes, with what follows them: one pass over memory in place of two.

oneDNN, which torch's CPU build brings, adds and cuts off at zero while a convolution's result is still in registers. In
bfloat16 a sum is then rounded once, not twice.
"""

import torch
from torch import Tensor, nn

__all__ = ["added", "cut_off", "plain", "possible"]

_OPS = torch.ops.mkldnn
_NAMES = ("_convolution_pointwise", "_convolution_pointwise_")


def possible(x: Tensor) -> bool:
    """Return whether this build of torch can do so for ``x``, and nobody wants a gradient."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and x.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and all(hasattr(_OPS, name) for name in _NAMES)
    )


def plain(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """The convolution alone."""
    return _convolved(x, layer, "none")


def cut_off(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """The convolution, then ReLU."""
    return _convolved(x, layer, "relu")


def added(x: Tensor, layer: nn.Conv2d, onto: Tensor) -> Tensor:
    """The convolution added to ``onto``, which is changed."""
    weight, *how = _how(x, layer)
    return _OPS._convolution_pointwise_.binary(
        onto, x, weight, None, *how, "add", 1.0, None, [], None
    )


def _convolved(x: Tensor, layer: nn.Conv2d, then: str) -> Tensor:
    weight, *how = _how(x, layer)
    return _OPS._convolution_pointwise(x, weight, None, *how, then, [], "")


def _how(x: Tensor, layer: nn.Conv2d) -> tuple[Tensor, object, object, object, int]:
    weight = layer.weight.to(x.dtype, memory_format=torch.channels_last)
    return weight, layer.padding, layer.stride, layer.dilation, layer.groups
