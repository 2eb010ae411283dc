"""The shipped weights, each with a card, and functions to read and write weights.

May import networks.
Main path: ``save_net`` → file and card → ``load_net``.
"""

from .store import (
    PUBLISHED,
    SHIPPED,
    load_net,
    read_tensors,
    save_net,
    weights_file,
    write_tensors,
)

__all__ = [
    "PUBLISHED",
    "SHIPPED",
    "load_net",
    "read_tensors",
    "save_net",
    "weights_file",
    "write_tensors",
]
