"""Convolutions of whole numbers: eight bits in, eight bits out, sums in between exact.

Processors that multiply eight bits at a time (VNNI) do twice as many of these as of bfloat16, and move half the bytes. A
sum of whole numbers is the same in any order, so a value cannot depend on the shape of what it was computed with.

A number x of channel c is kept as round(x · 127 / range[c]) beside a zero point, and cut off beyond the range. Ranges are
those of the training data, with a margin. They are folded into the weights, which have a scale an output channel
(Jacob et al., CVPR 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from .fused_convolutions import joined, parted, stacked

ZERO = 128
"""Stands for 0 among numbers of both signs."""

_OPS = torch.ops.onednn
_NAMES = ("qconv2d_pointwise", "qconv_prepack")
# Ranges are not taken smaller: of a channel that was always 0.
_LEAST = 1e-6


def supported() -> bool:
    """Return whether this processor and this build of torch convolve eight bits without losing any of a sum."""
    has = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return (
        bool(has())
        and torch.backends.mkldnn.is_available()
        and all(hasattr(_OPS, name) for name in _NAMES)
        and _exact()
    )


@cache
@torch.inference_mode()
def _exact() -> bool:
    """Try the largest sums: without VNNI, or where oneDNN is told to do without, pairs of products are cut off at 16 bits."""
    layer = nn.Conv2d(32, 16, 3, padding=1, bias=False)
    layer.weight.fill_(1.0)
    x = torch.full((1, 32, 8, 8), 255, dtype=torch.uint8).contiguous(
        memory_format=torch.channels_last
    )
    try:
        of_numbers = packed(layer, torch.full((32,), 255.0), None, signed=False)
        added = packed(layer, torch.full((32,), 255.0), torch.full((16,), 2e5), signed=False)
        sums = of_numbers.few(x)[0, 0, 1:-1, 1:-1]
        onto = torch.full((1, 16, 8, 8), ZERO, dtype=torch.uint8)
        onto = onto.contiguous(memory_format=torch.channels_last)
        more = added.added(x, onto=onto)[0, 0, 1:-1, 1:-1]
    except (RuntimeError, TypeError):  # operators of an older torch
        return False
    exact = 255 * 32 * 9
    return bool((sums - exact).abs().max() < 1) and bool(
        (more == ZERO + round(exact * 127 / 2e5)).all()
    )


def rounded(x: Tensor, ranges: Tensor) -> Tensor:
    """Return numbers (n, c, h, w) in eight bits beside :data:`ZERO`, still float32; ``x`` is changed."""
    steps = 127 / ranges.clamp_min(_LEAST)
    return x.mul_(steps[:, None, None]).add_(ZERO).round_().clamp_(0, 255)


@dataclass(frozen=True)
class Packed:
    """A layer ready to be computed in eight bits: ``zero`` of its input and ``gives_zero`` of its result, ``one_by_one`` its
    weights; ``abreast`` those by which several pixels of a row are made at once, where it gives so few channels
    (:meth:`~.fused_convolutions.Fused.few`).
    """

    one_by_one: tuple[Tensor, Tensor]
    abreast: tuple[Tensor, Tensor] | None
    padding: tuple[int, int]
    zero: int
    gives_zero: int

    def cut_off(self, x: Tensor, less: int = 0) -> Tensor:
        """Apply the convolution, then ReLU; ``less``: rows at the top and at the bottom that are left out."""
        how = (self.gives_zero, torch.uint8, "relu")
        return self._done(x, self.one_by_one, (1, 1), less, how)

    def few(self, x: Tensor, less: int = 0) -> Tensor:
        """Apply the convolution alone, to float32."""
        how = (0, torch.float32, "none")
        if self.abreast is None or not parted(x):
            return self._done(x, self.one_by_one, (1, 1), less, how)
        stride = (1, len(self.abreast[1]) // len(self.one_by_one[1]))
        return joined(self._done(x, self.abreast, stride, less, how))

    def added(self, x: Tensor, onto: Tensor) -> Tensor:
        """Add the convolution to ``onto`` in place; both have both signs."""
        weight, scale = self.one_by_one
        return cast(
            Tensor,
            _OPS.qconv2d_pointwise.binary(
                *(x, 1.0, self.zero, weight, scale, _zeros(scale), onto, None),
                *((1, 1), self.padding, (1, 1), 1, 1.0, ZERO, torch.uint8),
                *(1.0, ZERO, "sum", 1.0, "none", [], ""),
            ),
        )

    def _done(
        self,
        x: Tensor,
        weights: tuple[Tensor, Tensor],
        stride: Sequence[int],
        less: int,
        how: tuple[int, torch.dtype, str],
    ) -> Tensor:
        weight, scale = weights
        (down, across), (zero, kind, then) = self.padding, how
        return cast(
            Tensor,
            _OPS.qconv2d_pointwise(
                *(x, 1.0, self.zero, weight, scale, _zeros(scale), None),
                *(stride, (down - less, across), (1, 1), 1, 1.0, zero, kind),
                *(then, [], ""),
            ),
        )


def packed(
    layer: nn.Conv2d,
    reads: Tensor,
    gives: Tensor | None,
    *,
    signed: bool,
    gives_signed: bool = True,
) -> Packed:
    """Pack a layer without a bias.

    Parameters
    ----------
    reads, gives
        Ranges of its input channels and of its output channels. None: few channels, which are given as float32.
    signed, gives_signed
        Whether its input and its output have both signs.
    """
    steps = reads.clamp_min(_LEAST) / (127 if signed else 255)
    weight = layer.weight.detach().float() * steps[:, None, None]
    scale = weight.abs().amax(dim=(1, 2, 3)).clamp_min(1e-12) / 127
    weight = (weight / scale[:, None, None, None]).round().to(torch.int8)
    if gives is not None:
        scale = scale * (127 if gives_signed else 255) / gives.clamp_min(_LEAST)
    padding, zero = cast(tuple[int, int], layer.padding), ZERO * signed

    def ready(some: Tensor) -> tuple[Tensor, Tensor]:
        each = scale.repeat(len(some) // len(scale))
        stride = (1, len(some) // len(scale))
        how = (1.0, zero, stride, padding, (1, 1), 1, None)
        return cast(Tensor, _OPS.qconv_prepack(some, each, *how)), each

    abreast = ready(stacked(weight)) if gives is None else None
    return Packed(ready(weight), abreast, padding, zero, ZERO * gives_signed)


def _zeros(scale: Tensor) -> Tensor:
    return torch.zeros(len(scale), dtype=torch.int64)
