"""Map of a run in the browser.

May import report, planning, mosaic, scenes, publish, ui, catalog, cube, storage.
Main path: the folder of a run → a server of pages and tiles.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(__name__, {"server": ["LOCAL", "app_of", "listen"]})
