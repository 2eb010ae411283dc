"""Metadata of items of each archive: band → asset, radiometry, datatake, tile, CRS.

Pure functions on `pystac.Item`. Known shapes: Earth Search v1 (``rededge1``, and ``rededge1-jp2`` beside it),
Planetary Computer (``B05``), CDSE STAC v1 (``B05_20m``, resampled ``B05_60m`` beside it) and any catalog with ESA's
names as asset keys or band names. STAC 1.0 and 1.1 fields are read alike.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pystac

from .faults import faulty

_NAMES = ("datatake_id", "product_uri", "product_id", "granule_id", "tile_id")
_NAMING = (
    *(f"{archive}:{name}" for archive in ("s2", "eopf", "sentinel") for name in _NAMES),
    *("eopf:data_take_id", "sentinel:sentinel_tile_id"),
)
"""Properties that may hold ESA's name of the datatake, the product or the granule."""

_STRIPS = ("s2:datastrip_id", "eopf:datastrip_id", "sentinel:datastrip_id")
_LEVELS = ("s2:product_type", "product:type", "processing:level")
_BASELINES = ("s2:processing_baseline", "eopf:baseline", "sentinel:processing_baseline")
_MGRS = tuple(
    tuple(f"{archive}:{name}" for name in ("utm_zone", "latitude_band", "grid_square"))
    for archive in ("mgrs", "sentinel")
)
_MADE = ("s2:generation_time", "processing:datetime")

PROPERTIES: dict[str, type] = {
    **dict.fromkeys((*_NAMING, *_STRIPS, *_MADE, *_LEVELS, "title", "platform"), str),
    **dict.fromkeys(("grid:code", "s2:mgrs_tile"), str),
    **dict.fromkeys((*(name for names in _MGRS for name in names), "odc:region_code"), str),
    **dict.fromkeys((*_BASELINES, "processing:version"), str),
    **dict.fromkeys(("eo:cloud_cover", "sat:absolute_orbit", "sat:relative_orbit"), float),
    **dict.fromkeys((f"{e}:boa_offset_applied" for e in ("earthsearch", "sentinel")), bool),
}
"""Properties of an item that are read beside its time and CRS, with their types."""

FACTS: dict[str, type] = {
    "nodata": float,
    "data_type": str,
    "raster:scale": float,
    "raster:offset": float,
}
"""Facts of an asset that radiometry depends on, in the terms of STAC 1.1, with their types."""

# Tables turn integers into floats: 32633.0.
_EPSG = re.compile(
    r"(?:(?:URN:OGC:DEF:CRS:)?EPSG:(?:[\d.]*:)?|HTTPS?://WWW\.OPENGIS\.NET/DEF/CRS/EPSG/[\d.]+/)?(\d{1,9})(?:\.0+)?"
)
_WKT = re.compile(r"(?:ID|AUTHORITY)\[\s*\"EPSG\"\s*,\s*\"?(\d{1,9})\"?\s*\]\s*\]$")
"""End of a CRS as WKT, which tells the code of the whole."""

DAY = timedelta(days=1)
"""Largest difference between the start of a datatake, which names state, and the time of a tile. Names are copied from
one date to another."""

_CRS = ("proj:code", "proj:epsg", "proj:projjson", "proj:wkt2")
_TIME = r"\d{8}T\d{6}"
_DATATAKE = re.compile(r"(?<![A-Z0-9])G?(S2[A-Z])_(?:MSIL\d[A-Z]_)?(\d{8}T\d{6})_")
_LEVEL = re.compile(r"(?:MSI|L)([12][AC])(?![A-Z0-9])", re.IGNORECASE)
_TILE = r"T?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z]{2})"


def baseline(item: pystac.Item) -> tuple[int, int] | None:
    """Return the processing baseline as numbers, ``(5, 9)`` for "05.09" and "5.09", or None if not stated.

    It is read from ``s2:processing_baseline`` and the like, or from a product name (``_N0509_``), or from
    ``processing:version`` if that has ESA's form "05.09". Another form may be the version of some software.
    """
    for key in _BASELINES:
        said = as_text(item.properties.get(key)).strip()
        if found := re.fullmatch(r"(\d{1,2})(?:\.(\d{1,2}))?", said):
            # A JSON number loses its last zero: 5.1 is 05.10.
            return int(found[1]), int((found[2] or "0").ljust(2, "0"))
    for text in _texts(item):
        if found := re.search(r"_N(\d{2})\.?(\d{2})(?=_|\.|$)", text):
            return int(found[1]), int(found[2])
    said = as_text(item.properties.get("processing:version"))
    if found := re.fullmatch(r"(\d{2})\.(\d{2})", said):
        return int(found[1]), int(found[2])
    return None


def datatake(item: pystac.Item) -> str:
    """Return a key that all tiles of one overpass share, whatever their baseline.

    The key is the platform with the first of these: the start of the datatake, from ``s2:datatake_id``,
    ``eopf:datatake_id`` or an ESA product name (``"S2A_20230628T070631"``); another datatake id; the absolute orbit,
    from ``sat:absolute_orbit`` or a granule name; the relative orbit and the day of its pass; the minute of sensing,
    which is only a guess. A start that is more than a day from the time of sensing does not count.
    """
    when = sensed(item)
    for text in _texts(item):
        found = _DATATAKE.search(text)
        if found and (start := start_in(found[2])) and abs(start - when) <= DAY:
            return f"{found[1]}_{found[2]}"
    code = "S2" + platform(item).removeprefix("sentinel-2").upper()
    for key in ("s2:datatake_id", "eopf:datatake_id", "eopf:data_take_id"):
        said = as_text(item.properties.get(key))
        # A word, such as "unknown", would join all dates.
        if re.search(r"\d", said) and not _DATATAKE.search(said):
            return f"{code}_{re.sub(r'_N[0-9.]+$', '', said)}"
    orbits = (re.search(r"_A(\d{6})_T", text) for text in _texts(item))
    orbit = as_number(item.properties.get("sat:absolute_orbit")) or next(
        (float(found[1]) for found in orbits if found), None
    )
    if orbit and orbit > 0:
        return f"{code}_A{int(orbit):06d}"
    if orbit := as_number(item.properties.get("sat:relative_orbit")):
        return f"{code}_R{int(orbit):03d}_{when - _before_pass(orbit):%Y%m%d}"
    return f"{code}_{when:%Y%m%dT%H%M}"


def start_in(name: str) -> datetime | None:
    """Return the time in UTC that a name states as "20230628T070631", or None if there is no such time."""
    try:
        return datetime.strptime(f"{name}+0000", "%Y%m%dT%H%M%S%z")
    except ValueError:
        return None


def _before_pass(orbit: float) -> timedelta:
    """Return the time from midnight UTC until twelve hours before the satellite, on ``orbit``, crosses the equator
    southwards.

    A satellite repeats a relative orbit every ten days at the same hour: 143 orbits are ten days, and orbit 122, over
    Vienna, crosses at 10:19. Days counted from there have the whole pass, twenty-five minutes to either side, in
    their middle. So neither midnight nor the antimeridian cuts a pass in two.
    """
    hours = 10.32 + (orbit - 122) * 240 / 143
    return timedelta(hours=hours % 24 - 12)


def datastrip(item: pystac.Item) -> str | None:
    """Return the start of sensing of the item's data strip, "20230628T100612", or None if not stated.

    A datatake received in parts comes as strips. A tile at their border has an item for each strip.
    """
    for text in (as_text(item.properties.get(key)) for key in _STRIPS):
        if found := re.search(rf"_S({_TIME})(?=_|\.|$)", text):
            return found[1]
    return None


def processed(item: pystac.Item) -> str | None:
    """Return the time when ESA made the product, "20230628T170000", or None if not stated.

    It is the time of generation, or else comes from the name of the product (its discriminator) or of the granule.
    """
    for key in _MADE:
        if when := _moment(item.properties.get(key)):
            return when
    for text in _texts(item):
        if found := re.search(rf"_T{_TILE[2:]}_({_TIME})(?=\.|$)|_TL_\w{{4}}_({_TIME})_A", text):
            return found[3] or found[4]
    return None


def archived(item: pystac.Item) -> str:
    """Return the time when the archive ingested or last changed the item, or "" if not stated."""
    return max(_moment(item.properties.get(key)) or "" for key in ("created", "updated"))


def _moment(value: Any) -> str | None:
    """Return a time in UTC, to the second, so that its text sorts by time."""
    when = time_in(value)
    return None if when is None else f"{when:%Y%m%dT%H%M%S}"


def level(item: pystac.Item) -> str | None:
    """Return the processing level, ``"L1C"`` or ``"L2A"``, from properties or else a name; None if not stated."""
    said = (as_text(item.properties.get(key)) for key in _LEVELS)
    return next(filter(None, map(level_in, (*said, *_texts(item)))), None)


def level_in(text: str) -> str | None:
    """Return the processing level in a name, such as "S2MSI2A" or "sentinel-2-l1c", or None."""
    found = _LEVEL.search(text)
    return f"L{found[1].upper()}" if found else None


def sensed(item: pystac.Item) -> datetime:
    """Return the time of sensing in UTC: the datetime, or else the start of the interval. Error: ``item-broken``."""
    return sensing_span(item)[0] if item.datetime is None else _utc(item.datetime)


def sensing_span(item: pystac.Item) -> tuple[datetime, datetime]:
    """Return start and end of sensing in UTC: the item's interval, or else its datetime twice.

    Error: ``item-broken``: it has neither, or its interval is invalid.
    """
    first, last = (time_in(item.properties.get(key)) for key in ("start_datetime", "end_datetime"))
    if first is None or last is None:
        first = last = _utc(item.datetime) if item.datetime else first
    if first is None or last is None:
        text = f"Item {item.id} has neither a datetime nor a valid start_datetime."
        raise faulty("item-broken", item.id, text)
    return first, last


def time_in(value: Any) -> datetime | None:
    """Return the time in UTC that a text states in ISO 8601, or None."""
    try:
        when = datetime.fromisoformat(as_text(value))
    except ValueError:
        return None
    return _utc(when)


def _utc(when: datetime) -> datetime:
    """Return a time in UTC; STAC times without a zone are in UTC."""
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def tile(item: pystac.Item) -> str:
    """Return the MGRS tile, such as "33UUP" or "01CCV", or the item's id if no tile is stated."""
    said = item.properties
    name, code = (as_text(said.get(key)) for key in ("s2:mgrs_tile", "grid:code"))
    parts = ("".join(as_text(said.get(key)) for key in names) for names in _MGRS)
    region = as_text(said.get("odc:region_code"))
    for text in (name, code.removeprefix("MGRS-"), *parts, region):
        if found := re.fullmatch(_TILE, text):
            return f"{int(found[1]):02d}{found[2]}"
    for text in _texts(item):
        if found := re.search(rf"(?:^|_){_TILE}(?=_|\.|$)", text):
            return f"{int(found[1]):02d}{found[2]}"
    return item.id


def platform(item: pystac.Item) -> str:
    """Return ``"sentinel-2a"`` and so on, or ``"sentinel-2"`` if the item does not state which."""
    for text in (as_text(item.properties.get("platform")), *_texts(item)):
        if found := re.search(
            r"(?<![A-Z0-9])(?:SENTINEL-?2|G?S2)([A-Z])(?![A-Z0-9])", text.upper()
        ):
            return f"sentinel-2{found[1].lower()}"
    return "sentinel-2"


def epsg(item: pystac.Item) -> int:
    """Return the item's EPSG code, from its properties or else its assets. Error: ``crs-unknown``."""
    places = [item.properties, *(asset.extra_fields for asset in item.assets.values())]
    said: set[str] = set()
    codes: set[int] = set()
    for place in places[:1], places[1:]:
        values = [p[key] for p in place for key in _CRS if p.get(key)]
        said |= {f"{value!s:.60}" for value in values}
        codes = {code for value in values if (code := code_in(value)) is not None}
        if len(codes) == 1:
            return codes.pop()
        if codes:
            break
    there = ", ".join(map(str, sorted(codes or said))) or "none"
    text = f"Item {item.id} should have one EPSG code in proj:code or proj:epsg; found {there}."
    raise faulty("crs-unknown", item.id, text)


def code_in(said: Any) -> int | None:
    """Return the EPSG code in a CRS, which is a code, a URN, a URL, WKT or PROJJSON; None without one."""
    if isinstance(said, Mapping):
        about = said.get("id")
        if not isinstance(about, Mapping) or about.get("authority") != "EPSG":
            return None
        return code_in(about.get("code"))
    text = as_text(said).strip().upper()
    found = _EPSG.fullmatch(text) or _WKT.search(text[-200:])
    return int(found[1]) if found else None


def bounds(item: pystac.Item) -> tuple[float, float, float, float] | None:
    """Return left, bottom, right and top of the item's grid in metres, from ``proj:bbox``; None if not stated."""
    numbers = numbers_in(item.properties.get("proj:bbox"), 4)
    if numbers is None:
        return None
    left, bottom, right, top = numbers
    return (left, bottom, right, top) if left < right and bottom < top else None


def cloud_cover(item: pystac.Item) -> float:
    """Return the tile's cloud cover in percent, NaN if unknown."""
    said = as_number(item.properties.get("eo:cloud_cover"))
    return math.nan if said is None else said


def as_text(value: Any) -> str:
    """Return a text, or a number as text, or else an empty text: any JSON may stand in place of a name."""
    return (
        str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    )


def as_number(value: Any) -> float | None:
    """Return a number, or a text that is one."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def numbers_in(said: Any, *lengths: int) -> list[float] | None:
    """Return the numbers of a list, or None if it has another length or anything else in it."""
    numbers = [as_number(value) for value in said] if isinstance(said, list | tuple) else []
    known = [number for number in numbers if number is not None]
    return known if len(numbers) in lengths and len(known) == len(numbers) else None


def as_flag(value: Any) -> bool | None:
    """Return a truth value from JSON, a number or a word; None if it is neither true nor false."""
    words = {"true": True, "1": True, "false": False, "0": False}
    return value if isinstance(value, bool) else words.get(as_text(value).strip().lower())


def _texts(item: pystac.Item) -> list[str]:
    said = (as_text(item.properties.get(key)) for key in (*_NAMING, "title"))
    return [text for text in (*said, item.id) if text]
