"""The commands, thin: flags in, calls, words out.

May import everything. Words of a shell → :mod:`.app` → one call.
"""
