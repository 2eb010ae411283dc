"""The terminal of all commands, and their exit codes."""

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

PARTIAL = 4
"""Exit code of a run with failed units; errors have those of their kinds."""


READER_GONE = 141
"""Exit code of a command whose reader has gone: that of programs that end by SIGPIPE."""


class Screen(Console):
    """Screen that shows text from anywhere and executes none: the names in a catalog are printed here."""

    def on_broken_pipe(self) -> None:
        """End silently if the reader has gone, as in ``s2sharp status OUT | head -1`` and as other programs do."""
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
    """End the command, because nobody reads its output."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # buffers are written at the end, too
            stream.flush()
            continue
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    raise SystemExit(READER_GONE)


GOES_ON = "Stopped. Finished work is kept; the same command continues."
"""Message after Ctrl-C, for commands that resume."""

console = Screen(soft_wrap=True)
problems = Screen(stderr=True, soft_wrap=True)


@contextmanager
def told(stopped: str = "Stopped.") -> Iterator[None]:
    """Turn errors that a user can act on into one message and an exit code.

    Settings of the terminal by an earlier command of the process are reset, and so are warnings afterwards.
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
        problems.print("  → Check the path, its permissions and the free space.")
        raise typer.Exit(Kind.STORE_UNWRITABLE.exit_code) from None
    except KeyboardInterrupt:
        problems.print(escape(stopped))
        raise typer.Exit(130) from None
    finally:
        warnings.showwarning = before


def speak(quiet: bool = False, aside: bool = False) -> None:
    """Set whether the screen shows anything, and whether on standard error: standard output may carry events."""
    console.quiet = quiet
    # Without a file, a console uses the current standard output.
    console.file = sys.stderr if aside else cast(TextIO, None)


def print_problem(text: str) -> None:
    """Print a problem while bars may move: above them if both are on a terminal."""
    above = console.is_terminal and problems.is_terminal and not console.quiet
    (console if above else problems).print(text)


def bars() -> Progress:
    """Return progress bars with a ``note`` each, for a terminal, a log or a notebook cell."""
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
    """Bars that a notebook draws without the widget library that rich would need."""

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
    """Show that something is under way; a notebook cell shows this itself."""
    return nullcontext() if console.is_jupyter else console.status(text)


def check_extras(modules: Iterable[str], what: str, remedy: str) -> None:
    """Refuse to begin without optional modules that ``what`` needs.

    Error: ``bad-config``, with the missing modules.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise S2SharpError("bad-config", f"{what} needs {' and '.join(missing)}.", remedy)


def size_text(count: float) -> str:
    """Format bytes for people."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def duration_text(seconds: float) -> str:
    """Format seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
