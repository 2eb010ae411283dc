"""Scenery that landscapes are drawn with: spectra of covers, shapes of land, and who paints what on them.

May import bands. A seed → a country → what is painted on its :class:`Canvas`.
"""

from ..faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "canvas": ["Canvas"],
        "countries": ["COUNTRIES"],
        "countryside": ["farms", "open_land", "roads", "snow", "woods"],
        "villages": ["towns"],
    },
)
