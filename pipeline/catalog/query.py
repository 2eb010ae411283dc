"""A query of a catalog: the requested box, time and collection, and the check if an item meets them."""

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any

import pystac
import shapely
from shapely.affinity import translate

from s2sharp_core.errors import S2SharpError

from .addresses import public
from .antimeridian import unwrap
from .extent import Degrees
from .metadata import sensing_span

MAX_ITEMS = 200_000
"""Largest number of items in one answer. More would be a decade of a continent, or a broken server."""

METRES_PER_DEGREE = 110_574
"""Length of a degree of latitude at the equator, where it is shortest; so a margin is never too small."""

SEARCH_SECONDS = 3 * 3600.0
"""Seconds for one search. An API needs an hour and a half for a decade of a continent."""


@dataclass(frozen=True)
class Query:
    """A query of a catalog. ``private``: whether it may name hosts inside a private network, wherever it lies."""

    catalog: str
    collection: str
    boxes: list[Degrees]
    start: dt.datetime | None
    end: dt.datetime | None
    private: bool = False
    seconds: float = SEARCH_SECONDS
    begun: float = field(default_factory=monotonic, compare=False)

    @property
    def interval(self) -> str:
        """Return the time in the form that APIs accept."""
        texts = (
            when.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if when else ".."
            for when in (self.start, self.end)
        )
        return "/".join(texts)

    @cached_property
    def area(self) -> shapely.Geometry:
        """Return the boxes, repeated once around the globe to both sides, where footprints may reach."""
        area = shapely.union_all([shapely.box(*box) for box in self.turned])
        shapely.prepare(area)
        return area

    @property
    def turned(self) -> list[Degrees]:
        """Return the boxes as in :attr:`area`."""
        return [
            (west + turn, south, east + turn, north)
            for turn in (0, -360, 360)
            for west, south, east, north in self.boxes
        ]

    def matches(self, item: pystac.Item) -> bool:
        """Return whether an item meets box and time."""
        return self.meets(item) and self._touches(item)

    def meets(self, item: pystac.Item) -> bool:
        """Return whether an item meets the time."""
        first, last = sensing_span(item)
        return not ((self.end and first > self.end) or (self.start and last < self.start))

    def _touches(self, item: pystac.Item) -> bool:
        """Return whether an item touches the area by its footprint, as an API does, or by its bbox if the footprint
        is invalid or crosses itself.

        If an item states neither, or two places, the grids of its files decide later.
        """
        place = None
        if item.bbox:
            half = len(item.bbox) // 2
            west, south, east, north = *item.bbox[:2], *item.bbox[half : half + 2]
            place = shapely.box(west, south, east + 360 * (east < west), north)
        if item.geometry:
            try:
                shape = unwrap(shapely.geometry.shape(item.geometry))
                if self.area.intersects(shape):
                    return True
                if place is None:
                    return False
                # The outline of a shape that crosses itself is not certain. Both may meet on another turn of the globe.
                turned = (translate(place, turn) for turn in (-360, 0, 360))
                if shape.is_valid and any(map(shape.intersects, turned)):
                    return False
            except Exception:  # noqa: S110 - shapely, GEOS and malformed JSON each have their own
                pass
        return place is None or bool(self.area.intersects(place))

    def check_time(self, most: float = math.inf) -> None:
        """Raise ``catalog-unreachable`` if the search has taken longer than allowed, or than ``most`` seconds."""
        most = min(most, self.seconds)
        if monotonic() - self.begun > most:
            raise S2SharpError(
                "catalog-unreachable",
                f"The search of the catalog {public(self.catalog)} did not end within {most:.0f} s.",
                "Ask for a smaller area or a shorter time, or use an API or stac-geoparquet instead of a static catalog.",
            )

    def missing(self, known: Iterable[str]) -> S2SharpError:
        """Return the error for a collection that is not in ``known``."""
        names = sorted(known)
        return S2SharpError(
            "collection-missing",
            f"{public(self.catalog)} has no collection {self.collection!r}; it has "
            f"{', '.join(names[:50]) or 'none'}{' …' if len(names) > 50 else ''}.",
            f"Choose one of these: --collection {names[0]}."
            if names
            else "Choose another --catalog.",
        )

    def too_many(self, what: str) -> S2SharpError:
        """Return the error for an endless list."""
        return S2SharpError(
            "too-many-items",
            f"{public(self.catalog)} {what}.",
            "Ask for a smaller area or a shorter time.",
        )


def links_of(document: dict[str, Any], rel: str) -> Iterator[dict[str, Any]]:
    """Yield the links of a document with a relation, in any case; invalid links are skipped."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and str(link.get("rel")).lower() == rel:
            yield link


def boxes_around(bbox: Degrees, margin_m: float) -> list[Degrees]:
    """Return the grown box, or two if it crosses the antimeridian, because APIs treat such boxes differently.

    Error: ``bad-config``.
    """
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise _bad_box(bbox) from None
    fits = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    if not fits or not 0 <= margin_m < math.inf:
        raise _bad_box(bbox, margin_m)
    grow = margin_m / METRES_PER_DEGREE
    south, north = max(-90.0, south - grow), min(90.0, north + grow)
    shrink = math.cos(math.radians(max(abs(south), abs(north))))
    grow = min(180.0, grow / max(shrink, 1e-9))
    if east - west + (360 if east < west else 0) + 2 * grow >= 360:
        return [(-180.0, south, 180.0, north)]
    west, east = west - grow, east + grow
    west, east = west + (360 if west < -180 else 0), east - (360 if east > 180 else 0)
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _bad_box(bbox: object, margin_m: float = 0) -> S2SharpError:
    return S2SharpError(
        "bad-config",
        f"bbox {bbox!r} with a margin of {margin_m} m is not west, south, east, north in degrees.",
        "Write, for example, 14.9 47.7 15.1 47.9; west > east crosses the antimeridian.",
    )
