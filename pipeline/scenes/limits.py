"""Limits for the resources of reading."""

GDAL_CACHE = 64_000_000
"""Bytes of raster blocks that a process caches."""

ABREAST = 4
"""Number of files that a process reads from a server at once, because waiting takes longer than unpacking."""
