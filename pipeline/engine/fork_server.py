"""Fork server: a process that loads the libraries of workers while the run is planned; workers are forked from it.

It is the one of Python's multiprocessing. A process has only one, and a program that calls this package may have its own,
with another environment. So only the command line starts it. Elsewhere, workers load their libraries themselves.
"""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from typing import Any

from .resources import LOCAL_ENVIRONMENT

_states = {"ours": False, "begun": False}


def allow() -> None:
    """Allow this process to start a server, because the whole program is ours."""
    _states["ours"] = True


def begin(module: str) -> None:
    """Start the server where that is allowed, and do not wait for it. It imports ``module``, which loads the libraries.

    The server ends with this process, even if that is killed.
    """
    # Elsewhere, a forked process may not use the libraries of the system.
    if not _states["ours"] or _states["begun"] or sys.platform != "linux":
        return
    before = dict(os.environ)
    # Without the last one, files of the current folder would be imported in place of libraries.
    os.environ.update({**LOCAL_ENVIRONMENT, **before, "PYTHONSAFEPATH": "1"})
    # Only the run handles Ctrl-C. A terminal sends it to all of its processes, which inherit that it is ignored.
    handles = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        multiprocessing.set_forkserver_preload([module])
        forkserver.ensure_running()
    except OSError:  # such as a path of the temporary folder that is too long for a socket
        return
    finally:
        signal.signal(signal.SIGINT, handles)
        os.environ.clear()
        os.environ.update(before)
    _states["begun"] = True
    atexit.register(_end)


def _end() -> None:
    """End the server, even while it loads, and wait for it, so that its time counts as that of this process."""
    server: Any = forkserver._forkserver  # there is no public way
    with suppress(ProcessLookupError):
        os.kill(server._forkserver_pid, signal.SIGTERM)
    server._stop()


def begun() -> bool:
    """Return whether processes can be forked."""
    return _states["begun"]


@contextmanager
def without_script() -> Iterator[None]:
    """Hide the running script from processes that are started.

    Python would run it first in each of them, for functions that it may define. A script that begins a run at its top level
    would begin another one in each process. Units need nothing of it.
    """
    main = vars(sys.modules["__main__"])
    kept = {name: main.get(name) for name in ("__spec__", "__file__")}
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        yield
    finally:
        main.update({name: value for name, value in kept.items() if value or name == "__spec__"})
