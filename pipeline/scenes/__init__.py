"""Acquisitions, made from STAC items, and their native pixels.

May import catalog, cube, storage.
Main path: items → :func:`group` → :class:`Acquisition` → :func:`load_block` → reflectance.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "acquisition": ["Acquisition", "Choice", "group", "numbered", "with_offsets"],
        "doubt": ["offset_doubt", "offsets_of_pixels"],
        "holes": ["Holes"],
        "items": ["write_items"],
        "limits": ["ABREAST", "GDAL_CACHE"],
        "radiometry": ["decode"],
        "raster": ["Kept"],
        "read": ["Block", "Files", "Reader", "load_block", "load_scl", "reflectance"],
        "scene": ["Refusal", "edges_of"],
        "stage": ["Stage", "clear"],
        "versions": ["Versions"],
        "whole": ["real_scenes"],
    },
)
