"""The methods: a file each.

May import learning, weights, networks, sensor. A name → :func:`load_sharpener` → :class:`Sharpener`.
"""

from typing import TYPE_CHECKING

from ..faces import face

if TYPE_CHECKING:
    from .base import Method, Sharpener
    from .error90 import WithError90
    from .guard import told
    from .net import NetSharpener
    from .registry import METHODS, load_sharpener, unfitted_sharpener
    from .trust import TRUST, WithTrust
    from .window import WindowFitted

__all__ = [
    "METHODS",
    "TRUST",
    "Method",
    "NetSharpener",
    "Sharpener",
    "WindowFitted",
    "WithError90",
    "WithTrust",
    "load_sharpener",
    "told",
    "unfitted_sharpener",
]

__getattr__, __dir__, _ = face(
    __name__,
    {
        "base": ["Method", "Sharpener"],
        "error90": ["WithError90"],
        "guard": ["told"],
        "net": ["NetSharpener"],
        "registry": ["METHODS", "load_sharpener", "unfitted_sharpener"],
        "trust": ["TRUST", "WithTrust"],
        "window": ["WindowFitted"],
    },
)
