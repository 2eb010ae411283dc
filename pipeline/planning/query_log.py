"""Queries of a run that were begun and are not done. While there is one, the cube is partial."""

from collections.abc import Iterator
from datetime import datetime

import pystac
from pydantic import BaseModel, ConfigDict, TypeAdapter

from s2sharp_core import S2SharpError

from ..catalog.extent import Degrees, interval
from ..storage.files import read_text, write_text
from ..storage.location import Location
from .config import RunConfig
from .plan import Plan


class Query(BaseModel):
    """A query of a run: time (None: open), area (``shape``: digest of a polygon area), largest cloud cover."""

    model_config = ConfigDict(frozen=True)

    begin: datetime | None
    end: datetime | None
    bbox: Degrees | None
    shape: str
    max_cloud: float

    def covers(self, other: "Query") -> bool:
        """Return whether this query includes ``other``."""
        return (
            (self.begin is None or (other.begin is not None and self.begin <= other.begin))
            and (self.end is None or (other.end is not None and self.end >= other.end))
            and (self.bbox == other.bbox or _inside(other.bbox, self.bbox))
            and (self.bbox is not None or self.shape == other.shape)
            and self.max_cloud >= other.max_cloud
        )

    def __str__(self) -> str:
        moments = (
            x.isoformat().replace("+00:00", "Z") if x else ".." for x in (self.begin, self.end)
        )
        place = "--area FILE" if self.bbox is None else f"--bbox {' '.join(map(str, self.bbox))}"
        return f"--datetime {'/'.join(moments)} {place} --max-cloud {self.max_cloud:g}"


_QUERIES = TypeAdapter(tuple[Query, ...])


def _inside(inner: Degrees | None, outer: Degrees | None) -> bool:
    if inner is None or outer is None:
        return False
    # A box with west > east crosses the antimeridian; there, only an equal box counts as inside.
    if inner[0] > inner[2] or outer[0] > outer[2]:
        return False
    low = all(a >= b for a, b in zip(inner[:2], outer[:2], strict=True))
    return low and all(a <= b for a, b in zip(inner[2:], outer[2:], strict=True))


def _query(plan: Plan) -> Query:
    config = plan.config
    begin, end = _span(config.datetime, config.since)
    return Query(
        begin=begin, end=end, bbox=config.bbox, shape=plan.shape, max_cloud=config.max_cloud
    )


def unfinished_queries(out: Location) -> tuple[Query, ...]:
    """Return the queries of the run in ``out`` that are not done, the oldest first (``file-broken`` if unreadable)."""
    try:
        return _QUERIES.validate_json(read_text(_file(out)))
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise S2SharpError(
            "file-broken",
            f"{_file(out)} is broken: which queries are not done yet cannot be read.",
            "Remove it, and run again all queries that may not have ended.",
        ) from error


def begun(plan: Plan) -> None:
    """Record that a plan's query is under way."""
    own = _query(plan)
    _keep(plan.out, (*_others(plan.out, own), own))


def done(plan: Plan) -> tuple[Query, ...]:
    """Record that a plan's query is done, and return the others that are not."""
    left = _others(plan.out, _query(plan))
    _keep(plan.out, left)
    return left


def _others(out: Location, own: Query) -> tuple[Query, ...]:
    return tuple(query for query in unfinished_queries(out) if not own.covers(query))


def _keep(out: Location, queries: tuple[Query, ...]) -> None:
    write_text(_file(out), _QUERIES.dump_json(queries, indent=1).decode())


def _file(out: Location) -> Location:
    return out / "owed.json"


def items_in(
    config: RunConfig, around: Degrees, span: str, **limits: float
) -> Iterator[pystac.Item]:
    """Yield the items that a configuration's catalog has in an area and a time.

    ``limits``: ``margin_m``, ``seconds`` of :func:`~s2sharp.catalog.search.search`.
    """
    from ..catalog.search import search  # `status` searches nothing

    private = config.allow_private
    return search(config.catalog, config.collection, around, span, private=private, **limits)


def when(asked: str, since: str | None) -> str:
    """Return the interval to search: the one asked for, from ``since`` on where that is a date."""
    if since in (None, "last"):
        return asked
    return "/".join(moment.isoformat() if moment else ".." for moment in _span(asked, since))


def _span(asked: str, since: str | None) -> tuple[datetime | None, datetime | None]:
    begin, end = interval(asked)
    if since in (None, "last"):
        return begin, end
    from_then, _ = interval(str(since))
    first = max((moment for moment in (begin, from_then) if moment), default=None)
    if first and end and first > end:
        raise S2SharpError(
            "nothing-found",
            f"What was asked for, {asked}, ends before {since}.",
            "Choose a later --datetime, or an earlier --since.",
        )
    return first, end
