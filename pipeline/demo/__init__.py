"""Scenes that are drawn, so that the truth is known.

May import planning, cube. A seed → :func:`simulate` → scenes and catalogue; a cube → :func:`score`.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__, {"score": ["make_scenes"], "synthetic": ["COLLECTION", "simulate"]}
)
