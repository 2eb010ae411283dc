"""Carry out a run or a mosaic and show its progress: a bar for each phase, or lines in a log; and other listeners."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TypeVar

from rich.markup import escape
from rich.progress import Progress, TaskID

from s2sharp_core import S2SharpError

from ..engine.events import (
    ClusterReady,
    Event,
    FitProgress,
    LeaseWaiting,
    Listener,
    RunBroken,
    RunEnded,
    RunPlanned,
    UnitDone,
    UnitRetried,
    UnitSkipped,
    WorkerSilent,
)
from ..engine.lease import Lease
from ..engine.listening import listeners
from ..engine.phases import Outcome, leased
from ..engine.settings import Command
from ..storage.location import Location
from .terminal import bars, check_extras, console, duration_text, print_problem, speak

P = TypeVar("P")
C = TypeVar("C")
Ended = TypeVar("Ended", bound=Outcome)

_EVERY = 60
"""Seconds between two lines in a log, where bars cannot move."""


def prepare(config: Command) -> None:
    """Set the terminal as the configuration says, before anything is printed.

    Error: ``bad-config`` if its listeners lack something.
    """
    speak(config.quiet, aside=config.events == "-")
    if config.metrics is not None:
        check_extras(
            ("prometheus_client",),
            "Serving metrics",
            "Install it (`pip install 's2sharp[cluster]'`), or leave --metrics out.",
        )


def watch_work(
    config: Command,
    file: Location,
    term: float,
    planned: Callable[[], tuple[P, C]],
    work: Callable[[P, C, Lease, Listener], Ended],
) -> tuple[P, C, Ended]:
    """Take the lease of the folder of a plan's ``file``, for ``term`` seconds; then plan, work, and show the progress.

    ``planned`` returns the plan and its cost. ``work`` carries it out, and begins with the event :class:`RunPlanned`.
    """
    with watched(config) as tell:
        with leased(file, term, tell) as lease:
            plan, cost = planned()
            outcome = work(plan, cost, lease, tell)
        # The folder is free before listeners learn that the run has ended.
        tell(RunEnded(outcome.facts))
    return plan, cost, outcome


@contextmanager
def watched(config: Command) -> Iterator[Listener]:
    """Yield a listener that shows events and passes them on; an error that ends the block is its last event.

    Bars begin with the plan, because the waits before it have displays of their own.
    """
    with listeners(config) as others, ExitStack() as shown:
        progress = bars()
        board = _Board(progress)

        def tell(event: Event) -> None:
            for listener in others:
                listener(event)
            if isinstance(event, RunPlanned):
                shown.enter_context(progress)
            board.show(event)

        try:
            yield tell
        except S2SharpError as error:
            tell(RunBroken(error.kind, error.message))
            raise
        except KeyboardInterrupt:
            tell(RunBroken("interrupted", "Stopped by a signal."))
            raise
        board.fill()


class _Board:
    """The bars, with the speed by this run's clock and the failures."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._began = self._spoken = time.monotonic()
        self._pixels = self._failures = 0

    def show(self, event: Event) -> None:
        match event:
            case LeaseWaiting(waits):
                console.print(waits, markup=False)
            case RunPlanned(totals=totals):
                for phase, total in totals.items():
                    self._add(phase, total)
            case ClusterReady(dashboard):
                self._began = time.monotonic()
                # Without bokeh, the dashboard only says that bokeh is missing.
                if dashboard and find_spec("bokeh"):
                    console.print(f"Dashboard {dashboard}")
            case FitProgress(take, step, steps, loss):
                note = f"{take}: step {step} of {steps}, loss {loss:.4g}"
                self._progress.update(self._tasks["fit"], note=note)
            case WorkerSilent(worker, seconds):
                print_problem(
                    f"[yellow]silent:[/] worker {escape(worker)} has been silent for {seconds:.0f} s. It may be "
                    "stopped, or its machine asleep. Wake it, or wait: in some minutes, others get its work."
                )
            case UnitRetried(record=record):
                print_problem(f"[yellow]again:[/] {escape(record.message)}")
            case UnitDone() | UnitSkipped():
                self._advance(event)

    def _add(self, phase: str, total: int | None = None) -> None:
        self._tasks[phase] = self._progress.add_task(phase, total=total, note="")

    def _advance(self, event: UnitDone | UnitSkipped) -> None:
        """Count a finished unit."""
        if event.phase not in self._tasks:
            self._add(event.phase)
        if isinstance(event, UnitDone) and event.record.status == "failed":
            self._failures += 1
            print_problem(f"[red]failed:[/] {escape(event.record.message)}")
        lost = f"[red]{self._failures} failed[/]" if self._failures else ""
        note = "  ".join(filter(None, (self._pace(event), lost)))
        task = self._tasks[event.phase]
        self._progress.update(task, advance=1, note=note)
        if not console.is_terminal and time.monotonic() - self._spoken > _EVERY:
            self._spoken = time.monotonic()
            self._log(event.phase, note)

    def _pace(self, event: UnitDone | UnitSkipped) -> str:
        """Format the speed of sharpening, without earlier phases and the wait for workers."""
        if event.phase in ("sensor", "fit"):
            self._began = time.monotonic()
        if not event.full:
            return ""
        self._pixels += event.record.valid if isinstance(event, UnitDone) else 0
        seconds = time.monotonic() - self._began
        return f"{self._pixels / 1e6 / seconds:.2g} Mpx/s" if self._pixels else ""

    def _log(self, phase: str, note: str) -> None:
        now = self._progress.tasks[self._tasks[phase]]
        rest = f"about {duration_text(now.time_remaining)} left" if now.time_remaining else ""
        total = f"/{now.total:.0f}" if now.total else " done"
        done = f"{phase} {now.completed:.0f}{total}"
        console.print("  ".join(filter(None, (done, note, rest))))

    def fill(self) -> None:
        """Fill bars whose total was unknown or not reached."""
        for task in self._tasks.values():
            self._progress.update(task, total=self._progress.tasks[task].completed)
