"""A run as a page that asks for nothing.

May import execution, planning, publish, ui. A run's folder → :func:`make_report` → HTML; runs and
mosaics end with :func:`leave_page`.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(__name__, {"leave": ["leave_page"], "make": ["make_report"]})
