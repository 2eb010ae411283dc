"""Ctrl-C that is never lost: Python drops it where it falls into a callback or into the start of a module in C."""

import signal
from threading import Event
from types import FrameType

_pressed = Event()


def hear() -> None:
    """Remember Ctrl-C from now on, and interrupt as before; for a process of its own, in its main thread."""
    # A shell that starts it in the background has it ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _pressed.set()
    raise KeyboardInterrupt


def check() -> None:
    """Raise ``KeyboardInterrupt`` if Ctrl-C was pressed."""
    if _pressed.is_set():
        _pressed.clear()
        raise KeyboardInterrupt
