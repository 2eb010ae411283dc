"""Search for items in a catalog, by box and time; and the name of its only collection, so that it need not be given.

A catalog is a STAC API, a static catalog, a saved search, stac-geoparquet (path or URL), or ESA's products as
downloaded. All give the same: the items of one collection whose footprint touches the box, grown by a margin, and
whose time touches the interval. Items come one by one, in no order, so a continent needs no memory. The cloud limit
is applied elsewhere, because it holds per acquisition.
"""

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pystac

from s2sharp_core.errors import S2SharpError

from .addresses import absolute, is_local, public, split_address
from .documents import fingerprint
from .extent import Degrees, interval
from .faults import BrokenError, leave_out, unreachable
from .geoparquet import collections, from_parquet, open_file
from .http import read_json, stac_io
from .local_products import are_products, product_item, product_paths
from .query import SEARCH_SECONDS, Query, boxes_around, links_of
from .stac_api import from_api, is_api
from .static import from_saved, from_static, local_file

# Most documents that are read for the name of a collection: a catalog without collections names them item by item.
_MOST = 1000


class OtherLevelWarning(UserWarning):
    """A folder has products of another level than the one that is searched for."""


def search(
    catalog: str,
    collection: str,
    bbox: Degrees,
    datetime: str,
    margin_m: float = 0,
    *,
    private: bool = False,
    seconds: float = SEARCH_SECONDS,
) -> Iterator[pystac.Item]:
    """Yield the items of ``collection`` that touch ``bbox`` and ``datetime``, each once, in no order.

    Parameters
    ----------
    catalog
        URL of a STAC API; URL or path of a static catalog, of one collection of either, of a saved search (an
        ItemCollection), of a single item, or of stac-geoparquet (``….parquet``); a product (``….SAFE``, ``….zip``,
        ``….zarr``), or a folder of products. Products belong to the collection whose name holds their level, "l1c" or
        "l2a".
    bbox
        West, south, east, north in degrees; west > east crosses the antimeridian.
    datetime
        As in STAC: ``2024-05-01`` (the whole day), ``2024-05`` (month), ``2024``, a timestamp, or an interval ``A/B``
        of these, ``..`` for an open end. Times without a zone are UTC.
    margin_m
        Metres by which the box grows on each side.
    private
        Whether a catalog outside a private network may lead to hosts inside it.
    seconds
        Time limit of the whole search.

    A broken or missing item of a static catalog, or a product, is left out with a warning. A warning also tells if an
    answer seems incomplete. A search without matches yields nothing. Errors, some of them during the iteration:
    ``bad-config``, ``catalog-unreachable``, ``collection-missing``, ``too-many-items``.
    """
    start, end = interval(datetime)
    query = Query(catalog, collection, boxes_around(bbox, margin_m), start, end, private, seconds)
    if split_address(catalog)[0].lower().endswith((".parquet", ".geoparquet")):
        return from_parquet(query)
    if are_products(catalog):
        return _once(_from_products(query))
    if is_local(catalog):
        query = replace(query, catalog=local_file(catalog))
    io = stac_io(query.catalog, private=private)
    try:
        root = read_json(io, query.catalog)
    except BrokenError as err:
        raise unreachable(query.catalog, str(err)) from None
    if root.get("type") in ("Feature", "FeatureCollection"):
        return _once(from_saved(io, root, query))
    return _once(from_api(io, root, query) if is_api(root) else from_static(io, root, query))


def _once(items: Iterable[pystac.Item]) -> Iterator[pystac.Item]:
    """Yield each item once. The id alone does not identify it: archives have given one id to both halves of a tile."""
    found: set[str] = set()
    for item in items:
        if (mark := fingerprint(item)) not in found:
            found.add(mark)
            yield item


def _from_products(query: Query) -> Iterator[pystac.Item]:
    known: set[str] = set()
    others: set[str] = set()
    broken = 0
    for path in product_paths(query.catalog):
        try:
            level, item = product_item(path)
        except BrokenError as err:
            leave_out(path, str(err))
            broken += 1
            continue
        known.add(f"sentinel-2-{level}")
        if level not in query.collection.lower():
            others |= {level} if query.matches(item) else set()
        elif query.matches(item):
            item.collection_id = query.collection
            yield item
    if broken and not known:
        raise S2SharpError(
            "collection-missing",
            f"{public(query.catalog)} has no product that can be read; {broken} were left out.",
            "Download them again, or correct what the warnings say of them.",
        )
    if not any(name[-3:] in query.collection.lower() for name in known):
        raise query.missing(known)
    for level in sorted(others):
        own = "1C" if level == "l2a" else "2A"
        # No number of products: a query is run in parts, and the same text is shown once.
        warnings.warn(
            f"{public(query.catalog)} also has products of Level-{level[1:].upper()}, which are left out: --collection "
            f"{query.collection} takes Level-{own} alone. For the others, run again with --collection sentinel-2-{level} "
            "and another --out.",
            OtherLevelWarning,
            stacklevel=2,
        )


def single_collection(catalog: str) -> str | None:
    """Return the name of the only collection in a file or folder; None where it has several or names none.

    Unreadable documents raise nothing here; the search reports them.
    """
    if are_products(catalog):
        return None
    if catalog.lower().endswith((".parquet", ".geoparquet")):
        try:
            with open_file(str(Path(catalog).expanduser())) as file:
                names = set(collections(file))
        except (S2SharpError, pa.ArrowException, OSError, ValueError):
            return None
    else:
        names = _collections(local_file(catalog))
    return names.pop() if len(names) == 1 else None


def _collections(first: str) -> set[str]:
    """Return the collections of a catalog; the search ends at the second."""
    io = stac_io(first, private=False)
    names: set[str] = set()
    # Only direct children of a collection are read, since they may be collections, too.
    todo, visited = deque([(first, True)]), {first}
    while todo and len(names) < 2:
        href, onward = todo.popleft()
        try:
            document = read_json(io, href)
        except (BrokenError, S2SharpError):
            continue
        names |= _named(document)
        collection = document.get("type") == "Collection"
        if collection or (onward and document.get("type") == "Catalog"):
            rels = ("child",) if collection else ("child", "item")
            links = [link for rel in rels for link in links_of(document, rel)]
            try:
                targets = [absolute(str(link.get("href")), href) for link in links]
            except ValueError:
                return set()
            if len(visited) + len(targets) > _MOST or not all(map(is_local, targets)):
                return set()
            todo.extend((target, not collection) for target in targets if target not in visited)
            visited.update(targets)
    return names


def _named(document: dict[str, Any]) -> set[str]:
    """Return the collection that a document is, or those that its items name."""
    if document.get("type") == "Collection":
        return {str(document.get("id"))}
    items = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    every = items if isinstance(items, list) else []
    return {str(x["collection"]) for x in every if isinstance(x, dict) and x.get("collection")}
