"""A run as a page that asks for nothing.

May import execution, planning, publish, ui. A run's folder → :func:`make_report` → HTML.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(__name__, {"make": ["make_report"]})
