"""Side of a window, and windows per batch of a GPU: numbers that plans need without loading torch."""

__all__ = ["BATCH", "WINDOW"]

WINDOW = 64
"""Default side of a window in cells: 384 pixels of 10 m."""

BATCH = 16
"""Windows of a batch: all windows of a unit of the default size."""
