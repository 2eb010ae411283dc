"""Networks by their name in model cards, and their common interface."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

NETWORKS: dict[str, Any] = {}
"""Every network by its name in model cards.

A network turns reflectance (n, 4, 6h, 6w), (n, 6, 3h, 3w), (n, 2, h, w) into (n, bands, 6h, 6w). ``config``: the
arguments it is built from; ``bands``: the bands of its result; ``reads``: the bands of its input; ``support``: by GSD,
pixels of that grid read before and after a cell; ``multiply_adds``: per 10 m pixel.

Optional attributes: with ``narrow``, its ``arithmetic`` can be set to bfloat16; with ``is_told``, its call takes the
number of cells around its windows that are not needed, and a mask of the cells that have data; ``results`` is the
number of the method's current version, as in a sharpener.
"""

T = TypeVar("T")


def known_as(kind: str) -> Callable[[type[T]], type[T]]:
    """Enter a network into ``NETWORKS``."""

    def enter(network: type[T]) -> type[T]:
        NETWORKS[kind] = network
        return network

    return enter


def described(net: Any) -> dict[str, Any]:
    """Return the kind of a network and the arguments it is built from."""
    kind = next(kind for kind, network in NETWORKS.items() if type(net) is network)
    return {"kind": kind, **net.config}


def built(facts: Mapping[str, Any]) -> Any:
    """Return the network that :func:`described` tells of, untrained."""
    arguments = dict(facts)
    return NETWORKS[arguments.pop("kind")](**arguments)


def convolved(net: nn.Module) -> int:
    """Return the multiply-adds of the convolutions of a net for each pixel of its grid."""
    return sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d))


class Standardised(nn.Module):
    """A network that standardises every band that it reads with the constants ``mean`` and ``spread``, stored with its
    weights.
    """

    reads: tuple[str, ...]
    mean: Tensor
    spread: Tensor

    @torch.no_grad()
    def standardise(self, y10: Tensor, y20: Tensor, y60: Tensor) -> None:
        """Set the constants from the bands of a sample: (n, bands, h, w) each."""
        bands = [b for y in (y10, y20, y60) for b in y.unbind(1)][: len(self.reads)]
        self.mean.copy_(torch.stack([b.mean() for b in bands]))
        self.spread.copy_(torch.stack([b.std().clamp_min(1e-4) for b in bands]))
