"""Name of the only collection in a local catalog, so that it need not be given."""

from collections import deque
from pathlib import Path
from typing import Any

import pyarrow as pa

from s2sharp_core.errors import S2SharpError

from .addresses import absolute, is_local
from .broken import BrokenError
from .geoparquet import collections, open_file
from .http import read_json, stac_io
from .products import are_products
from .query import of_rel
from .static import local_file

# Most documents to read: a catalog without collections names them item by item.
_MOST = 1000


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
        names = _names(local_file(catalog))
    return names.pop() if len(names) == 1 else None


def _names(first: str) -> set[str]:
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
            links = [link for rel in rels for link in of_rel(document, rel)]
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
