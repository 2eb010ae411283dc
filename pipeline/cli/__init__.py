"""The commands, thin: flags in, calls, words out.

May import everything. Words of a shell → :mod:`.app` → one call.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(__name__, {"app": ["main"]})
