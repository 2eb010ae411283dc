"""Convolutions fused with ReLU or a sum, for inference on a CPU: one pass over memory instead of two.

oneDNN, which torch's CPU build contains, applies them while the result of a convolution is still in registers. In
bfloat16 a sum is then rounded once, not twice.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

_OPS = torch.ops.mkldnn
# Pixels of a row that a convolution to few channels computes at once.
_ABREAST = 4
_NAMES = ("_convolution_pointwise", "_convolution_pointwise_")


def supported(x: Tensor) -> bool:
    """Return whether this build of torch can fuse convolutions of ``x``, and no gradient is needed."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and x.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and all(hasattr(_OPS, name) for name in _NAMES)
    )


@dataclass(frozen=True)
class Fused:
    """A convolution without a bias, in the numbers of its input."""

    layer: nn.Conv2d

    def cut_off(self, x: Tensor, less: int = 0) -> Tensor:
        """Apply the convolution, then ReLU; ``less``: rows at the top and at the bottom that are left out."""
        return self._done(x, self._weight(x), self.layer.stride, less, "relu")

    def few(self, x: Tensor, less: int = 0) -> Tensor:
        """Apply a 3 × 3 convolution to four channels, with four pixels of a row at once.

        oneDNN always computes 16 channels. Four copies of the kernel, each a pixel further, make these the four channels
        of four pixels, in the memory order of the picture.
        """
        weight = self._weight(x)
        if not parted(x):
            return self._done(x, weight, self.layer.stride, less, "none")
        several = stacked(weight).contiguous(memory_format=torch.channels_last)
        return joined(self._done(x, several, (1, _ABREAST), less, "none"))

    def added(self, x: Tensor, onto: Tensor) -> Tensor:
        """Add the convolution to ``onto`` in place."""
        how = (self.layer.padding, self.layer.stride, self.layer.dilation, self.layer.groups)
        return _OPS._convolution_pointwise_.binary(
            onto, x, self._weight(x), None, *how, "add", 1.0, None, [], None
        )

    def _weight(self, x: Tensor) -> Tensor:
        return self.layer.weight.to(x.dtype, memory_format=torch.channels_last)

    def _done(
        self, x: Tensor, weight: Tensor, stride: tuple[int, ...], less: int, then: str
    ) -> Tensor:
        down, across = cast(tuple[int, int], self.layer.padding)
        how = ((down - less, across), stride, self.layer.dilation, self.layer.groups)
        return _OPS._convolution_pointwise(x, weight, None, *how, then, [], "")


def parted(x: Tensor) -> bool:
    """Return whether the rows of ``x`` can be made several pixels at once."""
    return x.shape[-1] % _ABREAST == 0


def stacked(weight: Tensor) -> Tensor:
    """Set a kernel (c, …, w) off by a pixel each time, for pixels of a row that are made at once: (4c, …, w + 3)."""
    *shape, width = weight.shape
    several = weight.new_zeros(_ABREAST, *shape, width + _ABREAST - 1)
    for i in range(_ABREAST):
        several[i, ..., i : i + width] = weight
    return several.flatten(0, 1)


def joined(out: Tensor) -> Tensor:
    """Put pixels that were made at once beside each other: (n, 4c, h, w) → (n, c, h, 4w)."""
    rows = out.permute(0, 2, 3, 1).unflatten(3, (_ABREAST, -1)).flatten(2, 3)
    return rows.permute(0, 3, 1, 2)
