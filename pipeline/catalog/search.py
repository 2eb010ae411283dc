"""From a catalogue, a box and a time to items: a STAC API, a static catalogue, stac-geoparquet (path or URL), or
ESA's products as they are downloaded.

All are asked in the same way and answer alike: the items of one collection whose footprint touches
the box, grown by a margin, and whose time touches the interval. They come one by one, in no order, so that a
continent's need no memory. Clouds are no matter of this module, since a limit on them is one per acquisition.
"""

import datetime as dt
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pystac
import shapely
from shapely.affinity import translate

from s2sharp_core.errors import S2SharpError

from .addresses import absolute, check_href, is_local, parted, public
from .antimeridian import Degrees, unwrap
from .documents import fingerprint, item_of
from .geoparquet import collections, documents
from .http import BrokenError, answer, open_file, read_json, stac_io, unreachable
from .interval import interval
from .metadata import span
from .products import are_products, product_item, product_paths

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

__all__ = ["search"]

MAX_ITEMS = 200_000
"""More than this in one answer is refused: it would be a decade of a continent, or a broken server."""

PAGE = 100

MAX_PAGES = 20_000
"""Of an answer. A server that gives a handful of items a page, and never an end, is broken too."""

MAX_PARTS = 1_000_000

MAX_DEPTH = 30
"""Documents of a static catalogue, and from its root to an item: those of real ones lie ten deep at most."""

METRES_PER_DEGREE = 110_574
"""Of latitude at the equator, where a degree is shortest; so a margin is never cut."""


@dataclass(frozen=True)
class _Query:
    catalog: str
    collection: str
    boxes: list[Degrees]
    area: shapely.Geometry
    start: dt.datetime | None
    end: dt.datetime | None

    @property
    def interval(self) -> str:
        texts = (
            when.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if when else ".."
            for when in (self.start, self.end)
        )
        return "/".join(texts)


def search(
    catalog: str,
    collection: str,
    bbox: Degrees,
    datetime: str,
    margin_m: float = 0,
) -> Iterator[pystac.Item]:
    """The items of ``collection`` that touch ``bbox`` and ``datetime``, each once, in no order.

    Parameters
    ----------
    catalog
        URL of a STAC API, URL or path of a static catalogue, or of stac-geoparquet (``….parquet``); of a
        product (``….SAFE``, ``….zip``, ``….zarr``), or of a folder of products. Products are of the collection
        whose name holds their level, "l1c" or "l2a".
    bbox
        West, south, east, north in degrees; west > east crosses the antimeridian.
    datetime
        As in STAC: ``2024-05-01`` (the whole day), ``2024-05`` (month), ``2024``, a timestamp, or an
        interval ``A/B`` of these, ``..`` for an open end. Times without a zone are UTC.
    margin_m
        By how many metres the box is grown to each side.

    An item of a static catalogue, or a product, that is broken or not there is left out with a warning. Nothing
    found is no item. Errors, some of them while items are drawn: ``bad-config``, ``catalog-unreachable``,
    ``collection-missing``, ``too-many-items``.
    """
    start, end = interval(datetime)
    boxes = _boxes(bbox, margin_m)
    query = _Query(catalog, collection, boxes, _area(boxes), start, end)
    if parted(catalog)[0].lower().endswith((".parquet", ".geoparquet")):
        return _from_parquet(query)
    if are_products(catalog):
        return _from_products(query)
    if is_local(catalog):
        query = replace(query, catalog=_local_file(catalog))
    io = stac_io()
    try:
        root = read_json(io, query.catalog)
    except BrokenError as err:
        raise unreachable(query.catalog, str(err)) from None
    is_api = any("item-search" in str(uri) for uri in root.get("conformsTo") or ())
    return _from_api(io, root, query) if is_api else _from_static(io, root, query)


def _from_parquet(query: _Query) -> Iterator[pystac.Item]:
    found = False
    try:
        with open_file(query.catalog) as file:
            for document in documents(
                file, query.collection, query.boxes, (query.start, query.end)
            ):
                found = True
                try:
                    item = item_of(document, None)
                except BrokenError as err:
                    _leave_out(str(document.get("id")), str(err))
                    continue
                if _matches(item, query):
                    yield item
            known = [query.collection] if found else collections(file)
    except (pa.ArrowException, OSError, ValueError) as err:
        raise unreachable(query.catalog, f"is no stac-geoparquet ({err})") from None
    if known and query.collection not in known:
        raise _missing(query, known)


def _from_api(io: "StacApiIO", root: dict[str, Any], query: _Query) -> Iterator[pystac.Item]:
    from pystac_client.exceptions import APIError

    found: set[str] = set()
    try:
        ways = [link.get("method") for link in root["links"] if link.get("rel") == "search"]
        what = {"collections": [query.collection], "datetime": query.interval, "limit": PAGE}
        client: Any = io.stac_object_from_dict(root, href=query.catalog)
        for box in query.boxes:
            asked = client.search(method="POST" if "POST" in ways else "GET", bbox=box, **what)
            for item in _paged(asked.pages_as_dicts(), query.catalog):
                # An id alone does not do: archives have given one to both halves of a tile.
                if (mark := fingerprint(item)) not in found:
                    found.add(mark)
                    yield item
        lists = client.conforms_to("COLLECTIONS") or client.conforms_to("FEATURES")
        if not found and lists and client.get_collection(query.collection) is None:
            known = islice(client.get_collections(), MAX_ITEMS)
            raise _missing(query, (collection.id for collection in known))
    except APIError as err:
        raise unreachable(query.catalog, answer(err)) from None
    except (AttributeError, KeyError, TypeError, ValueError, pystac.STACTypeError) as err:
        said = f"gave an answer that is no STAC ({type(err).__name__})"
        raise unreachable(query.catalog, said) from None


def _paged(pages: Iterable[dict[str, Any]], catalog: str) -> Iterator[pystac.Item]:
    seen: set[str] = set()
    for number, page in enumerate(pages, 1):
        new: dict[str, pystac.Item] = {}
        broken: dict[str, str] = {}
        for feature in page["features"]:
            try:
                item = item_of(feature, None)
                new[fingerprint(item)] = item
            except BrokenError as err:
                name = feature.get("id") if isinstance(feature, dict) else f"{feature!r:.80}"
                broken[str(name)] = str(err)
        if not new and not all(isinstance(feature, dict) for feature in page["features"]):
            raise TypeError("features that are none")
        for name in broken.keys() - seen:
            _leave_out(name, broken[name])
        if new.keys() | broken.keys() <= seen:
            raise _too_many(catalog, "repeats a page that it gave before")
        seen |= new.keys() | broken.keys()
        if len(seen) > MAX_ITEMS:
            raise _too_many(catalog, f"gives more than {MAX_ITEMS} items")
        if number > MAX_PAGES:
            raise _too_many(catalog, f"gives more than {MAX_PAGES} pages")
        yield from new.values()


def _from_static(io: "StacApiIO", root: dict[str, Any], query: _Query) -> Iterator[pystac.Item]:
    found: set[str] = set()
    known: set[str] = set()
    todo, visited, there = [(query.catalog, root, False, 1)], {query.catalog}, False
    while todo:
        href, document, inside, depth = todo.pop()
        is_collection = document.get("type") == "Collection" or "extent" in document
        if is_collection:
            known.add(str(document.get("id")))
            inside = document.get("id") == query.collection
            there |= inside
        for rel, target in _links(document, href, query.catalog):
            if target in visited or (rel == "item" and is_collection and not inside):
                continue
            visited.add(target)
            if len(visited) > MAX_PARTS:
                raise _too_many(query.catalog, f"has more than {MAX_PARTS} parts")
            if depth >= MAX_DEPTH:
                raise _too_many(query.catalog, f"has catalogues in catalogues, {MAX_DEPTH} deep")
            try:
                if rel == "child":
                    todo.append((target, read_json(io, target), inside, depth + 1))
                    continue
                item = item_of(read_json(io, target), target)
            except BrokenError as err:
                if rel == "child" and inside:
                    raise unreachable(target, str(err)) from None
                _leave_out(target, str(err))
                continue
            if inside or item.collection_id == query.collection:
                there = True
                mark = fingerprint(item)
                if mark not in found and _matches(item, query):
                    found.add(mark)
                    yield item
                if len(found) > MAX_ITEMS:
                    raise _too_many(query.catalog, f"has more than {MAX_ITEMS} such items")
    if not there:
        raise _missing(query, known)


def _from_products(query: _Query) -> Iterator[pystac.Item]:
    found: set[str] = set()
    known: set[str] = set()
    for path in product_paths(query.catalog):
        try:
            level, item = product_item(path)
        except BrokenError as err:
            _leave_out(path, str(err))
            continue
        known.add(f"sentinel-2-{level}")
        mark = fingerprint(item)
        if level in query.collection.lower() and mark not in found and _matches(item, query):
            found.add(mark)
            item.collection_id = query.collection
            yield item
    if not any(name[-3:] in query.collection.lower() for name in known):
        raise _missing(query, known)


def _links(document: dict[str, Any], href: str, catalog: str) -> Iterator[tuple[str, str]]:
    """(rel, absolute address) of the items and children; what we must not open is left out."""
    for link in document.get("links") or ():
        if not isinstance(link, dict) or link.get("rel") not in ("item", "child"):
            continue
        try:
            target = check_href(absolute(str(link.get("href")), href), catalog)
        except (S2SharpError, ValueError):
            _leave_out(str(link.get("href")), f"is an address {public(catalog)} can't send us to")
        else:
            yield link["rel"], target


def _matches(item: pystac.Item, query: _Query) -> bool:
    first, last = span(item)
    if (query.end and first > query.end) or (query.start and last < query.start):
        return False
    return _touches(item, query.area)


def _area(boxes: Iterable[Degrees]) -> shapely.Geometry:
    """The boxes, and once more around the globe, where :func:`unwrap` footprints may reach."""
    once = shapely.union_all([shapely.box(*box) for box in boxes])
    area = once | translate(once, 360)
    shapely.prepare(area)
    return area


def _touches(item: pystac.Item, area: shapely.Geometry) -> bool:
    """As an API does it: by the footprint. A footprint that is no geometry: by its bbox.

    Of an item that tells neither, its files' grids will tell.
    """
    if item.geometry:
        try:
            return bool(area.intersects(unwrap(shapely.geometry.shape(item.geometry))))
        except Exception:  # noqa: S110 - shapely, GEOS and malformed JSON each have their own
            pass
    if not item.bbox:
        return True
    half = len(item.bbox) // 2
    west, south, east, north = *item.bbox[:2], *item.bbox[half : half + 2]
    return bool(area.intersects(shapely.box(west, south, east + 360 * (east < west), north)))


def _local_file(catalog: str) -> str:
    path = Path(unquote(urlsplit(catalog).path) if catalog.startswith("file:") else catalog)
    path = path.expanduser().absolute()
    return str(path / "catalog.json" if path.is_dir() else path)


def _boxes(bbox: Degrees, margin_m: float) -> list[Degrees]:
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


def _bad_box(bbox: object, margin_m: float = 0) -> S2SharpError:
    return S2SharpError(
        "bad-config",
        f"bbox {bbox!r} with a margin of {margin_m} m is no west, south, east, north in degrees.",
        "Write, for example, 14.9 47.7 15.1 47.9; west > east crosses the antimeridian.",
    )
