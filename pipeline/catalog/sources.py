"""Files of an item for its bands: address, scale, offset, nodata, grid."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import pystac

from s2sharp_core.bands import CIRRUS, MEASURED, native_gsd
from s2sharp_core.errors import S2SharpError

from .addresses import absolute, on_disk, split_address, unsigned
from .faults import faulty
from .metadata import as_number
from .reflectance import radiometry

# "rededge" alone is not a key here: archives use it for three or four bands.
_ESA = (
    {name.lower(): name for name in MEASURED}
    | {band.common_name: band.name for band in MEASURED.values()}
    | {"rededge1": "B05", "rededge2": "B06", "rededge3": "B07", "scl": "SCL"}
)
_NBART = {
    "nbart_coastal_aerosol": "B01",
    "nbart_blue": "B02",
    "nbart_green": "B03",
    "nbart_red": "B04",
    "nbart_red_edge_1": "B05",
    "nbart_red_edge_2": "B06",
    "nbart_red_edge_3": "B07",
    "nbart_nir_1": "B08",
    "nbart_nir_2": "B8A",
    "nbart_swir_2": "B11",
    "nbart_swir_3": "B12",
}
"""Bands of Geoscience Australia's ga_s2*_ard_3, which has no B09."""

_NAMES = _ESA | _NBART

_NBART_FACTS = {"scale": 1e-4, "offset": 0.0, "nodata": -999, "data_type": "int16"}
"""Facts of that product by its definition, which its items do not state."""

_KEY = re.compile(r"(?P<stem>.+?)(?:_(?P<gsd>[126]0)m)?(?:-jp2)?", re.IGNORECASE)

WAYS = ("none", "item", "planetary-computer", "cdse")
"""Ways to sign an address, or keys that a request for it needs."""

MAX_DN = 65_535.5
"""Just above the largest uint16."""

_DEGREES = 0.01
"""Smaller pixel sizes are in degrees: 0.01 is a centimetre, or a kilometre."""

# Paths in an EOPF Zarr, of EOPF's Product Structure and Format Definition.
_REFLECTANCE = "measurements/reflectance"
SCL_PATH = "conditions/mask/l2a_classification/r20m/scl"
_GROUP = re.compile(r"(?P<root>.+\.zarr)(?:/(?P<path>.*?))?/?", re.IGNORECASE)
# Facts of an asset that do not hold for each of its bands; a group's grid is that of its finest level.
_OWN = ("bands", "eo:bands", "proj:transform", "proj:shape", "gsd", "raster:spatial_resolution")

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

    ``origin`` is the source of the offset: ``"item metadata"``, ``"boa_offset_applied"``, ``"processing baseline
    05.11"``. ``href`` holds no credentials; ``sign`` is the way to get some: ``"none"``, ``"item"`` (the item names
    it signed), ``"planetary-computer"`` or ``"cdse"``. ``signed``: whether DN may lie below zero.
    """

    band: str
    href: str
    scale: float
    offset: float
    nodata: int
    origin: str
    sign: str = "none"
    signed: bool = False


class Offer(NamedTuple):
    """An asset that claims to hold a band, and its statements about the band."""

    key: str
    asset: pystac.Asset
    facts: dict[str, Any]


def sources(item: pystac.Item, bands: Iterable[str]) -> dict[str, Source]:
    """Return the assets that hold ``bands`` (ESA names) at native resolution, with their radiometry.

    Resampled copies are never used; of a COG and a JP2 of the same band, the COG is. The scene classification "SCL"
    (20 m, scale 1, offset 0) is left out if there is none (L1C). Errors: ``band-missing``, ``offset-unknown``,
    ``radiometry-implausible``, ``bad-config`` (no such band).
    """
    return {band: _source(item, band, offer) for band, offer in offers(item, bands).items()}


def offers(item: pystac.Item, bands: Iterable[str]) -> dict[str, Offer]:
    """Return the assets for :func:`sources`. Errors: ``band-missing``, ``item-broken``, ``bad-config``."""
    found: dict[str, list[Offer]] = {}
    bands = list(bands)
    for offer in _every(item):
        if band := _claim(offer):
            key, name = _esa(_parts(offer.key)[0]), _esa(offer.facts.get("name"))
            if key and name and key != name and {key, name} & set(bands):
                text = f"Item {item.id} has an asset {offer.key} that is named {name}."
                raise faulty("item-broken", item.id, text, key)
            found.setdefault(band, []).append(offer)
    chosen = {band: _native(item, band, found.get(band, [])) for band in bands}
    return {band: offer for band, offer in chosen.items() if offer is not None}


def _every(item: pystac.Item) -> Iterator[Offer]:
    """Yield the item's assets, with one for each band of an asset that holds many bands in a Zarr."""
    for key, asset in item.assets.items():
        held = list(_arrays(asset))
        for band, one in held:
            yield Offer(f"{key}/{band}", one, _facts(one, key))
        if not held:
            yield Offer(key, asset, _facts(asset, key))


def reflectance_path(band: str) -> str:
    """Return the path of a band's native array in the product."""
    return f"{_REFLECTANCE}/r{native_gsd(band)}m/{band.lower()}"


def _arrays(asset: pystac.Asset) -> Iterator[tuple[str, pystac.Asset]]:
    """Yield each band of a group of arrays with an asset for its native one; nothing for an asset that is no group.

    Archives of EOPF products name single arrays, groups of one resolution (``…/measurements/reflectance/r60m``), the
    group of all resolutions (a GeoZarr pyramid), or the product. The address of an array follows from that of the asset.
    Nothing is requested over the network: a missing array shows when it is read.
    """
    address, query = split_address(asset.href)
    found = _GROUP.fullmatch(address) if ".zarr" in address.lower() else None
    if found is None:
        return
    root, path = found["root"], found["path"] or ""
    for band in (*MEASURED, "SCL"):
        whole = SCL_PATH if band == "SCL" else reflectance_path(band)
        above = ("", _REFLECTANCE, whole.rpartition("/")[0])
        if path not in above or not _says(asset, band):
            continue
        facts = {name: value for name, value in asset.extra_fields.items() if name not in _OWN}
        facts |= {"gsd": native_gsd(band), "bands": [{"name": band}]}
        one = pystac.Asset(
            f"{root}/{whole}{query}", media_type=asset.media_type, extra_fields=facts
        )
        one.owner = asset.owner
        yield band, one


def _says(asset: pystac.Asset, band: str) -> bool:
    """Return whether the asset's list of bands has ``band``; without a list, it may hold the bands of both levels."""
    for key in ("bands", "eo:bands"):
        if isinstance(said := asset.extra_fields.get(key), list):
            return band.lower() in {str(b.get("name")).lower() for b in said if isinstance(b, dict)}
    return band not in (CIRRUS.name, "SCL")


def band_of(name: str) -> str | None:
    """Return ESA's name of the band for a key or name such as "B05_20m", "red", "rededge1-jp2", or None."""
    return _NAMES.get(_parts(name)[0].lower())


def address(asset: pystac.Asset) -> str:
    """Return the address of a file as the item states it, perhaps signed; empty if it is not stated."""
    # pystac is slow to detect an absolute address.
    if not asset.href or "://" in asset.href:
        return on_disk(asset.href)
    home = asset.owner.get_self_href() if asset.owner else None
    return absolute(asset.href, home) if home else asset.href


def grids(item: pystac.Item) -> dict[str, tuple[Any, Any]]:
    """Return transform and shape for the address of each file, as the item states them; the values may be any JSON."""
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
            "bad-config", f"{band} is not a band.", f"Choose from {', '.join(MEASURED)}."
        )
    gsd = native_gsd(band)
    # An array's own asset states more than its group's.
    for offer in sorted(found, key=lambda o: ("/" in o.key, _is_jp2(o.asset), o.key)):
        size = _resolution(offer)
        if size is None or math.isclose(size, gsd, rel_tol=1e-3):
            return offer
    if band == "SCL":
        return None
    copies = ", ".join(f"{offer.key} at {_resolution(offer):g}" for offer in found)
    if found and all((_resolution(offer) or gsd) < _DEGREES for offer in found):
        raise S2SharpError(
            "off-lattice",
            f"Item {item.id} should have an asset for {band} with pixels of {gsd} m; found {copies}, which "
            "seems to be a grid in degrees.",
            "Use the product as ESA grids it, not a reprojected copy.",
        )
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
    scale, offset, origin = radiometry(item, band, offer.facts, raw=_is_jp2(offer.asset))
    nodata = as_number(offer.facts.get("nodata")) or 0
    if abs(nodata) > MAX_DN:  # not a value of DN's type
        nodata = 0
    signed = str(offer.facts.get("data_type")).startswith("int")
    return Source(band, href, scale, offset, int(nodata), origin, sign, signed)


def _sign(asset: pystac.Asset, raw: str) -> str:
    # A frozen catalog states it in terms of STAC's authentication extension.
    said = asset.extra_fields.get("auth:refs")
    if isinstance(said, list) and said and said[0] in WAYS:
        return str(said[0])
    return "none" if unsigned(raw) == raw else "item"


def _claim(offer: Offer) -> str | None:
    asset, facts = offer.asset, offer.facts
    roles = asset.roles if isinstance(asset.roles, list) else ()
    if not _PICTURES.isdisjoint(map(str, roles)) or any(len(b) > 1 for b in _band_lists(asset)):
        return None
    # ESA's name in the metadata has priority over the key, and the key over the common name, which may repeat.
    said = (facts.get("name"), _parts(offer.key)[0], facts.get("common_name"))
    return next((_NAMES[name] for text in said if (name := str(text).lower()) in _NAMES), None)


def _esa(text: Any) -> str | None:
    """Return the band if a text is ESA's name of one."""
    return name if (name := str(text).upper()) in MEASURED else None


@lru_cache(maxsize=1024)
def _parts(key: str) -> tuple[str, str | None]:
    found = _KEY.fullmatch(key)
    return (found["stem"], found["gsd"]) if found else (key, None)


def _band_lists(asset: pystac.Asset) -> Iterator[Sequence[Any]]:
    for key in ("bands", "eo:bands", "raster:bands"):
        if isinstance(said := asset.extra_fields.get(key), list):
            yield said


def _facts(asset: pystac.Asset, key: str) -> dict[str, Any]:
    """Return the statements of an asset about its band, in STAC 1.0 or 1.1. Those of the band have priority."""
    said = [asset.extra_fields, *(b[0] for b in _band_lists(asset) if b and isinstance(b[0], dict))]
    facts = {
        _FACTS[key]: value
        for fields in said
        for key, value in fields.items()
        if key in _FACTS and value is not None
    }
    if {key.lower(), str(facts.get("name")).lower()}.isdisjoint(_NBART):
        return facts
    return _NBART_FACTS | facts


def _resolution(offer: Offer) -> float | None:
    """Return metres per pixel. ``gsd`` comes last, because in a copy it may be the sensor's."""
    transform, facts = offer.asset.extra_fields.get("proj:transform"), offer.facts
    first = transform[0] if isinstance(transform, list) and transform else None
    for said in (first, facts.get("spatial_resolution"), _parts(offer.key)[1], facts.get("gsd")):
        if size := as_number(said):
            return abs(size)
    return None


def _is_jp2(asset: pystac.Asset) -> bool:
    return "jp2" in (asset.media_type or "") or split_address(asset.href)[0].endswith(".jp2")
