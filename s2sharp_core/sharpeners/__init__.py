"""The sharpening methods, one file each.

May import learning, weights, networks, sensor.
Main path: a name → :func:`load_sharpener` → :class:`Sharpener`.
"""

from ..lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "base": ["Sharpener"],
        "error90": ["WithError90"],
        "guard": ["guard_message"],
        "net": ["NetSharpener"],
        "methods": ["METHODS", "Method", "known"],
        "loading": ["load_sharpener", "unfitted_sharpener"],
        "trust": ["WithTrust"],
        "window": ["WindowFitted"],
    },
)
