"""What workers are given to do in place of a unit."""

import os
import signal
import time
from typing import Any

from s2sharp.engine.ledger import Record
from s2sharp.execution.run import Run
from s2sharp.execution.unit import sharpen_unit
from s2sharp.planning.units import Unit


def dies_of_the_middle(run: Run, unit: Unit, *more: Any) -> Record:
    """As a unit, but the one in the second row and column is too much for whoever tries it."""
    if (unit.row, unit.col) == (1, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return sharpen_unit(run, unit, *more)


def dies_once(run: Run, unit: Unit, *more: Any) -> Record:
    """As a unit, but the first that comes to the second row and column is the end of its worker."""
    died = run.out / "died"
    if (unit.row, unit.col) == (1, 1) and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sharpen_unit(run, unit, *more)


def waits_below(run: Run, unit: Unit, *more: Any) -> Record:
    """As a unit, but whoever has one below the first row goes no further until its run is over."""
    if unit.row > 0:
        time.sleep(60)
    return sharpen_unit(run, unit, *more)
