"""Networks: plain ``torch.nn.Module`` s, each with the number of cells that it reads around a cell.

May import sensor, lattice, bands and errors.
Main path: a kind and its arguments from a model card → :data:`NETWORKS`.
"""

from .detail_transfer import PLANES
from .guarded import GuardedNet, Instead
from .kinds import NETWORKS, built, described
from .kriging import KrigingNet, seen_variogram
from .precision import Arithmetic, fastest
from .residual import ResidualNet
from .s2net import Detail, S2Net
from .skip import SkipNet
from .subspace import SubspaceNet
from .three_grids import ThreeGridNet
from .unrolled import UnrolledNet

__all__ = [
    "NETWORKS",
    "PLANES",
    "Arithmetic",
    "Detail",
    "GuardedNet",
    "Instead",
    "KrigingNet",
    "ResidualNet",
    "S2Net",
    "SkipNet",
    "SubspaceNet",
    "ThreeGridNet",
    "UnrolledNet",
    "built",
    "described",
    "fastest",
    "seen_variogram",
]
