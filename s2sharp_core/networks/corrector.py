"""The network of s2net: one small residual net for every band of a GSD, on the 20 m grid."""

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .fused_convolutions import Fused, supported
from .int8 import Packed, packed
from .planes import cropped

READS = 23
"""Number of input channels for a band."""

# Ranges are so many times the root mean square of the numbers that were seen in training; within a block, where channels
# seldom fire and then much, one range serves all of them, from the largest.
_REACH, _REACH_WITHIN = 20.0, 40.0


class Corrector(nn.Module):
    """(n, 23, h, w) → (n, 4, h, w): the four phases of one band.

    Parameters
    ----------
    features, blocks
        Width and number of the residual blocks, 3 × 3 and 1 × 1, without biases.
    """

    read: Tensor
    passed: Tensor
    within: Tensor

    def __init__(self, features: int, blocks: int) -> None:
        super().__init__()
        self.reach = 2 + blocks
        self.head = nn.Conv2d(READS, features, 3, padding=1, bias=False)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(features, features, 1, bias=False),
            )
            for _ in range(blocks)
        )
        self.tail = nn.Conv2d(features, 4, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)
        # Ranges of each channel that it reads, that its blocks pass on, and that they make within; 0: not known.
        self.register_buffer("read", torch.zeros(READS))
        self.register_buffer("passed", torch.zeros(features))
        self.register_buffer("within", torch.zeros(blocks))
        self.register_load_state_dict_pre_hook(_without_ranges)  # type: ignore[no-untyped-call]

    @property
    def ranged(self) -> bool:
        """Return whether it knows the ranges of its numbers, which eight bits need."""
        return bool(self.within.any())

    def forget_ranges(self) -> None:
        """Forget the ranges of weights that change."""
        for ranges in (self.read, self.passed, self.within):
            ranges.zero_()

    @torch.no_grad()
    def learn_ranges(self, pictures: Iterable[Tensor]) -> None:
        """Learn the ranges from pictures (n, 23, h, w)."""
        read, passed, within = zip(*map(self._squares, pictures), strict=True)
        for ranges, squares in ((self.read, read), (self.passed, passed)):
            ranges.copy_(_REACH * torch.stack(squares).mean(dim=0).sqrt())
        each = torch.stack(within).mean(dim=0).sqrt()
        self.within.copy_(_REACH_WITHIN * each.amax(dim=1))

    def _squares(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean squares of each channel, of what its blocks pass on the largest."""
        read, within = _mean_square(x), []
        x = self.head(x).relu_()
        passed = [_mean_square(x)]
        for block in self.body:
            wide, cut, narrow = block.children()
            y = cut(wide(x))
            x = x + narrow(y)
            within.append(_mean_square(y))
            passed.append(_mean_square(x))
        return read, torch.stack(passed).amax(dim=0), torch.stack(within)

    def forward(self, x: Tensor, rim: int = 0) -> Tensor:
        """``rim``: pixels on every side whose result is left out, none or ``reach``."""
        if x.dtype == torch.uint8:
            return _through(_packed(self), x, rim)
        if supported(x):
            return _through([Fused(layer) for layer in self.layers], x, rim)
        x = self.head(x).relu_()
        for block in self.body:
            x = block(x).add_(x)
        return cropped(self.tail(x), rim)

    @property
    def layers(self) -> list[nn.Conv2d]:
        """The head, two layers a block, and the tail."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]


def _through(layers: Sequence[Fused | Packed], x: Tensor, rim: int) -> Tensor:
    """Compute with layers for inference. Eight bits are beside :data:`~.int8.ZERO`, and their result is float32."""
    head, *body, tail = layers
    # In a batch of one, a slice of rows is contiguous, so each layer drops the rows that no later layer reads.
    less = 1 if rim and len(x) == 1 else 0
    x = head.cut_off(x, less)
    for wide, narrow in zip(body[::2], body[1::2], strict=True):
        inner = x[:, :, less : x.shape[2] - less]
        x = narrow.added(wide.cut_off(x, less), onto=inner)
    x = tail.few(x, less)
    rows = 0 if less else rim
    return x[:, :, rows : x.shape[2] - rows, rim : x.shape[3] - rim]


def _mean_square(x: Tensor) -> Tensor:
    return x.square().mean(dim=(0, 2, 3))


def _without_ranges(net: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take weights from before there were ranges: these stay unknown."""
    for name, ranges in net.named_buffers(recurse=False):
        state.setdefault(prefix + name, torch.zeros_like(ranges))


_kept: "WeakKeyDictionary[Corrector, tuple[tuple[int, ...], list[Packed]]]" = WeakKeyDictionary()


def _packed(net: Corrector) -> list[Packed]:
    """Return the layers in eight bits, packed once for the weights and ranges that the net has."""
    tensors = (*net.parameters(), *net.buffers())
    # Tensors made in inference mode have no version.
    now = tuple(n for x in tensors for n in (x.data_ptr(), 0 if x.is_inference() else x._version))
    before, layers = _kept.get(net, ((), []))
    if before != now:
        head, *body, tail = net.layers
        layers = [packed(head, net.read, net.passed, signed=True)]
        for wide, narrow, inner in zip(body[::2], body[1::2], net.within, strict=True):
            every = inner.expand(wide.out_channels)
            layers.append(packed(wide, net.passed, every, signed=True, gives_signed=False))
            layers.append(packed(narrow, every, net.passed, signed=False))
        layers.append(packed(tail, net.passed, None, signed=True))
        _kept[net] = now, layers
    return layers
