"""Catalogs of a few items that are known, of each kind, and what a search finds in them."""

import json
from pathlib import Path
from typing import Any

import pystac
import pytest
from s2sharp.catalog.metadata import sensed
from s2sharp.catalog.search import search

from s2sharp_core.errors import S2SharpError

from . import items

L2A, OTHER = "sentinel-2-l2a", "sentinel-2-c1-l2a"
VIENNA = (16.0, 48.0, 16.2, 48.2)
WEST_OF_THE_SEAM = (15.5, 48.0, 15.7, 48.2)
MAY = "2024-05"


def documents() -> list[items.Document]:
    def make(tile: str, when: str, bbox: Any, collection: str = L2A) -> items.Document:
        return items.earth_search(tile, when, bbox=bbox) | {"collection": collection}

    wp, xp = (15.0, 47.75, 16.5, 48.75), (15.9, 47.7, 17.4, 48.7)
    found = [
        make("33UWP", "2024-05-01T10:05:41.632Z", wp),
        make("33UXP", "2024-05-01T10:05:37.104Z", xp),
        make("33UWP", "2024-05-31T23:59:59.500Z", wp),
        make("33UWP", "2024-06-01T00:00:00Z", wp),
        make("60KXF", "2024-05-03T22:19:36Z", (178.9, -18.1, 180.0, -17.1)),
        make("01KAB", "2024-05-03T22:19:38Z", (-180.0, -18.1, -179.1, -17.1)),
        make("33UWP", "2024-05-01T10:05:41.632Z", wp, OTHER),
    ]
    # The swath ends within this tile: its bbox reaches Vienna, its footprint doesn't.
    edge = make("33UWQ", "2024-05-04T10:15:00Z", wp)
    corner = [[15.0, 47.75], [15.4, 48.75], [15.0, 48.75], [15.0, 47.75]]
    edge["geometry"]["coordinates"] = [corner]
    # An interval instead of a moment, as STAC allows.
    long = make("33UWP", "2024-05-20T10:05:41Z", wp)
    long["id"] = "interval"
    long["properties"] |= {
        "datetime": None,
        "start_datetime": "2024-05-19T10:00:00Z",
        "end_datetime": "2024-05-21T10:00:00Z",
    }
    return [*found, edge, long]


FIRST, NEXT, LAST = (
    "S2A_33UXP_20240501_0_L2A",
    "S2A_33UWP_20240501_0_L2A",
    "S2A_33UWP_20240531_0_L2A",
)
JUNE, EDGE = "S2A_33UWP_20240601_0_L2A", "S2A_33UWQ_20240504_0_L2A"
FIJI_WEST, FIJI_EAST = "S2A_60KXF_20240503_0_L2A", "S2A_01KAB_20240503_0_L2A"


def collection(name: str) -> items.Document:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-23T00:00:00Z", None]]},
        },
        "links": [],
    }


def root(name: str = "root") -> items.Document:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "links": [],
    }


def write(path: Path, document: items.Document, **links: list[str]) -> None:
    links_ = [{"rel": rel, "href": href} for rel, hrefs in links.items() for href in hrefs]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {"links": links_}))


def write_static(folder: Path, documents: list[items.Document]) -> Path:
    """catalog.json → COLLECTION/collection.json → 2024/catalog.json → ID.json, parents linked too."""
    for name in (L2A, OTHER):
        mine = [document for document in documents if document["collection"] == name]
        for document in mine:
            write(
                folder / name / "2024" / f"{document['id']}.json", document, parent=["catalog.json"]
            )
        year = [f"./{document['id']}.json" for document in mine]
        write(folder / name / "2024" / "catalog.json", root("2024"), item=year)
        write(folder / name / "collection.json", collection(name), child=["2024/catalog.json"])
    children = [f"./{name}/collection.json" for name in (L2A, OTHER)]
    write(folder / "catalog.json", root(), child=children)
    return folder / "catalog.json"


def found(*args: Any, **kwargs: Any) -> list[pystac.Item]:
    """What a search yields, which comes in any order, by time and id."""
    return sorted(search(*args, **kwargs), key=lambda item: (sensed(item), item.id))


def ids(*args: Any, **kwargs: Any) -> list[str]:
    return [item.id for item in found(*args, **kwargs)]


def refused(kind: str) -> Any:
    return pytest.raises(S2SharpError, check=lambda err: err.kind == kind)
