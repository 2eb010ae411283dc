"""Documents of real shape with something odd in them, and the claim that each costs itself alone.

An item, or a product, is either in an acquisition or refused in a line; what stands beside it is untouched; nothing but
an ``S2SharpError`` comes out, and nothing hangs. Nothing here reaches a network.
"""

import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pystac
from hypothesis import strategies as st
from s2sharp.catalog.documents import item_of
from s2sharp.catalog.faults import BrokenError
from s2sharp.catalog.search import search
from s2sharp.scenes.acquisition import Acquisition, group
from s2sharp.scenes.item_files import write_items

from s2sharp_core.bands import BANDS

from . import items, more_items

SLOW = 20.0
"""Seconds after which a document counts as one that hangs."""

WORLD = (-180.0, -90.0, 180.0, 90.0)

ARCHIVES: tuple[Callable[..., items.Document], ...] = (
    items.earth_search,
    items.earth_search_c1,
    items.earth_search_l1c,
    items.planetary_computer,
    items.cdse,
    more_items.eopf_sample,
    more_items.eopf_groups,
    more_items.eopf_explorer,
    more_items.earth_search_v0,
    more_items.deafrica,
    more_items.australia,
)

ODD: tuple[Any, ...] = (
    *(None, True, False, "", " ", "null", "NaN", "x", "\ud800", "\x00", "../../etc", "a" * 3000),
    *(0, -1, 1, 1.5, 60, 4326, 32633, 10**30, -(10**30), 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), "1e999", "٣", "0x10", "1_0"),
    *(
        [],
        {},
        [[]],
        [None],
        ["data", ["data"]],
        [{}],
        {"name": {}},
        [1e308, 180],
        [0, 0],
        [1, 2, 3, 4, 5, 6],
    ),
    *("2024-06-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "01/06/2024 10:10"),
    *("EPSG:32633.0", "urn:ogc:def:crs:EPSG::32633", "99.99", "05.11", "T33UWP", "_N9999_", "S2A_"),
    *("/nowhere/x.zarr", "/nowhere/x.zarr/measurements/reflectance", "file:///nowhere/%", "C:\\x"),
    {"type": "Point", "coordinates": [16, 48]},
    {"type": "Polygon", "coordinates": []},
    {"type": "Polygon", "coordinates": [[[0, 0], [0, 0], [0, 0], [0, 0]]]},
    {"type": "Polygon", "coordinates": [[[15, 48], [16, 49], [16, 48], [15, 49], [15, 48]]]},
    {"type": "GeometryCollection", "geometries": []},
)


def local(document: items.Document) -> items.Document:
    """The document with its files on this machine, where they are not: no name is looked up."""
    text = json.dumps(document)
    for scheme in ("https://", "http://", "s3://"):
        text = text.replace(f'"href": "{scheme}', '"href": "/nowhere/')
    return json.loads(text)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be put in place of what is there."""
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    if isinstance(document, list):
        for index, value in enumerate(document[:8]):
            yield from places(value, (*path, index))


def changed(document: Any, path: tuple[Any, ...], how: str, value: Any) -> None:
    """Change ``document`` at a place, if an earlier change left it there."""
    *above, last = path
    inner = document
    for step in above:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(inner, list):
        if not isinstance(last, int) or last >= len(inner):
            return
    elif not isinstance(inner, dict):
        return
    if how == "remove":
        inner.pop(last) if isinstance(inner, list) else inner.pop(last, None)
    elif how == "text" and last in (inner if isinstance(inner, dict) else range(len(inner))):
        inner[last] = str(inner[last])
    elif how == "list" and last in (inner if isinstance(inner, dict) else range(len(inner))):
        inner[last] = [inner[last]]
    else:
        inner[last] = deepcopy(value)


SHAPES = tuple(local(make()) for make in ARCHIVES)
PLACES = tuple(tuple(places(shape)) for shape in SHAPES)
HOW = ("put", "put", "put", "remove", "text", "list")


@st.composite
def odd_items(draw: st.DrawFn) -> Any:
    """A real item with one to three oddities."""
    number = draw(st.integers(0, len(SHAPES) - 1))
    document = deepcopy(SHAPES[number])
    for _ in range(draw(st.integers(1, 3))):
        # Few of an item's places are outside its assets, and most of what is read is there.
        some = draw(st.sampled_from(("assets", "properties", "any")))
        own = [p for p in PLACES[number] if p[0] == some] if some != "any" else []
        own = own or [p for p in PLACES[number] if p[0] not in ("assets", "properties")]
        path = draw(st.sampled_from(own))
        changed(document, path, draw(st.sampled_from(HOW)), draw(st.sampled_from(ODD)))
    return document


def good() -> pystac.Item:
    return item_of(local(items.cdse(tile="32TQM", when="2025-03-20T10:00:51.025Z")), None)


GOOD = good()


def check_item(document: Any, folder: Path) -> str:
    """Check the claim of an item beside a good one, as it is and frozen; return what became of it."""
    begun = time.monotonic()
    try:
        odd = item_of(deepcopy(document), None)
    except BrokenError as error:
        return one_line(error)
    bands = [b for b in BANDS if b != "B09"] if _without_b09(odd) else list(BANDS)
    what = check_all([GOOD, odd], bands, folder)
    assert time.monotonic() - begun < SLOW
    return what


def one_line(error: BrokenError) -> str:
    assert "\n" not in str(error)
    return "left out"


def check_all(both: list[pystac.Item], bands: list[str], folder: Path) -> str:
    """Check that each of some items is in an acquisition, replaced by another, or refused; frozen, they say the same."""
    catalog = "/nowhere/catalog.json"
    file = folder / "items.parquet"
    acquisitions, refused, choices = write_items(file, both, bands, catalog)
    there = names(acquisitions) | {r.item for r in refused} | {c.item for c in choices}
    assert there >= {item.id for item in both}
    assert both[0].id in names(acquisitions)
    for refusal in refused:
        assert refusal.kind
        assert len(refusal.message) < 6000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frozen = list(search(str(file), GOOD.collection_id or "", WORLD, "0001/.."))
    again, refused_then, _ = group(frozen, bands, catalog)
    assert not refused_then
    assert [a.id for a in again] == [a.id for a in acquisitions]
    assert [a.box for a in again] == [a.box for a in acquisitions]
    return "refused" if refused else "taken"


def names(acquisitions: list[Acquisition]) -> set[str]:
    return {scene.id for acquisition in acquisitions for scene in acquisition.scenes}


def _without_b09(item: pystac.Item) -> bool:
    return any(key.startswith("nbart_") for key in item.assets)


# Products


@st.composite
def odd_texts(draw: st.DrawFn) -> tuple[str, int, str, str]:
    """Which document of a product, where in it, and what is put there instead of what."""
    odd = (
        "",
        " ",
        "x",
        "NaN",
        "1e999",
        "-1",
        "0",
        "9" * 400,
        "../../x",
        "\u0661",
        "EPSG:4326",
        "<a/>",
    )
    return (
        draw(st.sampled_from(("MTD_MSIL2A.xml", "MTD_TL.xml"))),
        draw(st.integers(0, 400)),
        draw(st.sampled_from(("text", "text", "tag", "cut", "twice"))),
        draw(st.sampled_from(odd)),
    )


def spoiled(text: str, place: int, how: str, odd: str) -> str:
    """An XML document with one element's text, or its name, or its end changed."""
    import re

    elements = list(re.finditer(r"<(\w+)([^<>]*)>([^<>]*)</\1>", text))
    found = elements[place % len(elements)]
    tag, more, inner = found.groups()
    new = {
        "text": f"<{tag}{more}>{odd}</{tag}>",
        "tag": f"<X{tag}{more}>{inner}</X{tag}>",
        "twice": found[0] * 2,
        "cut": "",
    }[how]
    return text[: found.start()] + new + text[found.end() :]


def check_product(safe: Path, change: tuple[str, int, str, str], folder: Path) -> str:
    """Check the claim of a product, one of whose documents is spoiled."""
    from s2sharp.catalog.local_products import product_item

    name, *how = change
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        copy = Path(temporary) / safe.name
        shutil.copytree(safe, copy, copy_function=lambda a, b: Path(b).symlink_to(a))
        (file,) = copy.rglob(name)
        text = file.read_text()
        file.unlink()
        file.write_text(spoiled(text, *how))
        try:
            _, item = product_item(str(copy))
        except BrokenError as error:
            return one_line(error)
        what = check_all([GOOD, item], list(BANDS), folder)
    assert time.monotonic() - begun < SLOW
    return what
