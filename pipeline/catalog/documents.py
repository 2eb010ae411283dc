"""STAC items of any archive, made from documents that are not trusted."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pystac
import shapely

from .addresses import unsigned
from .faults import BrokenError, leave_out
from .metadata import as_text, numbers_in, sensing_span


def item_of(document: Any, href: str | None) -> pystac.Item:
    """Return the item in a document at ``href``.

    Odd parts that are not needed are dropped: invalid links, an impossible footprint, an invalid interval beside a
    valid datetime, the name of a collection that is not text. The id, the properties and a time are needed. Raise
    :class:`BrokenError` with the reason why the document is not an item.
    """
    if not isinstance(document, dict) or not isinstance(document.get("properties"), dict):
        raise BrokenError("is not a STAC item")
    name = document.get("id")
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise BrokenError("is a STAC item without an id")
    # Some archives write a word instead of a JSON null.
    properties = {
        key: None if key == "datetime" and value in ("", "null") else value
        for key, value in document["properties"].items()
    }
    if properties.get("datetime") is None and properties.get("end_datetime") is None:
        if properties.get("start_datetime") is None:
            raise BrokenError("is a STAC item without a time of sensing")
        properties["datetime"] = properties["start_datetime"]
    version = as_text(document.get("stac_version")) or "1.0.0"
    whole = {
        **document,
        "type": document.get("type") or "Feature",
        "stac_version": version,
        "id": str(name),
        "properties": properties,
        "geometry": _geometry(document.get("geometry")),
        "bbox": numbers_in(document.get("bbox"), 4, 6),
        "collection": as_text(document.get("collection")) or None,
        "links": [link for link in _list(document.get("links")) if _has_texts(link, "rel", "href")],
        "assets": _assets(document.get("assets")),
        "stac_extensions": [
            e for e in _list(document.get("stac_extensions")) if isinstance(e, str)
        ],
    }
    # Both versions of STAC are read directly, so nothing needs migration.
    old = not version.startswith("1.")
    try:
        item = pystac.Item.from_dict(whole, href=href, preserve_dict=False, migrate=old)
        sensing_span(item)
    except Exception as error:  # pystac does not validate its input
        raise BrokenError(f"is not a STAC item ({type(error).__name__})") from error
    return item


def items_in(documents: Iterable[Any], catalog: str) -> Iterator[pystac.Item]:
    """Yield the items in the documents of ``catalog``; others are left out with a warning."""
    for document in documents:
        try:
            yield item_of(document, None)
        except BrokenError as err:
            name = document.get("id") if isinstance(document, dict) else catalog
            leave_out(str(name), str(err))


def fingerprint(item: pystac.Item) -> str:
    """Return a digest that tells a repeated item from two items with one id."""
    files = sorted(unsigned(asset.href) for asset in item.assets.values())
    facts = [item.id, item.geometry, item.bbox, item.properties, files]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _geometry(said: Any) -> dict[str, Any] | None:
    """Return a footprint if its coordinates are on Earth; it may continue beyond the antimeridian."""
    try:
        with np.errstate(invalid="ignore"):
            x, y = shapely.get_coordinates(shapely.geometry.shape(said)).T
        there = x.size > 0 and (np.abs(x) <= 540).all() and (np.abs(y) <= 90).all()
    except Exception:  # shapely, GEOS and malformed JSON raise various errors
        return None
    return said if there else None


def _assets(said: Any) -> dict[str, Any]:
    """Return the assets. An invalid address becomes empty: it fails the item if the file is needed, or all are so."""
    assets = said if isinstance(said, Mapping) else {}
    if assets and not any(_has_texts(asset, "href") for asset in assets.values()):
        raise BrokenError("is a STAC item whose assets all lack an address")
    return {
        str(key): {
            **asset,
            "href": asset["href"] if _has_texts(asset, "href") else "",
            "roles": _list(asset.get("roles")),
        }
        for key, asset in assets.items()
        if isinstance(asset, Mapping)
    }


def _has_texts(said: Any, *names: str) -> bool:
    return isinstance(said, Mapping) and all(isinstance(said.get(name), str) for name in names)


def _list(said: Any) -> list[Any]:
    return list(said) if isinstance(said, list | tuple) else []
