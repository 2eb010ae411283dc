"""Conversion from DN to reflectance, as an item states it: plausible for Sentinel-2, or refused."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pystac

from s2sharp_core.errors import S2SharpError

from .faults import faulty
from .metadata import as_flag, as_number, as_text, baseline

QUANTIFICATION = 10_000
"""DN per unit of reflectance in every ESA product so far."""

RAW_OFFSET = -0.1
"""Reflectance offset of raw products since baseline 04.00: −1000 DN in every band."""

PLAIN_OFFSET = 0.0
"""Reflectance offset of products whose DN are reflectance · 10 000, as national archives make them."""

APPLIED = "boa_offset_applied"
"""Origin of an offset that comes from a flag of the archive, which may be newer than its other statements."""

PIXELS = "its pixels"
"""Origin of an offset that was chosen by the pixels of a scene."""

# These limits are wider than all products so far, and narrower than the usual mistakes of units.
_SCALES = 1e-5, 5e-3
_OFFSETS = -0.25, 0.0

_OWN = 90
"""First baseline number that is not a release of ESA's: Sen2Cor, run by a user, writes 99.99."""

_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")


class Radiometry(NamedTuple):
    """Reflectance = DN · ``scale`` + ``offset``; ``origin``: the source of the offset."""

    scale: float
    offset: float
    origin: str


def radiometry(item: pystac.Item, band: str, facts: Mapping[str, Any], *, raw: bool) -> Radiometry:
    """Return the conversion of a band's DN to reflectance.

    ``facts``: statements of the asset about its band: "scale", "offset", "data_type". ``raw``: whether the file is
    ESA's own; flags of the archive do not apply to such files. Errors: ``radiometry-implausible``;
    ``offset-unknown``.
    """
    scale, offset = (_number(item.id, band, name, facts.get(name)) for name in ("scale", "offset"))
    aside = None
    if scale == 1 and not str(facts.get("data_type")).startswith("float"):
        # These are defaults of the extension, which cannot hold for integers; an offset beside them is in DN.
        aside, scale, offset = offset, None, None
    if not (_plausible(scale, *_SCALES) and _plausible(offset, *_OFFSETS)):
        raise _implausible(item.id, band, scale, offset)
    scale = 1 / QUANTIFICATION if scale is None else scale
    applied = next((item.properties[flag] for flag in _FLAGS if flag in item.properties), None)
    if as_flag(applied) and not raw:
        return Radiometry(scale, PLAIN_OFFSET, APPLIED)
    if offset is not None:
        return Radiometry(scale, offset, "item metadata")
    known = _by_baseline(item, scale)
    if aside and not any(math.isclose(known.offset, o) for o in (aside, aside * known.scale)):
        raise _implausible(item.id, band, 1, aside)
    return known


def _number(item: str, band: str, name: str, said: Any) -> float | None:
    """Return a number that an asset states about its band; None if it is missing, in a table NaN or empty text."""
    number = as_number(said)
    if number is None and said not in (None, "") and as_text(said).strip().lower() != "nan":
        text = f"Item {item}, band {band}: its {name} {str(said)[:80]!r} is not a number."
        raise faulty("radiometry-implausible", item, text, band)
    return number


def _by_baseline(item: pystac.Item, scale: float) -> Radiometry:
    """Return the conversion for the processing baseline alone. Error: ``offset-unknown``."""
    number = baseline(item)
    if number is None or number[0] >= _OWN:
        known = (
            " is unknown"
            if number is None
            else f", {number[0]:02d}.{number[1]:02d}, is not one of ESA's"
        )
        raise S2SharpError(
            "offset-unknown",
            f"Item {item.id} does not state the offset of its bands, and its processing baseline{known}. So its "
            "reflectance may be wrong by 0.1.",
            "Leave the item out, or take it from an archive that states the offset.",
        )
    offset = RAW_OFFSET if number >= (4, 0) else PLAIN_OFFSET
    return Radiometry(scale, offset, f"processing baseline {number[0]:02d}.{number[1]:02d}")


def _implausible(item: str, band: str, scale: float | None, offset: float | None) -> S2SharpError:
    """Return the error for a scale and an offset that no Sentinel-2 product has; it suggests the intended ones."""
    said = [
        f"{name} {value:g}"
        for name, value in (("scale", scale), ("offset", offset))
        if value is not None
    ]
    return faulty(
        "radiometry-implausible",
        item,
        f"Item {item}, band {band}: {' and '.join(said)} do not convert DN to reflectance. A Sentinel-2 product has a "
        f"scale near {1 / QUANTIFICATION:g} and an offset, in reflectance, from {_OFFSETS[0]:g} to 0. "
        f"Plausible: {_meant(scale, offset)}.",
        band,
    )


def _plausible(value: float | None, least: float, most: float) -> bool:
    return value is None or least <= value <= most


def _meant(scale: float | None, offset: float | None) -> str:
    """Name the likeliest mistake: DN per reflectance instead of its inverse, an offset in DN, or a sign."""
    unit = 1 / QUANTIFICATION
    for candidate in (scale, 1 / scale if scale else None):
        if candidate is not None and _plausible(candidate, *_SCALES):
            unit = candidate
    texts = [f"scale {unit:g}"]
    shifts = [] if offset is None else [-abs(offset), -abs(offset) * unit]
    shift = next((shift for shift in shifts if _plausible(shift, *_OFFSETS)), None)
    if offset is not None:
        texts.append(f"offset {RAW_OFFSET if shift is None else shift + 0.0:g}")
    return " and ".join(texts)
