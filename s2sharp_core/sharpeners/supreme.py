"""SupReME (Lanaras et al., CVPR Workshops 2017): the bands lie in a subspace and share their edges.

The paper takes the subspace from the image that it sharpens. Here it comes from the sample and is frozen, and so are
the bands' units and the threshold of edges. S2Sharp (Ulfarsson et al., IEEE TGRS 57, 2019) also optimises the
subspace: 0.03 dB more in the mean of four scenes, for three times the work.
"""

import torch

from ..bands import GSDS, SIZES
from ..errors import S2SharpError
from ..networks import SubspaceNet, subspace
from ..sensor.sample import Sample
from .fitted import fitted, solved
from .methods import known


@torch.no_grad()
def influence_beyond(net: SubspaceNet, halo: int) -> float:
    """Return the change in DN of a cell of a flat image by random reflectances beyond ``halo`` cells.

    The image is flat, because edges only reduce the influence.
    """
    around = halo + 8
    flat, wild = [], []
    random = torch.Generator().manual_seed(0)
    for gsd, unit in zip(GSDS, net.unit.cpu().split(SIZES), strict=True):
        n = 60 // gsd
        side = (2 * around + 1) * n
        near = slice((around - halo) * n, (around + halo + 1) * n)
        flat.append(unit[None, :, None, None].expand(1, -1, side, side))
        wild.append(torch.rand(flat[-1].shape, generator=random))
        wild[-1][..., near, near] = flat[-1][..., near, near]
    calm, moved = net(
        *(torch.cat(pair).to(net.unit.device) for pair in zip(flat, wild, strict=True))
    )
    cell = slice(6 * around, 6 * (around + 1))
    return 1e4 * float((moved - calm)[:, cell, cell].abs().max())


@solved
def _learn(net: SubspaceNet, sample: Sample) -> float:
    loss = net.adopt(sample.y10, sample.y20, sample.y60)
    beyond = influence_beyond(net, net.halo)
    if not beyond <= net.tolerance:
        raise S2SharpError(
            "fit-failed",
            f"With this scene's subspace, pixels beyond {net.halo} cells change a value by "
            f"{beyond:.2f} DN; at most {net.tolerance:g} is allowed.",
            "Fit on more or other windows, or use atprk, which reads nothing beyond its halo.",
        )
    return loss


METHODS = (
    fitted(
        known("supreme"),
        nets={"supreme.safetensors": SubspaceNet},
        learn=_learn,
        constants={
            "smooth": subspace._SMOOTH,
            "rough": subspace._ROUGH,
            "edge": subspace._EDGE_QUANTILE,
        },
    ),
)
