"""A static catalog, walked from document to document, and a saved search, which is a single document."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pystac

from s2sharp_core.errors import S2SharpError

from .addresses import absolute, check_href, is_local, on_disk, public
from .documents import item_of, items_in
from .faults import BrokenError, leave_out, unreachable
from .http import read_json
from .metadata import as_text
from .query import MAX_ITEMS, Query, links_of
from .stac_api import from_items, matched, next_page, warn_partial

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

SECONDS = 3600.0
"""Seconds for a walk through a static catalog. A catalog that takes longer needs another way of search."""

MAX_PARTS = 1_000_000

MAX_CATALOGUES = 20_000
"""Largest number of catalogs in a static catalog, fetched one by one: a folder for each tile and year is fewer."""

MAX_SILENT = 3
"""Largest number of items that are left out after retries because their server fails. Beyond that, the server is
broken."""

MAX_DEPTH = 30
"""Deepest nesting from the root of a static catalog to an item; real ones have at most ten levels."""


def from_static(io: "StacApiIO", root: dict[str, Any], query: Query) -> Iterator[pystac.Item]:
    known: set[str] = set()
    # Higher documents come first, so that a catalog that is too broad shows early.
    todo, visited, there = deque([(query.catalog, False, 1)]), {query.catalog}, False
    catalogs = silent = matches = 0
    while todo:
        href, inside, depth = todo.popleft()
        try:
            document = root if href == query.catalog else read_json(io, href)
        except BrokenError as err:
            if inside:
                raise unreachable(href, str(err)) from None
            leave_out(href, str(err))
            continue
        is_collection = document.get("type") == "Collection" or "extent" in document
        if is_collection:
            known |= {as_text(document.get("id"))} - {""}
            inside = document.get("id") == query.collection
            there |= inside
            if inside and next(links_of(document, "item"), None) is None:
                yield from from_items(io, document, href, query)
        for rel, target in _links(document, href, query):
            if target in visited or (rel == "item" and is_collection and not inside):
                continue
            visited.add(target)
            if len(visited) > MAX_PARTS:
                raise query.too_many(f"has more than {MAX_PARTS} parts")
            query.check_time(SECONDS)
            if depth >= MAX_DEPTH:
                raise query.too_many(f"has catalogs nested {MAX_DEPTH} levels deep")
            if rel == "child":
                catalogs += 1
                if catalogs > MAX_CATALOGUES:
                    raise query.too_many(f"contains more than {MAX_CATALOGUES} catalogs")
                todo.append((target, inside, depth + 1))
                continue
            try:
                item = item_of(read_json(io, target), target)
            except BrokenError as err:
                leave_out(target, str(err))
                continue
            except S2SharpError as err:  # the server may answer later
                silent += 1
                if silent > MAX_SILENT:
                    raise
                leave_out(target, f"was not answered: {err.message.rstrip('.')}")
                continue
            if inside or item.collection_id == query.collection:
                there = True
                if query.matches(item):
                    matches += 1
                    yield item
                if matches > MAX_ITEMS:
                    raise query.too_many(f"has more than {MAX_ITEMS} matching items")
    if not there:
        raise query.missing(known)


def _links(document: dict[str, Any], href: str, query: Query) -> Iterator[tuple[str, str]]:
    """Yield (rel, absolute address) of the items and children; addresses that must not be opened are left out."""
    for rel in ("item", "child"):
        for link in links_of(document, rel):
            try:
                target = absolute(str(link.get("href")), href)
                target = check_href(target, query.catalog, private=query.private)
            except (S2SharpError, ValueError):
                why = f"is an address that {public(query.catalog)} may not name"
                leave_out(str(link.get("href")), why)
            else:
                yield rel, target


def from_saved(io: "StacApiIO", root: dict[str, Any], query: Query) -> Iterator[pystac.Item]:
    """Yield the items in one document: a saved or requested answer of an API, or a single item."""
    known: set[str] = set()
    for item in items_in(_saved(io, root, query), query.catalog):
        if not item.get_self_href():
            item.set_self_href(query.catalog)
        known.add(item.collection_id or query.collection)
        if item.collection_id in (None, query.collection) and query.matches(item):
            yield item
    if known and query.collection not in known:
        raise query.missing(known)


def _saved(io: "StacApiIO", root: dict[str, Any], query: Query) -> Iterator[Any]:
    if root["type"] == "Feature":
        yield root
        return
    page, count, href = root, 0, query.catalog
    while True:
        features = page.get("features")
        if not isinstance(features, list):
            raise unreachable(query.catalog, "is a FeatureCollection without a list of features")
        count += len(features)
        if count > MAX_ITEMS:
            raise query.too_many(f"returned more than {MAX_ITEMS} items")
        yield from features
        link = next(links_of(page, "next"), None)
        if not link or not features or is_local(query.catalog):
            break
        query.check_time()
        try:
            after = next_page(link, href)
            href = after.href
            page = read_json(io, after)  # type: ignore[arg-type]
        except (BrokenError, KeyError, TypeError) as err:
            raise unreachable(query.catalog, f"has a next page that {err}") from None
    expected = matched(root)
    if count < expected:
        warn_partial(
            query,
            f"states {expected} matching items (numberMatched) and has {count} of {expected} items",
        )
    elif link and features:
        warn_partial(query, "is one page of an answer that has a next page")


def local_file(catalog: str) -> str:
    """Return the path of a catalog's first document; for a folder, that of its catalog or collection."""
    path = Path(on_disk(catalog)).expanduser().absolute()
    if path.is_dir():
        names = ("catalog.json", "collection.json")
        path = next((path / name for name in names if (path / name).exists()), path / names[0])
    return str(path)
