"""The commands, kept thin: flags in, one call, text out.

May import everything.
Main path: arguments of a shell → :mod:`.app` → one call.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(__name__, {"app": ["main"]})
