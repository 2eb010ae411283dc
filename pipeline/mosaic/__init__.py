"""Mosaics: one image per period, made from many dates.

May import publish, cube, engine, storage.
Main path: a :class:`MosaicConfig` → :func:`make_plan` → :func:`carry_out` → :func:`open_mosaic`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "config": ["MosaicConfig"],
        "cost": ["Estimate", "estimate"],
        "differences": ["differences_path", "kinds"],
        "execute": ["MosaicOutcome", "carry_out", "mosaic_status"],
        "make": ["make_plan"],
        "plan": ["MosaicPlan"],
        "store": ["open_mosaic"],
        "verify": ["verify_mosaic"],
    },
)
