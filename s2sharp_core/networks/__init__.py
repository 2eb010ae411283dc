"""Networks: plain ``torch.nn.Module`` s, each of which knows what it reads around a cell."""

from .guarded import GuardedNet
from .kinds import NETWORKS, Network
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
