"""Side of a window, and windows per batch of a GPU: numbers that plans need without loading torch."""

WINDOW = 64
"""Default side of a window in cells: 384 pixels of 10 m."""

JOINED = 2
"""Windows along a side that a CPU sharpens as one, where that changes no bit: a sixth less time, three times the memory."""

ABREAST = 2
"""Threads up to which windows are joined: more of them would hold that memory, each, and a unit has too few windows."""

BATCH = 16
"""Windows of a batch: all windows of a unit of the default size."""
