"""Acquisitions, made from STAC items, and their native pixels.

May import catalog, cube, storage.
Main path: items → :func:`group` → :class:`Acquisition` → :func:`load_block` → reflectance.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "acquisition": ["Acquisition", "Choice", "group", "numbered", "with_offsets"],
        "offset_check": ["offset_doubt", "offsets_of_pixels"],
        "holes": ["Holes"],
        "item_files": ["write_items"],
        "limits": ["ABREAST", "GDAL_CACHE"],
        "radiometry": ["decode"],
        "raster": ["OpenFiles"],
        "read": ["Block", "Files", "Reader", "load_block", "load_scl", "reflectance"],
        "scene": ["Refusal", "edges_of"],
        "stage": ["Stage", "clear"],
        "file_versions": ["Versions"],
        "whole_scenes": ["real_scenes"],
    },
)
