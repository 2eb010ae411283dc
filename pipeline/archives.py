"""What an item of each archive says: band → asset, radiometry, datatake, tile, CRS.

Pure functions on `pystac.Item`. Known shapes: Earth Search v1 (``rededge1``, and ``rededge1-jp2``
beside it), Planetary Computer (``B05``), CDSE STAC v1 (``B05_20m``, resampled ``B05_60m`` beside
it) and any catalogue whose asset keys or band names are ESA's; STAC 1.0 and 1.1 fields alike.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pystac

from s2sharp_core.bands import BANDS
from s2sharp_core.errors import S2SharpError

__all__ = [
    "Source",
    "baseline",
    "check_href",
    "cloud_cover",
    "datatake",
    "epsg",
    "is_local",
    "platform",
    "public",
    "safe_name",
    "scl_source",
    "sensed",
    "sources",
    "tile",
]

QUANTIFICATION = 10_000
"""DN per unit of reflectance in every ESA product so far."""

RAW_OFFSET = -0.1
"""Reflectance offset of raw products since baseline 04.00: −1000 DN in every band."""

SCL_GSD = 20

# "rededge" alone is no key here: archives give it to three bands or four.
_NAMES = (
    {name.lower(): name for name in BANDS}
    | {band.common_name: band.name for band in BANDS.values()}
    | {"rededge1": "B05", "rededge2": "B06", "rededge3": "B07", "scl": "SCL"}
)
_KEY = re.compile(r"(?P<stem>.+?)(?:_(?P<gsd>[126]0)m)?(?:-jp2)?", re.IGNORECASE)
_PICTURES = frozenset({"visual", "overview", "thumbnail", "metadata"})
_FACTS = frozenset(
    {"name", "common_name", "scale", "offset", "nodata", "data_type", "spatial_resolution", "gsd"}
)
_DATATAKE = re.compile(r"(?<![A-Z0-9])G?(S2[A-Z])_(?:MSIL\d[A-Z]_)?(\d{8}T\d{6})_")
_TILE = r"T?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z]{2})"


@dataclass(frozen=True)
class Source:
    """One band of one item: reflectance = DN · ``scale`` + ``offset``, DN ``nodata`` = no data.

    ``origin`` says where the offset is from: ``"item metadata"``, ``"boa_offset_applied"``,
    ``"processing baseline 05.11"``.
    """

    band: str
    href: str
    scale: float
    offset: float
    nodata: int
    origin: str


def sources(item: pystac.Item, bands: Iterable[str]) -> dict[str, Source]:
    """The assets that hold ``bands`` (ESA names) at their native resolution, with their radiometry.

    Resampled copies are never taken; of a COG and a JP2 of the same band, the COG is. Errors:
    ``band-missing``, ``offset-unknown``, ``bad-config`` (no such band).
    """
    return {band: _source(item, band) for band in bands}


def scl_source(item: pystac.Item) -> Source | None:
    """The scene classification at 20 m (scale 1, offset 0), or None where there is none (L1C)."""
    native = _assets(item, "SCL", SCL_GSD)[0]
    if not native:
        return None
    return Source("SCL", _href(item.assets[native[0]]), 1.0, 0.0, 0, "classes")


def baseline(item: pystac.Item) -> tuple[int, int] | None:
    """The processing baseline as numbers, ``(5, 9)`` for "05.09" and "5.09"; None if not said.

    From ``s2:processing_baseline``, else a product name (``_N0509_``), else ``processing:version``
    where that has ESA's form "05.09" and so isn't the version of somebody's software.
    """
    said = str(item.properties.get("s2:processing_baseline", "")).strip()
    if found := re.fullmatch(r"(\d{1,2})(?:\.(\d{1,2}))?", said):
        # A JSON number loses its last zero: 5.1 is 05.10.
        return int(found[1]), int((found[2] or "0").ljust(2, "0"))
    for text in _names(item):
        if found := re.search(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)", text):
            return int(found[1]), int(found[2])
    said = str(item.properties.get("processing:version", ""))
    if found := re.fullmatch(r"(\d{2})\.(\d{2})", said):
        return int(found[1]), int(found[2])
    return None


def datatake(item: pystac.Item) -> str:
    """A key that all tiles of one overpass share, whatever their baseline.

    The platform with, in this order: the datatake's start, from ``s2:datatake_id``,
    ``eopf:datatake_id`` or an ESA product name (``"S2A_20230628T070631"``); another datatake id;
    the absolute orbit, from ``sat:absolute_orbit`` or a granule name; the relative orbit and the
    local solar day, which one pass never changes; the minute of sensing, which is a guess:
    tiles sensed either side of a full minute then count as two acquisitions.
    """
    for text in _names(item):
        if found := _DATATAKE.search(text):
            return f"{found[1]}_{found[2]}"
    code = "S2" + platform(item).removeprefix("sentinel-2").upper()
    for key in ("s2:datatake_id", "eopf:datatake_id"):
        if said := str(item.properties.get(key) or ""):
            return f"{code}_{re.sub(r'_N[0-9.]+$', '', said)}"
    orbits = (re.search(r"_A(\d{6})_T", text) for text in _names(item))
    orbit = _number(item.properties.get("sat:absolute_orbit")) or next(
        (float(found[1]) for found in orbits if found), None
    )
    if orbit:
        return f"{code}_A{int(orbit):06d}"
    when = sensed(item)
    if orbit := _number(item.properties.get("sat:relative_orbit")):
        longitude = item.bbox[0] if item.bbox else 0.0
        return f"{code}_R{int(orbit):03d}_{when + timedelta(hours=longitude / 15):%Y%m%d}"
    return f"{code}_{when:%Y%m%dT%H%M}"


def sensed(item: pystac.Item) -> datetime:
    """When the item was sensed, in UTC: its datetime, else the start of its interval."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        raise S2SharpError("item-broken", f"Item {item.id} has no datetime.")
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def tile(item: pystac.Item) -> str:
    """The MGRS tile, as in "33UUP" and "01CCV"; the item's id where no tile can be told."""
    said = item.properties
    mgrs = [said.get(f"mgrs:{key}", "") for key in ("utm_zone", "latitude_band", "grid_square")]
    code = str(said.get("grid:code", "")).removeprefix("MGRS-")
    for text in (str(said.get("s2:mgrs_tile", "")), code, "".join(map(str, mgrs))):
        if found := re.fullmatch(_TILE, text):
            return f"{int(found[1]):02d}{found[2]}"
    for text in _names(item):
        if found := re.search(rf"(?:^|_){_TILE}(?=_|\.|$)", text):
            return f"{int(found[1]):02d}{found[2]}"
    return item.id


def platform(item: pystac.Item) -> str:
    """``"sentinel-2a"`` and so on; ``"sentinel-2"`` if the item doesn't say which."""
    for text in (str(item.properties.get("platform", "")), *_names(item)):
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


def cloud_cover(item: pystac.Item) -> float:
    """The tile's cloud cover in percent, NaN when unknown."""
    said = _number(item.properties.get("eo:cloud_cover"))
    return math.nan if said is None else said


def safe_name(text: str) -> str:
    """``text`` as the name of one file: no separators, no "..", no control characters, ≤ 120 long.

    A name that had to be changed ends in "~" and a hash, which no unchanged name has, so that
    different texts never share a file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:100].lstrip(".-")
    if name == text and name:
        return name
    return f"{name}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def is_local(catalog: str) -> bool:
    """Whether ``catalog`` is a path (or file:// URL) of this machine."""
    return _scheme(catalog) in ("", "file")


def check_href(href: str, catalog: str) -> str:
    """``href``, if ``catalog`` may make us open it, else the error ``href-refused``.

    http(s) and s3 may come from anywhere; absolute paths and file:// (returned as a path) only
    from a catalogue on this machine. GDAL's /vsi names and all other schemes never.
    """
    scheme = _scheme(href)
    if href.isprintable() and href == href.strip():
        if scheme in ("http", "https", "s3") and urlsplit(href).netloc:
            return href
        path = unquote(urlsplit(href).path) if scheme == "file" else href
        local = scheme in ("", "file") and is_local(catalog) and Path(path).is_absolute()
        if local and path.isprintable() and not path.lower().lstrip("/").startswith("vsi"):
            return path
    raise S2SharpError(
        "href-refused",
        f"{public(catalog)} points to {public(href)!r}, which is no http(s), s3 or local address "
        "that it may send us to.",
        "Leave the item out, or copy the catalogue here and correct the address.",
    )


def public(url: str) -> str:
    """``url`` without what may be secret: user, password, query, fragment. Paths stay as they are."""
    if "//" not in url:
        return url
    return re.split(r"[?#]", re.sub(r"//[^/?#]*@", "//", url))[0]


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:  # such as a broken IPv6 host
        return "?"


def _source(item: pystac.Item, band: str) -> Source:
    if band not in BANDS:
        raise S2SharpError("bad-config", f"{band} is no band.", f"Choose from {', '.join(BANDS)}.")
    native, copies = _assets(item, band, BANDS[band].gsd)
    if not native:
        found = f"only resampled copies ({', '.join(copies)})" if copies else "none"
        raise S2SharpError(
            "band-missing",
            f"Item {item.id} should have an asset for {band} at {BANDS[band].gsd} m; found {found} "
            f"among its assets {', '.join(sorted(item.assets)) or '(none)'}.",
            "Ask for other bands, or leave the item out.",
        )
    asset = item.assets[native[0]]
    facts = _facts(asset)
    scale, offset, origin = _radiometry(item, asset, facts)
    return Source(band, _href(asset), scale, offset, int(_number(facts.get("nodata")) or 0), origin)


def _assets(item: pystac.Item, band: str, gsd: int) -> tuple[list[str], list[str]]:
    """Keys of the assets that hold ``band``: those at its native ``gsd``, best first, and the rest."""
    keys = [key for key, asset in item.assets.items() if _claim(key, asset) == band]
    keys.sort(key=lambda key: (_is_jp2(item.assets[key]), key))
    sizes = {key: _resolution(key, item.assets[key]) for key in keys}
    native = [
        key for key, size in sizes.items() if size is None or math.isclose(size, gsd, rel_tol=1e-3)
    ]
    return native, [key for key in keys if key not in native]


def _claim(key: str, asset: pystac.Asset) -> str | None:
    if _PICTURES.intersection(asset.roles or ()) or any(len(b) > 1 for b in _band_lists(asset)):
        return None
    facts, stem = _facts(asset), _parts(key)[0]
    # ESA's name in the metadata beats the key, and the key the common name, which may repeat.
    said = (str(name).lower() for name in (facts.get("name"), stem, facts.get("common_name")))
    return next((_NAMES[name] for name in said if name in _NAMES), None)


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
    pairs = (pair for fields in said for pair in fields.items())
    short = ((re.sub(r"^(eo|raster):", "", key), value) for key, value in pairs)
    return {key: value for key, value in short if key in _FACTS and value is not None}


def _resolution(key: str, asset: pystac.Asset) -> float | None:
    """Metres per pixel. ``gsd`` comes last, since of a copy it may tell the sensor's."""
    transform, facts = asset.extra_fields.get("proj:transform"), _facts(asset)
    first = transform[0] if isinstance(transform, list) and transform else None
    said = (first, facts.get("spatial_resolution"), _parts(key)[1], facts.get("gsd"))
    return next((abs(size) for size in map(_number, said) if size), None)


def _radiometry(
    item: pystac.Item, asset: pystac.Asset, facts: dict[str, Any]
) -> tuple[float, float, str]:
    scale, offset = _number(facts.get("scale")), _number(facts.get("offset"))
    if scale == 1 and not str(facts.get("data_type")).startswith("float"):
        scale = offset = None  # the extension's defaults; they can't be meant of integers
    if scale is None or scale <= 0:
        scale = 1 / QUANTIFICATION
    said = item.properties
    applied = said.get("earthsearch:boa_offset_applied", said.get("sentinel:boa_offset_applied"))
    # The flag speaks of the COGs that Earth Search wrote; ESA's own JP2 files beside them are raw.
    if applied is True and not _is_jp2(asset):
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
    return "jp2" in (asset.media_type or "") or urlsplit(asset.href).path.endswith(".jp2")


def _href(asset: pystac.Asset) -> str:
    return asset.get_absolute_href() or asset.href


def _names(item: pystac.Item) -> list[str]:
    """The texts that may hold ESA's name of the datatake, the product or the granule."""
    keys = ("datatake_id", "product_uri", "product_id", "granule_id", "tile_id")
    said = [item.properties.get(f"{prefix}:{key}") for prefix in ("s2", "eopf") for key in keys]
    return [
        text for text in (*said, item.properties.get("title"), item.id) if isinstance(text, str)
    ]


def _number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
