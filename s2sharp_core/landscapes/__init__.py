"""Drawn landscapes: spectra of covers, shapes of land, and functions that paint them.

May import bands.
Main path: a seed → a country → paint on its :class:`Canvas`.
"""

from ..lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "canvas": ["Canvas"],
        "land_types": ["COUNTRIES"],
        "countryside": ["farms", "open_land", "roads", "snow", "woods"],
        "villages": ["towns"],
    },
)
