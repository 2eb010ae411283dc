"""Imported by workers of this machine before they begin, and by nobody else."""

import signal

# Ctrl-C is left to the run: a terminal sends it to all of its processes, and each would tell of it at length.
signal.signal(signal.SIGINT, signal.SIG_IGN)
