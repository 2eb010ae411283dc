"""Availability of a collection in a catalog, from a few of its items, before a run is planned."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple
from urllib.parse import urlsplit

import pystac

from s2sharp_core import S2SharpError
from s2sharp_core.bands import MEASURED, native_gsd

from ..catalog.access import Access, keyed
from ..catalog.addresses import bucket_of, public, unsigned
from ..catalog.gdal_credentials import session
from ..catalog.local_products import are_products
from ..catalog.metadata import as_number, level, level_in
from ..catalog.search import OtherLevelWarning, search
from ..catalog.sources import Offer, Source, offers, sources
from ..scenes.acquisition import group
from ..scenes.scene import Refusal
from .area import Area
from .config import RunConfig

COLLECTIONS = ("sentinel-2-c1-l2a", "sentinel-2-l2a", "sentinel-2-l1c")
"""Usual names of Sentinel-2 collections."""

_RESOLUTION = re.compile(r".+_[126]0m")
_COMMON = re.compile(r"[A-Za-z]+\d*")


class Offering(NamedTuple):
    """Offer of a band in a collection.

    ``asset``: its key; ``format``: "COG", "JPEG 2000", "Zarr" or a suffix; ``told``: source of ``offset``; ``way``: way to
    sign requests for the file, as ``sign`` of :class:`~s2sharp.catalog.sources.Source`.
    """

    asset: str
    format: str
    scale: float
    offset: float
    told: str
    way: str


@dataclass(frozen=True)
class Availability:
    """Offers of some items of a collection to a run.

    ``items``: ids of the items that were read; ``names``: kinds of keys of the bands' assets; ``places``: hosts, buckets,
    or "this machine", with the files; ``levels``: "L1C", "L2A"; ``bands``: ESA's name → offers at its native resolution,
    with their numbers of items; ``size``: bytes of a tile: files of all bands if items state their sizes (``told``), else
    their unpacked pixels; ``pays``: whether items state that requesters pay; ``refused``: items that a run would leave
    out, with reasons, and other faults without an item, such as missing keys.
    """

    catalog: str
    collection: str
    items: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    bands: dict[str, Counter[Offering]] = field(default_factory=dict)
    size: int = 0
    told: bool = False
    pays: bool = False
    refused: tuple[Refusal, ...] = ()


def survey(config: RunConfig, most: int) -> Iterator[Availability]:
    """Yield the outlook on each collection, from at most ``most`` items that a query finds; no pixel is read.

    If none is chosen, those of the usual names are searched that the catalog has; products are named by their level
    alone.

    Errors: ``collection-missing`` if it lacks all; the errors of :func:`~s2sharp.catalog.search.search`.
    """
    there, missing = False, None
    usual = COLLECTIONS[1:] if are_products(config.catalog) else COLLECTIONS
    names = (config.collection,) if "collection" in config.model_fields_set else usual
    around = Area.of(config.bbox, config.area).reach
    for name in names:
        found = search(config.catalog, name, around, config.datetime, private=config.allow_private)
        try:
            with warnings.catch_warnings():  # the other level is searched next
                warnings.simplefilter("ignore", OtherLevelWarning)
                items = list(islice(found, most))
        except S2SharpError as error:
            if error.kind != "collection-missing":
                raise
            missing = error
            continue
        there = True
        yield _outlook(config, name, items)
    if missing is not None and not there:
        raise missing


def _outlook(config: RunConfig, collection: str, items: list[pystac.Item]) -> Availability:
    wanted = (*config.bands, *config.native)
    offered = [(item, _offered(item, wanted)) for item in items]
    files = [(item, band, offer) for item, found in offered for band, offer in found.items()]
    bands: dict[str, Counter[Offering]] = {band: Counter() for band in wanted}
    places: dict[str, None] = {}
    access = config.access
    refused = list(group(items, wanted, config.catalog, access)[1])
    for item, band, offer in files:
        source = _read(item, band, config.catalog, access)
        if source is None or band not in bands:
            continue
        kind = _format(offer, source.href)
        facts = source.scale, source.offset, source.origin, source.sign
        bands[band][Offering(offer.key, kind, *facts)] += 1
        places[_place(source.href)] = None
        refused += _keyless(source)
    sizes = [_size(band, offer) for _, band, offer in files]
    return Availability(
        public(config.catalog),
        collection,
        tuple(item.id for item in items),
        tuple(dict.fromkeys(_naming(band, offer.key) for _, band, offer in files)),
        tuple(places),
        tuple(sorted({found for item in items if (found := level(item) or level_in(collection))})),
        bands,
        sum(size for size, _ in sizes) // max(1, len(items)),
        bool(sizes) and all(told for _, told in sizes),
        any(_pays(item, offer) for item, _, offer in files),
        tuple(dict.fromkeys(refused)),
    )


def _offered(item: pystac.Item, bands: Iterable[str]) -> dict[str, Offer]:
    """Return the bands that an item has at their native resolution, each searched by itself."""
    found: dict[str, Offer] = {}
    for band in (*bands, "SCL"):
        try:
            found |= offers(item, [band])
        except S2SharpError:
            continue  # `group` refuses the item for it
    return found


def _read(item: pystac.Item, band: str, catalog: str, access: Access) -> Source | None:
    """Return how a run would read a band; None where its reflectance cannot be known."""
    home = unsigned(item.get_self_href() or "") or None
    try:
        return keyed(sources(item, [band])[band], home, catalog, access)
    except S2SharpError:
        return None


def _keyless(source: Source) -> Iterator[Refusal]:
    """Yield a refusal if keys of the Copernicus Data Space are missing; other archives show it only in their answers."""
    if source.sign == "cdse":
        try:
            session(source)
        except S2SharpError as error:
            yield Refusal(
                "",
                error.kind,
                f"{_place(source.href)} takes S3 keys, and there are none. {error.remedy}",
            )


def _format(offer: Offer, href: str) -> str:
    kind, path = offer.asset.media_type or "", urlsplit(href).path.lower()
    if "jp2" in kind or path.endswith(".jp2"):
        return "JPEG 2000"
    if "zarr" in kind or ".zarr" in path:
        return "Zarr"
    if "tiff" in kind or path.endswith((".tif", ".tiff")):
        return "COG"
    return path.rpartition(".")[2]


def _place(href: str) -> str:
    bucket = bucket_of(href)
    if bucket:
        return f"s3://{bucket}"
    return urlsplit(href).hostname or "this machine" if "://" in href else "this machine"


def _naming(band: str, key: str) -> str:
    """Return the kind of an asset's key."""
    bare = key.removesuffix("-jp2")
    if bare.upper() == band:
        return "ESA's names (B05)"
    if _RESOLUTION.fullmatch(bare):
        return "names with a resolution (B05_20m)"
    if _COMMON.fullmatch(bare):
        return "common names (rededge1)"
    # One text for all bands of an archive whose keys begin alike.
    return (
        f"names of its own ({bare.split('_')[0]}_…)" if bare.isidentifier() else f"others ({key})"
    )


def _size(band: str, offer: Offer) -> tuple[int, bool]:
    """Return the bytes of a file, and whether the item states them."""
    told = as_number(offer.asset.extra_fields.get("file:size"))
    if told is not None and told > 0:
        return int(told), True
    side = 109_800 // native_gsd(band)
    shape = offer.asset.extra_fields.get("proj:shape")
    pixels = (
        math.prod(n for n in map(as_number, shape) if n) if isinstance(shape, list) else side**2
    )
    return int(pixels) * (2 if band in MEASURED else 1), False


def _pays(item: pystac.Item, offer: Offer) -> bool:
    said = (item.properties, offer.asset.extra_fields)
    return any(fields.get("storage:requester_pays") is True for fields in said)
