"""The network of s2net: one small residual net for every band of a GSD, on the 20 m grid."""

from torch import Tensor, nn

from . import fused
from .planes import cropped

__all__ = ["READS", "Corrector"]

READS = 23
"""Numbers that the network reads of a band."""


class Corrector(nn.Module):
    """(n, 23, h, w) → (n, 4, h, w): the four phases of one band.

    Parameters
    ----------
    features, blocks
        Width and number of the residual blocks, 3 × 3 and 1 × 1, without biases.
    """

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

    def forward(self, x: Tensor, rim: int = 0) -> Tensor:
        """``rim``: pixels on every side whose result is left out, none or ``reach``."""
        if fused.possible(x):
            return self._fused(x, rim)
        x = self.head(x).relu_()
        for block in self.body:
            x = block(x).add_(x)
        return cropped(self.tail(x), rim)

    def _fused(self, x: Tensor, rim: int) -> Tensor:
        # Rows of one picture lie in one piece, whichever are left out: those that nobody reads any more.
        less = 1 if rim and len(x) == 1 else 0
        x = fused.cut_off(x, self.head, less)
        for block in self.body:
            wide, narrow = (part for part in block.children() if isinstance(part, nn.Conv2d))
            inner = x[:, :, less : x.shape[2] - less]
            x = fused.added(fused.cut_off(x, wide, less), narrow, onto=inner)
        x = fused.few(x, self.tail, less)
        rows = 0 if less else rim
        return x[:, :, rows : x.shape[2] - rows, rim : x.shape[3] - rim]
