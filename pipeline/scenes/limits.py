"""Limits of what reading may take up."""

__all__ = ["ABREAST", "GDAL_CACHE"]

GDAL_CACHE = 64_000_000
"""Bytes of raster blocks that a process keeps."""

ABREAST = 4
"""Files of a server that a process reads at once: each answer is waited for longer than it takes to unpack."""
