"""What an item of each archive says: band → asset, radiometry, datatake, tile, CRS.

Pure functions on `pystac.Item`. Known shapes: Earth Search v1 (``rededge1``, and ``rededge1-jp2``
beside it), Planetary Computer (``B05``), CDSE STAC v1 (``B05_20m``, resampled ``B05_60m`` beside
it) and any catalogue whose asset keys or band names are ESA's; STAC 1.0 and 1.1 fields alike.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import pystac

from s2sharp_core.bands import MEASURED, native_gsd
from s2sharp_core.errors import S2SharpError

from .addresses import unsigned

__all__ = [
    "FACTS",
    "PROPERTIES",
    "WAYS",
    "Offer",
    "Source",
    "address",
    "archived",
    "as_number",
    "as_text",
    "baseline",
    "cloud_cover",
    "datatake",
    "epsg",
    "grids",
    "offers",
    "platform",
    "processed",
    "sensed",
    "sources",
    "strip",
    "tile",
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

_NAMING = tuple(
    f"{archive}:{name}"
    for archive in ("s2", "eopf")
    for name in ("datatake_id", "product_uri", "product_id", "granule_id", "tile_id")
)
"""Properties that may hold ESA's name of the datatake, the product or the granule."""

_STRIPS = ("s2:datastrip_id", "eopf:datastrip_id")
_MADE = ("s2:generation_time", "processing:datetime")

PROPERTIES: dict[str, type] = {
    **dict.fromkeys((*_NAMING, *_STRIPS, *_MADE, "title", "platform"), str),
    **dict.fromkeys(("grid:code", "s2:mgrs_tile"), str),
    **dict.fromkeys(("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"), str),
    **dict.fromkeys(("s2:processing_baseline", "processing:version"), str),
    **dict.fromkeys(("eo:cloud_cover", "sat:absolute_orbit", "sat:relative_orbit"), float),
    **dict.fromkeys((f"{e}:boa_offset_applied" for e in ("earthsearch", "sentinel")), bool),
}
"""What is read of an item's properties beside its time and CRS, and as what."""

FACTS: dict[str, type] = {
    "nodata": float,
    "data_type": str,
    "raster:scale": float,
    "raster:offset": float,
}
"""What radiometry follows from, of what an asset says of its band, in STAC 1.1's words."""

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
_TIME = r"\d{8}T\d{6}"
_DATATAKE = re.compile(r"(?<![A-Z0-9])G?(S2[A-Z])_(?:MSIL\d[A-Z]_)?(\d{8}T\d{6})_")
_TILE = r"T?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z]{2})"


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


def address(asset: pystac.Asset) -> str:
    """Where the item says that a file is, signed perhaps."""
    # pystac takes its time to tell that an address is absolute.
    return asset.href if "://" in asset.href else asset.get_absolute_href() or asset.href


def baseline(item: pystac.Item) -> tuple[int, int] | None:
    """The processing baseline as numbers, ``(5, 9)`` for "05.09" and "5.09"; None if not said.

    From ``s2:processing_baseline``, else a product name (``_N0509_``), else ``processing:version``
    where that has ESA's form "05.09" and so isn't the version of somebody's software.
    """
    said = as_text(item.properties.get("s2:processing_baseline")).strip()
    if found := re.fullmatch(r"(\d{1,2})(?:\.(\d{1,2}))?", said):
        # A JSON number loses its last zero: 5.1 is 05.10.
        return int(found[1]), int((found[2] or "0").ljust(2, "0"))
    for text in _names(item):
        if found := re.search(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)", text):
            return int(found[1]), int(found[2])
    said = as_text(item.properties.get("processing:version"))
    if found := re.fullmatch(r"(\d{2})\.(\d{2})", said):
        return int(found[1]), int(found[2])
    return None


def datatake(item: pystac.Item) -> str:
    """A key that all tiles of one overpass share, whatever their baseline.

    The platform with, in this order: the datatake's start, from ``s2:datatake_id``,
    ``eopf:datatake_id`` or an ESA product name (``"S2A_20230628T070631"``); another datatake id;
    the absolute orbit, from ``sat:absolute_orbit`` or a granule name; the relative orbit and the
    day of its pass; the minute of sensing, which is no more than a guess.
    """
    for text in _names(item):
        if found := _DATATAKE.search(text):
            return f"{found[1]}_{found[2]}"
    code = "S2" + platform(item).removeprefix("sentinel-2").upper()
    for key in ("s2:datatake_id", "eopf:datatake_id"):
        if said := as_text(item.properties.get(key)):
            return f"{code}_{re.sub(r'_N[0-9.]+$', '', said)}"
    orbits = (re.search(r"_A(\d{6})_T", text) for text in _names(item))
    orbit = as_number(item.properties.get("sat:absolute_orbit")) or next(
        (float(found[1]) for found in orbits if found), None
    )
    if orbit:
        return f"{code}_A{int(orbit):06d}"
    when = sensed(item)
    if orbit := as_number(item.properties.get("sat:relative_orbit")):
        return f"{code}_R{int(orbit):03d}_{when - _before_pass(orbit):%Y%m%d}"
    return f"{code}_{when:%Y%m%dT%H%M}"


def _before_pass(orbit: float) -> timedelta:
    """From midnight UTC until half a day before the satellite, on ``orbit``, crosses the equator southwards.

    A satellite is on a relative orbit once in ten days, always at the same hour: 143 orbits are ten days, and orbit
    122, over Vienna, crosses at 10:19. So days that are counted from there have the whole pass, twenty-five
    minutes to either side, in their middle: neither midnight nor the antimeridian cuts one in two.
    """
    hours = 10.32 + (orbit - 122) * 240 / 143
    return timedelta(hours=hours % 24 - 12)


def strip(item: pystac.Item) -> str | None:
    """When the item's data strip began to be sensed, "20230628T100612"; None if not said.

    A datatake that is received in parts comes as strips, and a tile at their border as an item of each.
    """
    for text in (as_text(item.properties.get(key)) for key in _STRIPS):
        if found := re.search(rf"_S({_TIME})(?=_|\.|$)", text):
            return found[1]
    return None


def processed(item: pystac.Item) -> str | None:
    """When ESA made the product, "20230628T170000"; None if not said.

    From its time of generation, else the name of the product (its discriminator) or of the granule.
    """
    for key in _MADE:
        if when := _moment(item.properties.get(key)):
            return when
    for text in _names(item):
        if found := re.search(rf"_T{_TILE[2:]}_({_TIME})(?=\.|$)|_TL_\w{{4}}_({_TIME})_A", text):
            return found[3] or found[4]
    return None


def archived(item: pystac.Item) -> str:
    """When the archive took the item in, or last changed it; "" if not said."""
    return max(_moment(item.properties.get(key)) or "" for key in ("created", "updated"))


def _moment(value: Any) -> str | None:
    """A time in UTC, to the second, so that text sorts as time does."""
    try:
        when = datetime.fromisoformat(as_text(value))
    except ValueError:
        return None
    when = when.astimezone(UTC) if when.tzinfo else when
    return f"{when:%Y%m%dT%H%M%S}"


def sensed(item: pystac.Item) -> datetime:
    """When the item was sensed, in UTC: its datetime, else the start of its interval."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        raise S2SharpError("item-broken", f"Item {item.id} has no datetime.")
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def tile(item: pystac.Item) -> str:
    """The MGRS tile, as in "33UUP" and "01CCV"; the item's id where no tile can be told."""
    mgrs = ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square")
    keys = ("s2:mgrs_tile", "grid:code", *mgrs)
    name, code, *parts = (as_text(item.properties.get(key)) for key in keys)
    for text in (name, code.removeprefix("MGRS-"), "".join(parts)):
        if found := re.fullmatch(_TILE, text):
            return f"{int(found[1]):02d}{found[2]}"
    for text in _names(item):
        if found := re.search(rf"(?:^|_){_TILE}(?=_|\.|$)", text):
            return f"{int(found[1]):02d}{found[2]}"
    return item.id


def platform(item: pystac.Item) -> str:
    """``"sentinel-2a"`` and so on; ``"sentinel-2"`` if the item doesn't say which."""
    for text in (as_text(item.properties.get("platform")), *_names(item)):
        if found := re.search(
            r"(?<![A-Z0-9])(?:SENTINEL-?2|G?S2)([A-Z])(?![A-Z0-9])", text.upper()
        ):
            return f"sentinel-2{found[1].lower()}"
    return "sentinel-2"


def epsg(item: pystac.Item) -> int:
    """The item's EPSG code, from its properties, else its assets. Error: ``crs-unknown``."""
    places = [item.properties, *(asset.extra_fields for asset in item.assets.values())]
    for place in places[:1], places[1:]:
        said = {str(p.get(key) or "") for p in place for key in ("proj:code", "proj:epsg")}
        codes = {int(m[1]) for s in said if (m := re.fullmatch(r"(?:EPSG:)?(\d+)", s.upper()))}
        if len(codes) == 1:
            return codes.pop()
        if codes:
            break
    raise S2SharpError(
        "crs-unknown",
        f"Item {item.id} should have one EPSG code in proj:code or proj:epsg; found "
        f"{', '.join(map(str, sorted(codes))) or 'none'}.",
        "Leave the item out, or ask the archive to complete it.",
    )


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


def cloud_cover(item: pystac.Item) -> float:
    """The tile's cloud cover in percent, NaN when unknown."""
    said = as_number(item.properties.get("eo:cloud_cover"))
    return math.nan if said is None else said


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


def _names(item: pystac.Item) -> list[str]:
    said = (as_text(item.properties.get(key)) for key in (*_NAMING, "title"))
    return [text for text in (*said, item.id) if text]


def as_text(value: Any) -> str:
    """A text, or a number as one; else nothing: any JSON may stand where ESA has a name."""
    return (
        str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    )


def as_number(value: Any) -> float | None:
    """A number, or a text that is one."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
