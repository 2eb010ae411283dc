"""Networks: plain ``torch.nn.Module`` s, each of which knows what it reads around a cell."""

from typing import Any, Protocol

from torch import Tensor

from .guarded import GuardedNet
from .kriging import KrigingNet
from .residual import ResidualNet
from .s2net import S2Net
from .skip import SkipNet
from .subspace import SubspaceNet
from .three_grids import ThreeGridNet
from .unrolled import UnrolledNet

__all__ = [
    "NETWORKS",
    "GuardedNet",
    "KrigingNet",
    "Network",
    "ResidualNet",
    "S2Net",
    "SkipNet",
    "SubspaceNet",
    "ThreeGridNet",
    "UnrolledNet",
]

NETWORKS: dict[str, Any] = {
    "residual": ResidualNet,
    "s2net": S2Net,
    "skip": SkipNet,
    "three-grids": ThreeGridNet,
    "unrolled": UnrolledNet,
    "guarded": GuardedNet,
    "kriging": KrigingNet,
    "subspace": SubspaceNet,
}
"""By the name that a model card gives."""


class Network(Protocol):
    """What the sharpeners ask of a network.

    ``config``: the arguments it is built from; ``bands``: what it gives, ``reads``: what it reads;
    ``support``: by GSD, pixels of that grid read before and after a cell; ``multiply_adds``: per 10 m
    pixel. One with ``narrow`` can have its ``arithmetic`` set to bfloat16; one with
    ``leaves_halo`` is told how many cells around its windows nobody needs.
    """

    config: dict[str, Any]
    bands: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def support(self) -> dict[int, tuple[int, int]]: ...

    @property
    def multiply_adds(self) -> int: ...

    def __call__(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor: ...
