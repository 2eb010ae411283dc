"""Networks by the name that a model card gives, and the face that each of them shows."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from torch import Tensor

__all__ = ["NETWORKS", "Network", "known_as"]

NETWORKS: dict[str, Any] = {}
"""Every network that was defined, by the name that a model card gives."""

T = TypeVar("T")


def known_as(kind: str) -> Callable[[type[T]], type[T]]:
    """Enter a network into ``NETWORKS``."""

    def enter(network: type[T]) -> type[T]:
        NETWORKS[kind] = network
        return network

    return enter


class Network(Protocol):
    """A network, as the sharpeners ask it.

    ``config``: the arguments it is built from; ``bands``: what it gives, ``reads``: what it reads;
    ``support``: by GSD, pixels of that grid read before and after a cell; ``multiply_adds``: per 10 m
    pixel. One with ``narrow`` can have its ``arithmetic`` set to bfloat16; one with
    ``is_told`` is told how many cells around its windows nobody needs, and which cells have data; one with ``results`` tells their number, as
    a sharpener does.
    """

    config: dict[str, Any]
    bands: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def support(self) -> dict[int, tuple[int, int]]: ...

    @property
    def multiply_adds(self) -> int: ...

    def __call__(self, y10: Tensor, y20: Tensor, y60: Tensor) -> Tensor: ...
