"""Search of a STAC API, page by page, with a check that the answer seems complete."""

import json
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pystac

from .addresses import absolute, check_href, public
from .documents import fingerprint, item_of
from .faults import BrokenError, leave_out, unreachable
from .http import failure_text, read_json
from .metadata import as_number, as_text
from .query import MAX_ITEMS, Query, links_of

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

PAGE = 100

MAX_PAGES = 20_000
"""Largest number of pages of an answer. A server with a few items a page and no end is broken, too."""

MAX_EMPTY = 20
"""Largest number of empty pages in a row. Servers that filter may return some before the next item."""

_NOT_STAC = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    pystac.STACError,
    pystac.STACTypeError,
)
"""Errors of pystac and of the code here when an answer has another form."""


def is_api(root: dict[str, Any]) -> bool:
    """Return whether a document is the root of an API: it declares this, or names a search address."""
    said = root.get("conformsTo")
    if isinstance(said, list) and any("item-search" in str(uri) for uri in said):
        return True
    return root.get("type") != "Collection" and next(links_of(root, "search"), None) is not None


def from_api(io: "StacApiIO", root: dict[str, Any], query: Query) -> Iterator[pystac.Item]:
    from pystac_client.exceptions import APIError

    found, others = False, 0
    root = _whole(root)
    try:
        for link in links_of(root, "search"):
            link["type"] = pystac.MediaType.GEOJSON.value  # some APIs omit it
            link["method"] = as_text(link.get("method")).upper() or "GET"
        ways = [link["method"] for link in links_of(root, "search")]
        what = {"collections": [query.collection], "datetime": query.interval, "limit": PAGE}
        client: Any = io.stac_object_from_dict(root, href=query.catalog)
        client.add_conforms_to("ITEM_SEARCH")
        for box in query.boxes:
            asked = client.search(method="POST" if "POST" in ways else "GET", bbox=box, **what)
            pages = _pages(io, asked.url, asked.method, asked.get_parameters(), query)
            for item in _paged(pages, query):
                # Not every server applies all filters. The files show where an item without a footprint lies.
                if item.collection_id not in (None, query.collection) or not query.meets(item):
                    others += 1
                    continue
                found = True
                yield item
        if others:
            warnings.warn(
                f"{public(query.catalog)} returned {others} items of other collections or times than requested. They are left out.",
                stacklevel=2,
            )
        lists = client.conforms_to("COLLECTIONS") or client.conforms_to("FEATURES")
        if not found and lists and client.get_collection(query.collection) is None:
            known = islice(client.get_collections(), MAX_ITEMS)
            raise query.missing(collection.id for collection in known)
    except APIError as err:
        raise unreachable(query.catalog, failure_text(err)) from None
    except BrokenError as err:
        raise unreachable(query.catalog, f"has a page that {err}") from None
    except _NOT_STAC as err:
        said = f"returned an answer that is not STAC ({type(err).__name__})"
        raise unreachable(query.catalog, said) from None


def _whole(root: dict[str, Any]) -> dict[str, Any]:
    """Return the root of an API with everything that pystac needs of a catalog and that a search can do without.

    Its link to itself as root is left out, because pystac would read it again.
    """
    needed = {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "api"}
    said, links = root.get("conformsTo"), root.get("links")
    rest = {key: value for key, value in root.items() if key != "conformsTo"}
    if isinstance(said, list):
        rest["conformsTo"] = [uri for uri in said if isinstance(uri, str)]
    return {
        **rest,
        **{key: as_text(root.get(key)) or value for key, value in needed.items()},
        "links": [
            link
            for link in (links if isinstance(links, list) else [])
            if isinstance(link, dict)
            and as_text(link.get("href"))
            and as_text(link.get("rel")) not in ("", "root")
        ],
    }


def _pages(
    io: "StacApiIO", href: str, method: str, parameters: dict[str, Any], query: Query
) -> Iterator[dict[str, Any]]:
    """Yield the pages of an answer, including those without items."""
    page = read_json(io, href, method=method, parameters=parameters)
    yield page
    followed: set[str] = set()
    while link := next(links_of(page, "next"), None):
        name = json.dumps(link, sort_keys=True)
        if name in followed and not page["features"]:
            return  # some servers end like this
        followed.add(name)
        if not as_text(link.get("href")):
            if page["features"]:
                warn_partial(query, "has a next page without an address")
            return
        query.check_time()
        after = next_page(link, href)
        href = after.href
        page = read_json(io, after, parameters=parameters)  # type: ignore[arg-type]
        yield page


def next_page(link: dict[str, Any], href: str) -> pystac.Link:
    """Return the link to the page after the one at ``href``, to which its address may be relative."""
    target = urljoin(href, as_text(link.get("href")))
    method = as_text(link.get("method")).upper() or "GET"
    return pystac.Link.from_dict({**link, "href": target, "method": method})


def _paged(pages: Iterable[dict[str, Any]], query: Query) -> Iterator[pystac.Item]:
    seen: set[str] = set()
    expected = empty = count = number = 0
    for number, page in enumerate(pages, 1):
        new, broken = _read(page["features"])
        names = new.keys() | broken.keys()
        expected, count = max(expected, matched(page)), len(page["features"])
        if (said := _number(page, "numberReturned", "returned")) > count:
            warn_partial(
                query, f"states {said} items on a page (numberReturned) and returned {count}"
            )
        empty = 0 if names else empty + 1
        if empty > MAX_EMPTY:
            warn_partial(query, f"returned {MAX_EMPTY} empty pages in a row")
            break
        if names and names <= seen:
            raise query.too_many("returned the same page twice")
        for name in broken.keys() - seen:
            leave_out(name, broken[name])
        seen |= names
        if len(seen) > MAX_ITEMS:
            raise query.too_many(f"returned more than {MAX_ITEMS} items")
        if number > MAX_PAGES:
            raise query.too_many(f"returned more than {MAX_PAGES} pages")
        yield from new.values()
    if len(seen) < expected:
        warn_partial(
            query,
            f"states {expected} matching items (numberMatched) and returned {len(seen)} of {expected} items",
        )
    elif number == 1 and count >= PAGE and not expected:  # the server may have no paging
        warn_partial(query, f"returned a full page of {count} items without a next page or a count")


def _read(features: list[Any]) -> tuple[dict[str, pystac.Item], dict[str, str]]:
    """Return the items of a page by fingerprint, and by name the reasons why others are not items."""
    new: dict[str, pystac.Item] = {}
    broken: dict[str, str] = {}
    for feature in features:
        try:
            item = item_of(feature, None)
            new[fingerprint(item)] = item
        except BrokenError as err:
            name = feature.get("id") if isinstance(feature, dict) else f"{feature!r:.80}"
            broken[str(name)] = str(err)
    if not new and not all(isinstance(feature, dict) for feature in features):
        raise TypeError("features that are not objects")
    return new, broken


def matched(page: dict[str, Any]) -> int:
    """Return the number of matching items that a page states."""
    return _number(page, "numberMatched", "matched")


def _number(page: dict[str, Any], name: str, before: str) -> int:
    """Return a count from a page, in any spelling. ``before`` is its name in the context of older APIs."""
    context = page.get("context")
    said = page.get(name, context.get(before) if isinstance(context, dict) else None)
    return int(as_number(said) or 0)


def warn_partial(query: Query, why: str) -> None:
    """Warn that an answer may be incomplete."""
    warnings.warn(
        f"{public(query.catalog)} {why}. The search result may be incomplete.",
        stacklevel=3,
    )


def from_items(
    io: "StacApiIO", document: dict[str, Any], href: str, query: Query
) -> Iterator[pystac.Item]:
    """Yield the items of a collection from an API without search, which names the address of its item pages."""
    link = next(links_of(document, "items"), None)
    if link is None:
        return
    for box in query.boxes:
        asked = {"bbox": ",".join(map(str, box)), "datetime": query.interval, "limit": PAGE}
        try:
            target = check_href(
                absolute(str(link.get("href")), href), query.catalog, private=query.private
            )
            for item in _paged(_pages(io, target, "GET", asked, query), query):
                if query.matches(item):  # not every server filters
                    yield item
        except (BrokenError, *_NOT_STAC) as err:
            said = f"returned items that are not STAC ({type(err).__name__})"
            raise unreachable(query.catalog, said) from None
