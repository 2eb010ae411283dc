"""Processes of a run that are struck at a chosen moment, counted in what they do to files: between any two of its steps."""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from s2sharp.storage.location import Location

from .runs import config, run

FORKS = multiprocessing.get_context("forkserver")
"""Clients start from a process that has imported everything already."""

_TOUCHES = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.listdir", "os.scandir"}
"""Python's audit events of what a process does to files."""

SHARPEN, STAGE = "s2sharp.execution.unit:sharpen_unit", "s2sharp.execution.staging:stage_unit"
"""What workers can be struck at."""

_SENT = {
    SHARPEN: "s2sharp.execution.phases.sharpen_unit",
    STAGE: "s2sharp.execution.staging.stage_unit",
}


@dataclass(frozen=True)
class Blow:
    """A signal that a process gets when it touches files below ``folder`` for the ``moment``-th time.

    ``client``: a process that is killed just before; 0: none.
    """

    folder: str
    moment: int
    by: signal.Signals = signal.SIGKILL
    client: int = 0

    def fall(self) -> None:
        if self.client:
            os.kill(self.client, signal.SIGKILL)
        os.kill(os.getpid(), self.by)


_awaited: list[tuple[Blow, Iterator[int]]] = []


def await_blow(blow: Blow) -> None:
    """Wait for a blow in this process, in place of an earlier one; the same one again goes on being waited for."""
    if not _awaited:
        _awaited.append((blow, itertools.count(1)))
        sys.addaudithook(_heard)
    elif _awaited[0][0] != blow:
        _awaited[0] = blow, itertools.count(1)


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    blow, count = _awaited[0]
    below = event in _TOUCHES and str(arguments[0]).startswith(f"{blow.folder}/")
    if below and next(count) == blow.moment:
        blow.fall()


def struck(name: str, blow: Blow, *arguments: Any) -> Any:
    """Do on a worker what ``name`` says, and wait for the blow; a file tells of work that is not at its end."""
    await_blow(blow)
    with _marked(Path(f"{blow.folder}.at-work")):
        return resolve_name(name)(*arguments)


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mark = folder / f"{os.getpid()}.{threading.get_ident()}"
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def at_work(out: Path) -> bool:
    """Whether a worker is at what it may be struck at."""
    folder = Path(f"{out}.at-work")
    return folder.exists() and any(folder.iterdir())


def client(
    archive: Path,
    out: Location,
    scheduler: str,
    about: Mapping[str, Any],
    environment: Mapping[str, str],
    blow: Blow | None,
    task: str,
) -> None:
    """A process that does a run: ends with 0, with 4 when units failed, with 1 when it breaks off.

    ``blow``: falls on it or, where there is a ``task``, on the worker that does that, and then kills both.
    """
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if blow and task:
        there = replace(blow, client=os.getpid())
        patch(_SENT[task], partial(struck, task, there)).start()
    elif blow:
        await_blow(blow)
    _, outcome = run(config(archive, out, scheduler, **about))
    sys.exit(4 if outcome.failed else 0)


def start(
    archive: Path,
    out: Location,
    scheduler: str,
    about: Mapping[str, Any],
    environment: Mapping[str, str],
    blow: Blow | None = None,
    task: str = "",
) -> BaseProcess:
    """Start a :func:`client`."""
    given = archive, out, scheduler, about, environment, blow, task
    process = FORKS.Process(target=client, args=given)
    process.start()
    return process
