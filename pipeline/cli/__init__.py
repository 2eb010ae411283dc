"""Commands of the shell: each one reads its flags, makes one call and prints the result.

May import everything.
Main path: arguments of a shell → :mod:`.app` → one call.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(__name__, {"app": ["main"]})
