"""The shipped weights, each with a card, and functions to read and write weights.

May import networks.
Main path: ``save_net`` → file and card → ``load_net``.
"""

from ..lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "store": [
            "PUBLISHED",
            "SHIPPED",
            "load_net",
            "read_tensors",
            "save_net",
            "weights_file",
            "write_tensors",
        ],
    },
)
