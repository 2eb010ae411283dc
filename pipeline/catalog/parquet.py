"""Items of stac-geoparquet: those that meet a query, or all items of a file."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
import pystac

from .broken import BrokenError, unreachable
from .documents import item_of
from .files import open_file
from .geoparquet import collections, documents, everything
from .query import Query, leave_out


def from_parquet(query: Query) -> Iterator[pystac.Item]:
    """Yield the items of a file that meet a query.

    Raises
    ------
    S2SharpError
        ``catalog-unreachable``; ``collection-missing``.
    """
    found = False
    try:
        with open_file(query.catalog, private=query.private) as file:
            interval = query.start, query.end
            given = documents(file, query.collection, query.turned, interval)
            for item in _items(given):
                found = True
                if query.matches(item):
                    yield item
            known = [query.collection] if found else collections(file)
    except (pa.ArrowException, OSError, ValueError) as err:
        raise unreachable(query.catalog, f"is not stac-geoparquet ({err})") from None
    if known and query.collection not in known:
        raise query.missing(known)


def whole(content: bytes, name: str) -> Iterator[pystac.Item]:
    """Yield all items of a file with this ``content``; errors call it ``name``.

    Raises
    ------
    S2SharpError
        ``catalog-unreachable``.
    """
    try:
        yield from _items(everything(BytesIO(content)))
    except (pa.ArrowException, OSError, ValueError) as err:
        raise unreachable(name, f"is not stac-geoparquet ({err})") from None


def _items(given: Iterable[dict[str, Any]]) -> Iterator[pystac.Item]:
    for document in given:
        try:
            yield item_of(document, None)
        except BrokenError as err:
            leave_out(str(document.get("id")), str(err))
