"""Report of a run: one HTML page that loads nothing else.

May import planning, mosaic, publish, cube, ui.
Main path: the folder of a run → :func:`make_report` → HTML. Runs and mosaics end with :func:`write_page`.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__, {"make": ["load_ahead", "write_page", "make_report"]}
)
