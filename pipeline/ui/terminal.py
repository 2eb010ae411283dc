"""The terminal of all commands, and how they end."""

import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any, NoReturn, TextIO, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

from s2sharp_core import S2SharpError
from s2sharp_core.errors import Kind, printable

from ..storage.location import store_errors

__all__ = [
    "GOES_ON",
    "PARTIAL",
    "READER_GONE",
    "Screen",
    "bars",
    "busy",
    "check_extras",
    "console",
    "duration_text",
    "leave_quietly",
    "print_problem",
    "problems",
    "size_text",
    "speak",
    "told",
]

PARTIAL = 4
"""The exit code of a run of which some units failed; errors have those of their kinds."""


READER_GONE = 141
"""The exit code of a command whose output nobody reads any more: that of programs which end by SIGPIPE."""


class Screen(Console):
    """Shows text from anywhere, and obeys none of it: whoever writes a catalogue names what is printed here."""

    def on_broken_pipe(self) -> None:
        """End as programs do whose reader has gone, as in ``s2sharp status OUT | head -1``: without a word."""
        leave_quietly()

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment(printable(text, keep="\n\t", most=len(text)), segment.style)


def leave_quietly() -> NoReturn:
    """End the command, since nobody reads what it says."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # what is left in a buffer is written at the end, too
            stream.flush()
            continue
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    raise SystemExit(READER_GONE)


GOES_ON = "Stopped. What is done stays; the same command goes on from there."
"""What is told after Ctrl-C by commands that resume."""

console = Screen(soft_wrap=True)
problems = Screen(stderr=True, soft_wrap=True)


@contextmanager
def told(
    stopped: str = "Stopped.",
) -> Iterator[None]:
    """Errors that a user can act on end the command with one message and their exit code.

    What an earlier command of the process asked of the terminal is over, and warnings are shown the old way afterwards.
    """
    speak()
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_: print_problem(
        f"[yellow]warning:[/] {escape(printable(str(message)))}"
    )
    try:
        yield
    except S2SharpError as error:
        problems.print(f"[red]{error.kind}:[/] {escape(error.message)}")
        if error.remedy:
            problems.print(f"  → {escape(error.remedy)}")
        raise typer.Exit(error.kind.exit_code) from None
    except store_errors() as error:
        if isinstance(error, BrokenPipeError):
            raise
        problems.print(f"[red]{Kind.STORE_UNWRITABLE}:[/] {escape(str(error))}")
        problems.print(
            "  → Look what lies there, who may read and write it, and what room is left."
        )
        raise typer.Exit(Kind.STORE_UNWRITABLE.exit_code) from None
    except KeyboardInterrupt:
        problems.print(escape(stopped))
        raise typer.Exit(130) from None
    finally:
        warnings.showwarning = before


def speak(quiet: bool = False, aside: bool = False) -> None:
    """Say whether the screen shows anything, and whether on standard error, since standard output is for events."""
    console.quiet = quiet
    # Without a file, a console asks for the standard output of the moment.
    console.file = sys.stderr if aside else cast(TextIO, None)


def print_problem(text: str) -> None:
    """A problem that is told while bars may move: where both go to a terminal, above them, not into one."""
    above = console.is_terminal and problems.is_terminal and not console.quiet
    (console if above else problems).print(text)


def bars() -> Progress:
    """Progress bars with a ``note`` each, on a terminal, in a log or in a notebook's cell."""
    kind = _CellBars if console.is_jupyter else Progress
    return kind(
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


class _CellBars(Progress):
    """Bars that a notebook draws itself: rich's own way asks for a library of widgets."""

    _every = 0.25
    _cell: Any = None
    _drawn = 0.0

    def start(self) -> None:
        from IPython.display import display

        if not (self.console.quiet or self.disable):
            self._cell = display(self, display_id=True)  # type: ignore[no-untyped-call]

    def refresh(self) -> None:
        if self._cell is not None:
            self._drawn = time.monotonic()
            self._cell.update(self)

    def update(self, *task: Any, **fields: Any) -> None:
        super().update(*task, **fields)
        if time.monotonic() - self._drawn > self._every:
            self.refresh()

    def stop(self) -> None:
        self.refresh()


def busy(text: str) -> AbstractContextManager[object]:
    """Say what is waited for; a notebook's cell shows by itself that it is at work."""
    return nullcontext() if console.is_jupyter else console.status(text)


def check_extras(modules: Iterable[str], what: str, remedy: str) -> None:
    """Refuse to begin without modules that ``what`` needs and that not every installation has.

    Raises
    ------
    S2SharpError
        ``bad-config``, with those that are missing.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise S2SharpError("bad-config", f"{what} needs {' and '.join(missing)}.", remedy)


def size_text(count: float) -> str:
    """Bytes, as people read them."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def duration_text(seconds: float) -> str:
    """Seconds, as people read them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
