"""Flow of units through a cluster: a bounded number in flight, retries, duplicates of slow units, and records."""

import heapq
import itertools
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

from distributed import Client, Future
from distributed.client import ClosedClientError

from s2sharp_core import S2SharpError

from . import interrupt
from .ledger import PASSING, Record

GPU = "GPU"
"""Dask resource that nets request if workers offer it."""

# Units in flight for each worker: one at work and one waiting.
_AHEAD = 2
# Number of neighbouring units that go to one worker: its reads are close together, and the writes of all are spread.
_RUN = 8
# Seconds before the first retry; each further wait is twice as long.
_BACKOFF = 5.0

# A unit lags after this multiple of the others' median time, and at least this many seconds.
_LAG, _LAG_SECONDS = 4.0, 60.0
# Losses of all workers that a unit may outlive; after one more, it counts as their cause.
_LOST = 3
# Seconds without any worker after which a run ends.
_DESERTED = 300.0
# Seconds without a sign of life after which a worker counts as silent.
_SILENT = 60.0
# Seconds to wait for a result: one that was lost with its worker exists again only when the unit has been redone.
_FETCH = 5.0
# Seconds between two checks for slow units and new workers.
_LOOK = 1.0
T = TypeVar("T")


def lost(unit: str, key: str, attempt: int, error: Exception, size: str) -> Record:
    """Return the record of a unit whose worker died or raised an unexpected error; ``size``: flag for smaller units."""
    remedy = (
        f"If a worker had no memory left, choose a smaller {size} or fewer --workers; run again: only what "
        "failed is redone."
    )
    message = f"{unit}: {type(error).__name__}: {error}".rstrip(". ") + f". {remedy}"
    return Record(unit, key, "failed", kind="worker-error", message=message, attempt=attempt)


class Workers:
    """Workers of the cluster and their GPUs, requested from the scheduler at most once a second.

    ``tend`` is called as often; it replaces lost workers if possible, and returns whether it is. ``silent`` is called once
    for a worker without a sign of life: (worker, seconds).
    """

    def __init__(
        self,
        client: Client,
        tend: Callable[[], bool] = lambda: False,
        silent: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._client, self._tend, self._silent = client, tend, silent
        # Worker → (last seen by the scheduler's clock, our time since that has not changed, whether `silent` was called).
        self._seen: dict[str, tuple[float, float, bool]] = {}
        self._asked = float("-inf")
        self._resources: dict[str, dict[str, float]] = {}
        self.lagging: dict[Future[Any], str] = {}
        self.coming = False

    def _look(self) -> dict[str, dict[str, float]]:
        if time.monotonic() - self._asked > _LOOK:
            if self._client.status in ("closing", "closed"):
                raise ClosedClientError("the client has lost its scheduler")
            known = self._client.scheduler_info(n_workers=-1).get("workers", {})
            self._resources = {name: about.get("resources") or {} for name, about in known.items()}
            self._listen({name: about["last_seen"] for name, about in known.items()})
            self.coming = self._tend()
            self._asked = time.monotonic()
        return self._resources

    def _listen(self, seen: Mapping[str, float]) -> None:
        """Call ``silent`` for workers that have become silent."""
        now, before = time.monotonic(), self._seen
        self._seen = {}
        for worker, last in seen.items():
            then, since, told = before.get(worker, (0.0, now, False))
            if last != then:
                since, told = now, False
            elif now - since > _SILENT and not told:
                self._silent(worker, now - since)
                told = True
            self._seen[worker] = last, since, told

    def late(self, worker: str, future: Future[Any]) -> None:
        """Mark a worker whose unit lags: it gets no other unit, in this phase or the next, until that one ends."""
        self.lagging[future] = worker
        future.add_done_callback(lambda done: self.lagging.pop(done, None))

    @property
    def every(self) -> set[str]:
        """All workers."""
        return set(self._look())

    @property
    def sharpening(self) -> list[str]:
        """Workers for nets: those with a GPU if any has one, without late ones unless all are late."""
        every = self._look()
        able = [name for name, has in every.items() if has.get(GPU)] or list(every)
        late = set(self.lagging.values())
        return [name for name in able if name not in late] or able

    @property
    def staging(self) -> list[str]:
        """Workers for copying files: those without a GPU, if there are any."""
        every = self._look()
        return [name for name, has in every.items() if not has.get(GPU)] or list(every)

    @property
    def gpus(self) -> dict[str, float] | None:
        """Resources that a unit requests if any worker has a GPU: half of one, since one of two units is being written."""
        return {GPU: 0.5} if any(has.get(GPU) for has in self._look().values()) else None


class _Hands(Generic[T]):
    """Distribution of things to workers in runs of neighbours; the rest of a lost worker's run goes to the others."""

    def __init__(self, things: Iterable[T]) -> None:
        self._rest = iter(things)
        self._hands: dict[str, deque[T]] = {}

    def next(self, worker: str) -> T | None:
        """Return the next thing for a worker; None if none is left."""
        hand = self._hands.setdefault(worker, deque())
        if not hand:
            hand.extend(itertools.islice(self._rest, _RUN))
        if not hand:
            hand = max(self._hands.values(), key=len)
        return hand.popleft() if hand else None


@dataclass
class _Flight(Generic[T]):
    """A thing in flight: ``attempt`` counts from 1; ``lost``: number of losses of all workers meanwhile; ``futures``:
    two, if it was sent to a second worker.
    """

    thing: T
    attempt: int
    worker: str
    lost: int = 0
    begun: float = field(default_factory=time.monotonic)
    futures: list[Future[Any]] = field(default_factory=list)


@dataclass
class Flow(Generic[T]):
    """Flow of things through a cluster, at most :data:`_AHEAD` for each worker at a time.

    ``submit``: sends one thing to a worker: (thing, attempt, keywords for :meth:`Client.submit`) → future of a
    :class:`Record`; ``failure``: makes the record of a thing whose worker was lost or raised an unexpected error: (thing,
    attempt, error); ``land``: receives the last record of a thing; ``again``: called when a thing will be tried again;
    ``retries``: number of retries of a failure that may pass; ``check``: called about every second, raises to stop;
    ``kind``: returns the kind of a thing. Things of one kind take about the same time, and slow ones are found by it.
    """

    workers: Workers
    submit: Callable[[T, int, dict[str, Any]], Future[Any]]
    failure: Callable[[T, int, Exception], Record]
    land: Callable[[T, Record], None]
    again: Callable[[T, Record], None]
    retries: int
    check: Callable[[], None]
    kind: Callable[[T], str] = lambda _: ""
    _soon: deque[T] = field(default_factory=deque)
    _spare: deque[T] = field(default_factory=deque)
    _flying: dict[T, _Flight[T]] = field(default_factory=dict)
    _landed: SimpleQueue[tuple[T, Future[Any]]] = field(default_factory=SimpleQueue)
    _waiting: list[tuple[float, int, T, int]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _deserted: float | None = None
    _there: set[str] = field(default_factory=set)
    _took: defaultdict[str, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=50))
    )

    def add(self, thing: T, *, spare: bool = False) -> None:
        """Add a thing while others are in flight; it is sent before those that are not distributed yet.

        ``spare``: it may wait. One of these is kept for each worker until nothing else is left, so that no worker is idle
        at the end.
        """
        (self._spare if spare else self._soon).append(thing)

    def through(self, things: Iterable[T]) -> None:
        """Do all of ``things``, in their order as far as workers allow."""
        hands = _Hands(things)
        try:
            while True:
                interrupt.check()
                self.check()
                more = self._launch(hands)
                if not (self._flying or self._waiting or more):
                    return
                try:
                    self._take_in(*self._landed.get(timeout=_LOOK))
                except Empty:
                    self._double()
        finally:
            with suppress(ClosedClientError):  # it would hide the error that closed the client
                for flight in self._flying.values():
                    for future in flight.futures:
                        future.cancel()

    def _launch(self, hands: _Hands[T]) -> bool:
        """Send things to workers with room; return whether more may follow."""
        flying = dict.fromkeys(self.workers.sharpening, 0)
        for flight in self._flying.values():
            if flight.worker in flying:
                flying[flight.worker] += 1
        there = self.workers.every
        if flying and self._there.isdisjoint(there):
            self._rescue(flying)
        self._there = there
        if flying or self.workers.coming:
            self._deserted = None
        elif self._deserted is None:
            self._deserted = time.monotonic()
        elif time.monotonic() - self._deserted > _DESERTED:
            raise S2SharpError(
                "workers-lost",
                f"The cluster has had no worker for {_DESERTED / 60:.0f} minutes.",
                "Start some and run again: only what is missing is done.",
            )
        while flying:
            worker = min(flying, key=lambda name: flying[name])
            if flying[worker] >= _AHEAD or len(self._flying) >= _AHEAD * len(flying):
                return True
            thing, attempt = self._due() or (self._next(hands, worker, len(flying)), 1)
            if thing is None:
                return False
            flight = _Flight(thing, attempt, worker)
            self._flying[thing] = flight
            self._send(flight, worker)
            flying[worker] += 1
        return True

    def _next(self, hands: _Hands[T], worker: str, workers: int) -> T | None:
        """Return the next thing for a worker; None if nothing is left."""
        if self._soon:
            return self._soon.popleft()
        if len(self._spare) > workers:
            return self._spare.popleft()
        thing = hands.next(worker)
        return self._spare.popleft() if thing is None and self._spare else thing

    def _rescue(self, flying: dict[str, int]) -> None:
        """Send again all things that were in flight when all workers were lost.

        Dask (2026.8) does not give them to new workers, which may come so quickly that no moment without workers is seen.
        """
        # The order is reversed each time, so that a thing that kills its worker does not block the others.
        for thing, flight in reversed(list(self._flying.items())):
            del self._flying[thing]
            for future in flight.futures:
                future.cancel()
            if flight.lost == _LOST:
                error = RuntimeError(f"its worker died {_LOST + 1} times in a row")
                self._failed(thing, flight, self.failure(thing, flight.attempt, error))
                continue
            worker = min(flying, key=lambda name: flying[name])
            flying[worker] += 1
            again = _Flight(thing, flight.attempt, worker, flight.lost + 1)
            self._flying[thing] = again
            self._send(again, worker)

    def _due(self) -> tuple[T, int] | None:
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, thing, attempt = heapq.heappop(self._waiting)
            return thing, attempt
        return None

    def _send(self, flight: _Flight[T], worker: str) -> None:
        gpus = self.workers.gpus
        # Not both: a task with a resource and allow_other_workers kills a worker without the resource (distributed 2026.8).
        where = {"resources": gpus} if gpus else {"workers": [worker], "allow_other_workers": True}
        future = self.submit(flight.thing, flight.attempt, {**where, "pure": False})
        flight.futures.append(future)
        thing = flight.thing
        future.add_done_callback(lambda done: self._landed.put((thing, done)))

    def _take_in(self, thing: T, future: Future[Any]) -> None:
        flight = self._flying.get(thing)
        if flight is None or future not in flight.futures:
            return  # the slower of two duplicates
        try:
            record = cast(Record, future.result(timeout=_FETCH))
        except Exception as error:
            if isinstance(error, TimeoutError) and future.status != "error":
                self._landed.put((thing, future))
                return
            # A dead worker or an unexpected error is a failure of the unit.
            record = self.failure(thing, flight.attempt, error)
        del self._flying[thing]
        record = replace(record, attempt=flight.attempt)
        for other in flight.futures:
            # A late unit continues, so that its end shows when its worker can be used again.
            if other is not future and other not in self.workers.lagging:
                other.cancel()
        future.release()
        if record.status == "failed":
            self._failed(thing, flight, record)
        else:
            self._took[self.kind(thing)].append(time.monotonic() - flight.begun)
            self.land(thing, record)

    def _failed(self, thing: T, flight: _Flight[T], record: Record) -> None:
        """Try a failed thing again later if that may help, or else record the failure."""
        if record.kind in PASSING and flight.attempt <= self.retries:
            due = time.monotonic() + _BACKOFF * 2 ** (flight.attempt - 1)
            heapq.heappush(self._waiting, (due, next(self._order), thing, flight.attempt + 1))
            self.again(thing, record)
        else:
            self.land(thing, record)

    def _double(self) -> None:
        """Send slow things to idle workers, too; the first result is used."""
        limits = {
            kind: max(_LAG_SECONDS, _LAG * _AHEAD * statistics.median(took))
            for kind, took in self._took.items()
        }
        busy = {flight.worker for flight in self._flying.values()}
        idle = [name for name in self.workers.sharpening if name not in busy]
        for flight in list(self._flying.values()):
            if not idle:
                return
            limit = limits.get(self.kind(flight.thing), float("inf"))
            if time.monotonic() - flight.begun > limit and len(flight.futures) == 1:
                if not self.workers.gpus:  # with GPUs, Dask chose the worker
                    self.workers.late(flight.worker, flight.futures[0])
                self._send(flight, idle.pop())
