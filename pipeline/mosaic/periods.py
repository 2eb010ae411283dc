"""Periods of a mosaic, and the order of preference of their acquisitions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from .sources import CubeDate


@dataclass(frozen=True)
class Period:
    """A half-open interval of time: ``start``, ``end`` in ISO 8601, UTC; ``name``: the start, shortened."""

    name: str
    start: str
    end: str

    def holds(self, source: CubeDate) -> bool:
        return self.start <= source.datetime < self.end


def periods(kind: str, sources: Iterable[CubeDate]) -> tuple[Period, ...]:
    """Return the periods with an acquisition, in order; ``kind`` is as in ``MosaicConfig.period``.

    Periods of a number of days begin anew each year, so that they are the same in every mosaic.
    """
    times = sorted(datetime.fromisoformat(s.datetime) for s in sources)
    if kind == "all":
        end = _midnight(times[-1]) + timedelta(days=1)
        return (_period("all", _midnight(times[0]), end),)
    found = {_around(kind, time) for time in times}
    return tuple(_period(_name(kind, start), start, end) for start, end in sorted(found))


def _midnight(time: datetime) -> datetime:
    return datetime(time.year, time.month, time.day)


def _around(kind: str, time: datetime) -> tuple[datetime, datetime]:
    first, last = datetime(time.year, 1, 1), datetime(time.year + 1, 1, 1)
    if kind == "year":
        return first, last
    if kind == "month":
        following = datetime(time.year, time.month, 28) + timedelta(days=4)
        return datetime(time.year, time.month, 1), datetime(following.year, following.month, 1)
    length = timedelta(days=int(kind.removesuffix("D")))
    start = first + (time - first) // length * length
    return start, min(start + length, last)


def _name(kind: str, start: datetime) -> str:
    return {"year": f"{start:%Y}", "month": f"{start:%Y-%m}"}.get(kind, f"{start:%Y-%m-%d}")


def _period(name: str, start: datetime, end: datetime) -> Period:
    return Period(name, start.isoformat(), end.isoformat())


def by_preference(period: Period, sources: Iterable[CubeDate]) -> tuple[tuple[CubeDate, ...], ...]:
    """Return the datatakes of a period, those closest to its middle first, then by name; each in all its codes."""
    own = sorted((s for s in sources if period.holds(s)), key=lambda s: (s.take, s.epsg, s.id))
    takes = [tuple(group) for _, group in groupby(own, lambda s: s.take)]
    start, end = (datetime.fromisoformat(t) for t in (period.start, period.end))
    middle = start + (end - start) / 2

    def distance(take: tuple[CubeDate, ...]) -> tuple[timedelta, str]:
        seen = min(datetime.fromisoformat(s.datetime) for s in take)
        return abs(seen - middle), take[0].take

    return tuple(sorted(takes, key=distance))
