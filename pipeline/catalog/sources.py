"""Files that an item offers for a band: address, scale, offset, nodata, grid."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pystac

from s2sharp_core.bands import MEASURED, native_gsd
from s2sharp_core.errors import S2SharpError

from .addresses import unsigned
from .metadata import as_number, baseline

__all__ = [
    "QUANTIFICATION",
    "WAYS",
    "Offer",
    "Source",
    "address",
    "band_of",
    "grids",
    "offers",
    "sources",
]

QUANTIFICATION = 10_000
"""DN per unit of reflectance in every ESA product so far."""

RAW_OFFSET = -0.1
"""Reflectance offset of raw products since baseline 04.00: −1000 DN in every band."""

# "rededge" alone is no key here: archives give it to three bands or four.
_NAMES = (
    {name.lower(): name for name in MEASURED}
    | {band.common_name: band.name for band in MEASURED.values()}
    | {"rededge1": "B05", "rededge2": "B06", "rededge3": "B07", "scl": "SCL"}
)
_KEY = re.compile(r"(?P<stem>.+?)(?:_(?P<gsd>[126]0)m)?(?:-jp2)?", re.IGNORECASE)
"""Properties that may hold ESA's name of the datatake, the product or the granule."""

WAYS = ("none", "item", "planetary-computer", "cdse")
"""How an address can be signed, or what keys a request for it takes."""

_PICTURES = frozenset({"visual", "overview", "thumbnail", "metadata"})
_FACTS = {
    prefix + name: name
    for name in (
        *("name", "common_name", "scale", "offset", "nodata", "data_type"),
        *("spatial_resolution", "gsd"),
    )
    for prefix in ("", "eo:", "raster:")
}


@dataclass(frozen=True, slots=True)
class Source:
    """One band of one item: reflectance = DN · ``scale`` + ``offset``, DN ``nodata`` = no data.

    ``origin`` says where the offset is from: ``"item metadata"``, ``"boa_offset_applied"``,
    ``"processing baseline 05.11"``. ``href`` holds no credentials; ``sign`` says how it gets some:
    ``"none"``, ``"item"`` (the item names it signed), ``"planetary-computer"`` or ``"cdse"``.
    """

    band: str
    href: str
    scale: float
    offset: float
    nodata: int
    origin: str
    sign: str = "none"


class Offer(NamedTuple):
    """An asset that claims to hold a band, and what it says of it."""

    key: str
    asset: pystac.Asset
    facts: dict[str, Any]


def sources(item: pystac.Item, bands: Iterable[str]) -> dict[str, Source]:
    """The assets that hold ``bands`` (ESA names) at their native resolution, with their radiometry.

    Resampled copies are never taken; of a COG and a JP2 of the same band, the COG is. The scene
    classification "SCL" (20 m, scale 1, offset 0) is left out where there is none (L1C). Errors:
    ``band-missing``, ``offset-unknown``, ``bad-config`` (no such band).
    """
    return {band: _source(item, band, offer) for band, offer in offers(item, bands).items()}


def offers(item: pystac.Item, bands: Iterable[str]) -> dict[str, Offer]:
    """The assets that :func:`sources` are made of. Errors: ``band-missing``, ``bad-config``."""
    found: dict[str, list[Offer]] = {}
    for key, asset in item.assets.items():
        offer = Offer(key, asset, _facts(asset))
        if band := _claim(offer):
            found.setdefault(band, []).append(offer)
    chosen = {band: _native(item, band, found.get(band, [])) for band in bands}
    return {band: offer for band, offer in chosen.items() if offer is not None}


def band_of(name: str) -> str | None:
    """ESA's name of the band that a key or a name stands for: "B05_20m", "red", "rededge1-jp2"; None where it is none."""
    return _NAMES.get(_parts(name)[0].lower())


def address(asset: pystac.Asset) -> str:
    """Where the item says that a file is, signed perhaps."""
    # pystac takes its time to tell that an address is absolute.
    return asset.href if "://" in asset.href else asset.get_absolute_href() or asset.href


def grids(item: pystac.Item) -> dict[str, tuple[Any, Any]]:
    """Address of a file → its transform and shape, as the item states them; any JSON, perhaps."""
    said = {
        unsigned(address(asset)): (
            asset.extra_fields.get("proj:transform"),
            asset.extra_fields.get("proj:shape"),
        )
        for asset in item.assets.values()
    }
    return {
        href: (transform, shape) for href, (transform, shape) in said.items() if transform and shape
    }


def _native(item: pystac.Item, band: str, found: list[Offer]) -> Offer | None:
    if band not in MEASURED and band != "SCL":
        raise S2SharpError(
            "bad-config", f"{band} is no band.", f"Choose from {', '.join(MEASURED)}."
        )
    gsd = native_gsd(band)
    for offer in sorted(found, key=lambda o: (_is_jp2(o.asset), o.key)) if found[1:] else found:
        size = _resolution(offer)
        if size is None or math.isclose(size, gsd, rel_tol=1e-3):
            return offer
    if band == "SCL":
        return None
    copies = ", ".join(offer.key for offer in found)
    raise S2SharpError(
        "band-missing",
        f"Item {item.id} should have an asset for {band} at {gsd} m; found "
        f"{f'only resampled copies ({copies})' if copies else 'none'} "
        f"among its assets {', '.join(sorted(item.assets)) or '(none)'}.",
        "Ask for other bands, or leave the item out.",
    )


def _source(item: pystac.Item, band: str, offer: Offer) -> Source:
    raw = address(offer.asset)
    href, sign = unsigned(raw), _sign(offer.asset, raw)
    if band == "SCL":
        return Source(band, href, 1.0, 0.0, 0, "classes", sign)
    scale, offset, origin = _radiometry(item, offer)
    nodata = int(as_number(offer.facts.get("nodata")) or 0)
    return Source(band, href, scale, offset, nodata, origin, sign)


def _sign(asset: pystac.Asset, raw: str) -> str:
    # What a frozen catalogue says, in the words of STAC's authentication extension.
    said = asset.extra_fields.get("auth:refs")
    if isinstance(said, list) and said and said[0] in WAYS:
        return str(said[0])
    return "none" if unsigned(raw) == raw else "item"


def _claim(offer: Offer) -> str | None:
    asset, facts = offer.asset, offer.facts
    if _PICTURES.intersection(asset.roles or ()) or any(len(b) > 1 for b in _band_lists(asset)):
        return None
    # ESA's name in the metadata beats the key, and the key the common name, which may repeat.
    said = (facts.get("name"), _parts(offer.key)[0], facts.get("common_name"))
    return next((_NAMES[name] for text in said if (name := str(text).lower()) in _NAMES), None)


@lru_cache(maxsize=1024)
def _parts(key: str) -> tuple[str, str | None]:
    found = _KEY.fullmatch(key)
    return (found["stem"], found["gsd"]) if found else (key, None)


def _band_lists(asset: pystac.Asset) -> Iterator[Sequence[Any]]:
    for key in ("bands", "eo:bands", "raster:bands"):
        if isinstance(said := asset.extra_fields.get(key), list):
            yield said


def _facts(asset: pystac.Asset) -> dict[str, Any]:
    """What an asset says of its one band, in STAC 1.0 or 1.1; what is said of the band counts more."""
    said = [asset.extra_fields, *(b[0] for b in _band_lists(asset) if b and isinstance(b[0], dict))]
    return {
        _FACTS[key]: value
        for fields in said
        for key, value in fields.items()
        if key in _FACTS and value is not None
    }


def _resolution(offer: Offer) -> float | None:
    """Metres per pixel. ``gsd`` comes last, since of a copy it may tell the sensor's."""
    transform, facts = offer.asset.extra_fields.get("proj:transform"), offer.facts
    first = transform[0] if isinstance(transform, list) and transform else None
    for said in (first, facts.get("spatial_resolution"), _parts(offer.key)[1], facts.get("gsd")):
        if size := as_number(said):
            return abs(size)
    return None


def _radiometry(item: pystac.Item, offer: Offer) -> tuple[float, float, str]:
    facts = offer.facts
    scale, offset = as_number(facts.get("scale")), as_number(facts.get("offset"))
    if scale == 1 and not str(facts.get("data_type")).startswith("float"):
        scale = offset = None  # the extension's defaults; they can't be meant of integers
    if scale is None or scale <= 0:
        scale = 1 / QUANTIFICATION
    said = item.properties
    applied = said.get("earthsearch:boa_offset_applied", said.get("sentinel:boa_offset_applied"))
    # The flag speaks of the COGs that Earth Search wrote; ESA's own JP2 files beside them are raw.
    if applied is True and not _is_jp2(offer.asset):
        return scale, 0.0, "boa_offset_applied"
    if offset is not None:
        return scale, offset, "item metadata"
    number = baseline(item)
    if number is None:
        raise S2SharpError(
            "offset-unknown",
            f"Item {item.id} tells neither the offset of its bands nor its processing baseline, so "
            "its reflectance may be wrong by 0.1.",
            "Leave the item out, or take it from an archive that tells.",
        )
    offset = RAW_OFFSET if number >= (4, 0) else 0.0
    return scale, offset, f"processing baseline {number[0]:02d}.{number[1]:02d}"


def _is_jp2(asset: pystac.Asset) -> bool:
    return "jp2" in (asset.media_type or "") or asset.href.partition("?")[0].endswith(".jp2")
