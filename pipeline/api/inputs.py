"""Products and STAC items as lazy scenes, read one block at a time with the code of a run."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pystac
import xarray as xr
from dask.delayed import delayed
from pyproj import Transformer

from s2sharp_core import BANDS, S2SharpError, make_scene
from s2sharp_core.lattice import Box, Lattice

from ..catalog.access import Access
from ..catalog.addresses import is_local, public
from ..catalog.documents import item_of
from ..catalog.extent import Degrees
from ..catalog.faults import BrokenError
from ..catalog.http import read_json, stac_io
from ..catalog.local_products import product_item
from ..catalog.sources import sources
from ..scenes.acquisition import Acquisition, group
from ..scenes.read import Files, Reader, reflectance

ABOUT = ("id", "datetime")
"""Attributes of a scene from an item or a product: name and time of its acquisition."""

# Cells along a block: 3072 pixels of 10 m, whole blocks of the files that archives keep.
_SIDE = 512
# An item without an address has no catalog, so its links are not trusted.
_NOWHERE = "https://item.invalid/"


def from_products(
    paths: Sequence[str], bands: Sequence[str] | None, bbox: Degrees | None
) -> xr.DataTree:
    """Make a scene of SAFE folders, their zips, or EOPF Zarrs; several are tiles of one acquisition."""
    items = []
    for path in paths:
        try:
            items.append(product_item(path)[1])
        except BrokenError as error:
            raise S2SharpError(
                "scene-malformed",
                f"{public(path)} {error}.",
                "Give a product as delivered by ESA; if it is incomplete, download it again.",
            ) from None
    return _scene(items, bands, bbox, paths[0], Access())


def from_file(
    where: str, bands: Sequence[str] | None, bbox: Degrees | None, *, private: bool
) -> xr.DataTree:
    """Make a scene of the document of an item, given by whole path or URL."""
    try:
        item = item_of(read_json(stac_io(where, private=private), where), where)
    except BrokenError as error:
        raise S2SharpError(
            "item-broken", f"{public(where)} {error}.", "Give the JSON document of one STAC item."
        ) from None
    return _scene([item], bands, bbox, where, Access(private=private))


def from_items(
    items: Sequence[pystac.Item | dict[str, Any]],
    bands: Sequence[str] | None,
    bbox: Degrees | None,
    *,
    private: bool,
) -> xr.DataTree:
    """Make a scene of items in memory; several are tiles of one acquisition."""
    known = [x if isinstance(x, pystac.Item) else _parsed(x) for x in items]
    home = str(Path.cwd()) if private or all(_is_ours(item) for item in known) else _NOWHERE
    with _told(known[0].id):
        return _scene(known, bands, bbox, home, Access(private=private))


def _parsed(document: dict[str, Any]) -> pystac.Item:
    try:
        return item_of(document, None)
    except BrokenError as error:
        name = document.get("id", "A document")
        raise S2SharpError("item-broken", f"{name} {error}.", "Give one STAC item.") from None


def _is_ours(item: pystac.Item) -> bool:
    """Return whether an item lies on this machine, at its own address; an address alone proves nothing."""
    home = item.get_self_href() or ""
    if not home or not is_local(home):
        return False
    try:
        return bool(json.loads(Path(home).read_text())["id"] == item.id)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except S2SharpError as error:
        if error.kind != "href-refused":
            raise
        raise S2SharpError(
            "href-refused",
            error.message.replace(_NOWHERE, f"Item {name}").replace(
                "A public catalog", "An item from elsewhere"
            ),
            "If you trust the item: open_scene(item, private=True).",
        ) from None


def _scene(
    items: Sequence[pystac.Item],
    bands: Sequence[str] | None,
    bbox: Degrees | None,
    catalog: str,
    access: Access,
) -> xr.DataTree:
    wanted = tuple(bands) if bands is not None else tuple(BANDS)
    acquisitions, refused, _ = group(items, wanted, catalog, access)
    if refused:
        first = refused[0]
        remedy = ""
        if first.kind == "band-missing" and bands is None:
            there = [band for band in BANDS if _offers(items, band)]
            remedy = f"Use the bands that are there: open_scene(…, bands={there})."
        raise S2SharpError(first.kind, first.message, remedy)
    if len(acquisitions) != 1:
        raise S2SharpError(
            "scene-malformed",
            f"These items belong to {len(acquisitions)} acquisitions: {', '.join(a.id for a in acquisitions[:4])}{', …' * (len(acquisitions) > 4)}.",
            "Give one: open_scene(items[0]).",
        )
    found = acquisitions[0]
    lattice = Lattice.of(found.epsg)
    box = found.box if bbox is None else found.box & cells_in(lattice, bbox)
    if box.empty:
        raise S2SharpError(
            "outside",
            f"The box {bbox} does not meet {found.id}.",
            "Give W S E N in degrees, longitude first.",
        )
    tree = make_scene({band: lazily(found, band, box) for band in wanted}, lattice, box)
    tree.attrs = dict(zip(ABOUT, (found.id, found.datetime), strict=True))
    return tree


def _offers(items: Iterable[pystac.Item], band: str) -> bool:
    try:
        return all(band in sources(item, (band,)) for item in items)
    except S2SharpError:
        return False


def cells_in(lattice: Lattice, bbox: Degrees) -> Box:
    """Return the whole cells around a box in degrees."""
    to_metres = Transformer.from_crs(4326, lattice.epsg, always_xy=True)
    left, bottom, right, top = to_metres.transform_bounds(*bbox)
    return lattice.around((left, bottom, right, top))


def lazily(acquisition: Acquisition, band: str, box: Box, reader: Reader | None = None) -> da.Array:
    """Return the reflectance of a band over ``box``, one task a block; without ``reader``, each task opens the files."""
    read = delayed(_reflectance)

    def block(row: int, col: int) -> da.Array:
        cells = Box(row, row + _SIDE, col, col + _SIDE) & box
        shape = cells.pixels(BANDS[band].gsd)
        return da.from_delayed(read(acquisition, band, cells, reader), shape, np.float32)

    rows, cols = range(box.row0, box.row1, _SIDE), range(box.col0, box.col1, _SIDE)
    return da.block([[block(row, col) for col in cols] for row in rows])


def _reflectance(
    acquisition: Acquisition, band: str, cells: Box, reader: Reader | None
) -> np.ndarray:
    return reflectance(reader or Files(acquisition), acquisition, band, cells)
