"""Reading ahead: the next strip of a unit while one is sharpened, and the first strip of the next unit."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from s2sharp_core.bands import CLOUDS
from s2sharp_core.blocks import Begun
from s2sharp_core.lattice import Box
from s2sharp_core.threads import threads_for

from ..engine.worker import at_work
from ..planning.method import side_of
from ..planning.plan import Plan
from ..planning.readers import reader_of
from ..planning.units import Unit, strips
from ..scenes.acquisition import Acquisition
from ..scenes.read import Block, Reader, load_block, load_scl

T = TypeVar("T")

# Only one unit is begun ahead, because memory is planned for one.
_NEXT = threading.Lock()


@dataclass
class ReadAhead:
    """The beginning of a unit that was read.

    ``wanted``: requested cells of the unit; ``parts``: its strips; ``overcast``: scene classification on the 10 m grid if
    all of it is cloud, else None; ``first``: pixels of the first strip, None if the unit is overcast; ``seconds``: time
    of reading.
    """

    reader: Reader
    wanted: Box
    parts: list[Box]
    overcast: np.ndarray | None
    first: Block | None
    seconds: float


def _read(what: Callable[..., T], *given: Any) -> "Future[T]":
    """Read in the one thread for strips."""
    return threads_for("strips", 1).submit(what, *given)


def _begin(plan: Plan, unit: Unit, abreast: int) -> ReadAhead:
    start = time.perf_counter()
    acquisition = plan.acquisition(unit)
    reader, wanted = reader_of(plan, acquisition), plan.wanted(unit) & acquisition.box
    parts = strips(wanted, side_of(plan.config, plan.device, abreast), abreast)
    overcast, first = _overcast(reader, acquisition, wanted), None
    if overcast is None:
        first = load_block(reader, acquisition, plan.reads, parts[0], plan.margin)
    return ReadAhead(reader, wanted, parts, overcast, first, time.perf_counter() - start)


def _overcast(reader: Reader, acquisition: Acquisition, wanted: Box) -> np.ndarray | None:
    """Return the scene classification if all of it is cloud, else None."""
    if not all(scene.scl for scene in acquisition.within(wanted)):
        return None
    scl = load_scl(reader, wanted)
    seen = scl[scl != 0]
    return scl if seen.size and np.isin(seen, CLOUDS).all() else None


@contextmanager
def beginning(plan: Plan, unit: Unit, abreast: int) -> Iterator[Callable[[], ReadAhead]]:
    """Begin to read a unit: at once if another unit is at work meanwhile, else when the beginning is requested.

    Yield a function that waits for the beginning; it raises the errors of :func:`~s2sharp.scenes.read.load_block`.
    """
    early = at_work() and _NEXT.acquire(blocking=False)
    begun = [_read(_begin, plan, unit, abreast)] if early else []
    with ExitStack() as place:
        if early:
            place.callback(_NEXT.release)

        def come() -> ReadAhead:
            # The unit is at work from now on, and another one may be begun ahead.
            place.close()
            return (begun.pop() if begun else _read(_begin, plan, unit, abreast)).result()

        yield come


def reading_ahead(
    take: Callable[[Box], T],
    begin: Callable[[Box, T, Begun | None], Begun | None],
    parts: Sequence[Box],
) -> Iterator[Box]:
    """Yield each strip that is sharpened, in order, once it is.

    ``take`` reads and prepares a strip; ``begin`` begins to sharpen what it returned, behind an earlier strip that may
    still be at work. Two strips are in memory at most: the next one is taken as soon as the last but one is done.
    """
    waiting: deque[tuple[Box, Begun]] = deque()

    def done(most: int) -> Iterator[Box]:
        """Yield the earlier strips, until ``most`` are at work."""
        while len(waiting) > most:
            strip, begun = waiting[0]
            begun.wait()
            del begun
            waiting.popleft()
            yield strip

    coming = _read(take, parts[0])
    try:
        for strip, after in zip(parts, [*parts[1:], None], strict=True):
            begun = begin(strip, coming.result(), waiting[-1][1] if waiting else None)
            if begun is not None:
                waiting.append((strip, begun))
            del begun
            yield from done(1)
            if after is not None:
                coming = _read(take, after)
        yield from done(0)
    finally:
        # After an error, no thread still uses the reader, or the memory of the unit.
        wait([coming])
        for _, begun in waiting:
            begun.cancel()
