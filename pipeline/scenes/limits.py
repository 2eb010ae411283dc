"""Limits of what reading may take up."""

__all__ = ["GDAL_CACHE"]

GDAL_CACHE = 64_000_000
"""Bytes of raster blocks that a process keeps."""
