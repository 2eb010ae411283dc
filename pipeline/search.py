"""From a catalogue, a box and a time to items: a STAC API, or a static catalogue (path or URL).

Both are asked in the same way and answer alike: the items of one collection whose footprint touches
the box, grown by a margin, and whose time touches the interval. Clouds are no matter of this module,
since a limit on them is one per acquisition.
"""

import datetime as dt
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pystac
import shapely
from pystac.utils import make_absolute_href
from urllib3 import BaseHTTPResponse, Retry

from s2sharp_core.errors import S2SharpError

from .archives import check_href, is_local, public, sensed

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

__all__ = ["interval", "public", "search"]

MAX_ITEMS = 10_000
"""More than this in one answer is refused: it would be a decade of a country, or a broken server."""

PAGE = 100
RETRIES = 5
BACKOFF = 0.4
"""Seconds; the waits are 0, 2, 4, 8, 16 times this, or what the server asks for, up to a minute."""

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes of an answer."""

METRES_PER_DEGREE = 110_574
"""Of latitude at the equator, where a degree is shortest; so a margin is never cut."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Query:
    catalog: str
    collection: str
    boxes: list[Box]
    start: dt.datetime | None
    end: dt.datetime | None

    @property
    def interval(self) -> str:
        texts = (
            when.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if when else ".."
            for when in (self.start, self.end)
        )
        return "/".join(texts)


class _Patience(Retry):
    """Waits as long as a server asks for, but no longer than a minute."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, 60.0)


class _BrokenError(Exception):
    """One document is missing or says no STAC; the rest of the catalogue may be sound."""


def search(
    catalog: str,
    collection: str,
    bbox: Box,
    datetime: str,
    margin_m: float = 0,
) -> list[pystac.Item]:
    """The items of ``collection`` that touch ``bbox`` and ``datetime``, by (datetime, id).

    Parameters
    ----------
    catalog
        URL of a STAC API, or URL or path of a static catalogue.
    bbox
        West, south, east, north in degrees; west > east crosses the antimeridian.
    datetime
        As in STAC: ``2024-05-01`` (the whole day), ``2024-05`` (month), ``2024``, a timestamp, or an
        interval ``A/B`` of these, ``..`` for an open end. Times without a zone are UTC.
    margin_m
        By how many metres the box is grown to each side.

    An item of a static catalogue that is broken or not there is left out with a warning. Nothing
    found is an empty list. Errors: ``bad-config``, ``catalog-unreachable``, ``collection-missing``,
    ``too-many-items``.
    """
    start, end = interval(datetime)
    if is_local(catalog):
        catalog = _local_file(catalog)
    query = _Query(catalog, collection, _boxes(bbox, margin_m), start, end)
    io = _io()
    try:
        root = _read(io, catalog)
    except _BrokenError as err:
        raise _unreachable(catalog, str(err)) from None
    is_api = any("item-search" in str(uri) for uri in root.get("conformsTo") or ())
    items = _from_api(io, root, query) if is_api else _from_static(io, root, query)
    return sorted(items, key=lambda item: (sensed(item), item.id))


def _from_api(io: "StacApiIO", root: dict[str, Any], query: _Query) -> Iterable[pystac.Item]:
    from pystac_client.exceptions import APIError

    found: dict[str, pystac.Item] = {}
    try:
        ways = [link.get("method") for link in root["links"] if link.get("rel") == "search"]
        what = {"collections": [query.collection], "datetime": query.interval, "limit": PAGE}
        client: Any = io.stac_object_from_dict(root, href=query.catalog)
        for box in query.boxes:
            asked = client.search(method="POST" if "POST" in ways else "GET", bbox=box, **what)
            for item in _paged(asked.pages_as_dicts(), query.catalog):
                found[item.id] = item
        lists = client.conforms_to("COLLECTIONS") or client.conforms_to("FEATURES")
        if not found and lists and client.get_collection(query.collection) is None:
            known = islice(client.get_collections(), MAX_ITEMS)
            raise _missing(query, (collection.id for collection in known))
    except APIError as err:
        raise _unreachable(query.catalog, _answer(err)) from None
    except (AttributeError, KeyError, TypeError, ValueError, pystac.STACTypeError) as err:
        said = f"gave an answer that is no STAC ({type(err).__name__})"
        raise _unreachable(query.catalog, said) from None
    return found.values()


def _paged(pages: Iterable[dict[str, Any]], catalog: str) -> Iterator[pystac.Item]:
    seen: set[str] = set()
    for page in pages:
        new = {str(feature.get("id")): feature for feature in page["features"]}
        if new.keys() <= seen:
            raise _too_many(catalog, "repeats a page that it gave before")
        seen |= new.keys()
        if len(seen) > MAX_ITEMS:
            raise _too_many(catalog, f"gives more than {MAX_ITEMS} items")
        for name, feature in new.items():
            try:
                yield _item(feature, None)
            except _BrokenError as err:
                _leave_out(name, str(err))


def _from_static(io: "StacApiIO", root: dict[str, Any], query: _Query) -> Iterable[pystac.Item]:
    found: dict[str, pystac.Item] = {}
    known: set[str] = set()
    todo, visited, there = [(query.catalog, root, False)], {query.catalog}, False
    while todo:
        href, document, inside = todo.pop()
        is_collection = document.get("type") == "Collection" or "extent" in document
        if is_collection:
            known.add(str(document.get("id")))
            inside = document.get("id") == query.collection
            there |= inside
        for rel, target in _links(document, href, query.catalog):
            if target in visited or (rel == "item" and is_collection and not inside):
                continue
            visited.add(target)
            if len(visited) > 10 * MAX_ITEMS:
                raise _too_many(query.catalog, f"has more than {10 * MAX_ITEMS} parts")
            try:
                if rel == "child":
                    todo.append((target, _read(io, target), inside))
                    continue
                item = _item(_read(io, target), target)
            except _BrokenError as err:
                if rel == "child" and inside:
                    raise _unreachable(target, str(err)) from None
                _leave_out(target, str(err))
                continue
            if inside or item.collection_id == query.collection:
                there = True
                if _matches(item, query):
                    found[item.id] = item
                if len(found) > MAX_ITEMS:
                    raise _too_many(query.catalog, f"has more than {MAX_ITEMS} such items")
    if not there:
        raise _missing(query, known)
    return found.values()


def _links(document: dict[str, Any], href: str, catalog: str) -> Iterator[tuple[str, str]]:
    """(rel, absolute address) of the items and children; what we must not open is left out."""
    for link in document.get("links") or ():
        if not isinstance(link, dict) or link.get("rel") not in ("item", "child"):
            continue
        try:
            target = check_href(make_absolute_href(str(link.get("href")), href), catalog)
        except (S2SharpError, ValueError):
            _leave_out(str(link.get("href")), f"is an address {public(catalog)} can't send us to")
        else:
            yield link["rel"], target


def _matches(item: pystac.Item, query: _Query) -> bool:
    told = item.common_metadata
    first, last = told.start_datetime, told.end_datetime
    if first is None or last is None:
        first = last = sensed(item)
    # A time without a zone is UTC in STAC.
    first, last = (t if t.tzinfo else t.replace(tzinfo=dt.UTC) for t in (first, last))
    if (query.end and first > query.end) or (query.start and last < query.start):
        return False
    return any(_touches(item, box) for box in query.boxes)


def _touches(item: pystac.Item, box: Box) -> bool:
    """As an API does it: by the footprint. A footprint that is no geometry: by its bbox."""
    if item.geometry:
        try:
            return bool(shapely.geometry.shape(item.geometry).intersects(shapely.box(*box)))
        except Exception:  # noqa: S110 - shapely, GEOS and malformed JSON each have their own
            pass
    if not item.bbox:
        return False
    half = len(item.bbox) // 2
    west, south, east, north = *item.bbox[:2], *item.bbox[half : half + 2]
    return west <= box[2] and east >= box[0] and south <= box[3] and north >= box[1]


def _item(document: dict[str, Any], href: str | None) -> pystac.Item:
    try:
        item = pystac.Item.from_dict(document, href=href, preserve_dict=False)
        sensed(item)
    except Exception as err:
        # pystac takes what it is given on trust: any error may come of a hostile document.
        raise _BrokenError(f"is no STAC item ({type(err).__name__})") from err
    return item


def _io() -> "StacApiIO":
    """What reads documents, local or remote, patiently: a search is safe to repeat, POST too."""
    from pystac_client.stac_api_io import StacApiIO

    retry = _Patience(
        total=RETRIES,
        connect=2,
        backoff_factor=BACKOFF,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        raise_on_status=False,
    )
    return StacApiIO(max_retries=retry, timeout=TIMEOUT)


def _read(io: "StacApiIO", href: str) -> dict[str, Any]:
    """A JSON object. Raises `_BrokenError`, or ``catalog-unreachable`` if the server may know better."""
    from pystac_client.exceptions import APIError

    try:
        document = io.read_json(href)
    except APIError as err:
        if getattr(err, "status_code", None) in (404, 410):
            raise _BrokenError(_answer(err)) from None
        raise _unreachable(href, _answer(err)) from None
    except OSError as err:
        raise _BrokenError(f"can't be read ({err.strerror or type(err).__name__})") from None
    except (ValueError, RecursionError):
        raise _BrokenError("is no JSON") from None
    if not isinstance(document, dict):
        raise _BrokenError("is no JSON object")
    return document


def _local_file(catalog: str) -> str:
    path = Path(unquote(urlsplit(catalog).path) if catalog.startswith("file:") else catalog)
    path = path.expanduser().absolute()
    return str(path / "catalog.json" if path.is_dir() else path)


def interval(text: str) -> tuple[dt.datetime | None, dt.datetime | None]:
    """First and last moment of a STAC datetime or interval; None for an open end."""
    parts = [part.strip() for part in text.split("/")]
    spans = [None if part in ("", "..") else _span(part, text) for part in parts]
    first, last = spans[0], spans[-1]
    start, end = first[0] if first else None, last[1] if last else None
    if len(parts) > 2 or not (start or end) or (start and end and start > end):
        raise _bad_time(text)
    return start, end


def _span(part: str, text: str) -> tuple[dt.datetime, dt.datetime]:
    try:
        if found := re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", part):
            year, month, day = (int(group or 1) for group in found.groups())
            first = dt.datetime(year, month, day, tzinfo=dt.UTC)
            if found[3]:
                after = first + dt.timedelta(days=1)
            elif found[2]:
                after = first.replace(year=year + month // 12, month=month % 12 + 1)
            else:
                after = first.replace(year=year + 1)
            return first, after - dt.timedelta(milliseconds=1)
        moment = dt.datetime.fromisoformat(part)
    except (ValueError, OverflowError):
        raise _bad_time(text) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return moment, moment


def _boxes(bbox: Box, margin_m: float) -> list[Box]:
    """The grown box; two where it crosses the antimeridian, since APIs take that differently."""
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


def _leave_out(what: str, why: str) -> None:
    warnings.warn(f"{public(what)} {why}; it is left out.", stacklevel=3)


def _answer(err: Exception) -> str:
    # Never the error's own text: it holds the address with everything secret in it.
    status = getattr(err, "status_code", None)
    return f"answered {status}" if status else "did not answer"


def _unreachable(href: str, why: str) -> S2SharpError:
    return S2SharpError(
        "catalog-unreachable",
        f"The catalogue {public(href)} {why}.",
        "Check the address, the network and, where one is needed, the login; then run again.",
    )


def _missing(query: _Query, known: Iterable[str]) -> S2SharpError:
    names = sorted(known)
    return S2SharpError(
        "collection-missing",
        f"{public(query.catalog)} has no collection {query.collection!r}; it has "
        f"{', '.join(names[:50]) or 'none'}{' …' if len(names) > 50 else ''}.",
        "Choose one of these.",
    )


def _too_many(catalog: str, what: str) -> S2SharpError:
    return S2SharpError(
        "too-many-items",
        f"{public(catalog)} {what}.",
        "Ask for a smaller area or a shorter time.",
    )


def _bad_time(text: str) -> S2SharpError:
    return S2SharpError(
        "bad-config",
        f"{text!r} is no date, month, year, timestamp or interval of these, first before last.",
        "Write, for example, 2024-05-01, 2024-05 or 2024-05-01/2024-06-15.",
    )


def _bad_box(bbox: object, margin_m: float = 0) -> S2SharpError:
    return S2SharpError(
        "bad-config",
        f"bbox {bbox!r} with a margin of {margin_m} m is no west, south, east, north in degrees.",
        "Write, for example, 14.9 47.7 15.1 47.9; west > east crosses the antimeridian.",
    )
