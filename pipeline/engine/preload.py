"""Preload module of local workers: imported by them alone, before they begin."""

import atexit
import gc
import signal

# Only the run handles Ctrl-C. A terminal sends it to all of its processes, and each worker would print a traceback.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# A process that ends leaves its memory to the system; to look for garbage first takes half a second.
atexit.register(gc.freeze)
