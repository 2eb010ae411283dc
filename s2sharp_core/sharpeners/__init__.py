"""The sharpening methods, one file each.

May import learning, weights, networks, sensor.
Main path: a name → :func:`load_sharpener` → :class:`Sharpener`.
"""

from typing import TYPE_CHECKING

from ..faces import face

if TYPE_CHECKING:
    from .base import Sharpener
    from .error90 import WithError90
    from .guard import told
    from .method import Method
    from .methods import METHODS, known
    from .net import NetSharpener
    from .registry import load_sharpener, unfitted_sharpener
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
    "known",
    "load_sharpener",
    "told",
    "unfitted_sharpener",
]

__getattr__, __dir__, _ = face(
    __name__,
    {
        "base": ["Sharpener"],
        "error90": ["WithError90"],
        "guard": ["told"],
        "net": ["NetSharpener"],
        "method": ["Method"],
        "methods": ["METHODS", "known"],
        "registry": ["load_sharpener", "unfitted_sharpener"],
        "trust": ["TRUST", "WithTrust"],
        "window": ["WindowFitted"],
    },
)
