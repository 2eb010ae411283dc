"""The extent of a query: a box in degrees, and ``--datetime`` as an interval of time."""

import datetime as dt
import re

from s2sharp_core.errors import S2SharpError

Degrees = tuple[float, float, float, float]
"""West, south, east, north; west > east crosses the antimeridian."""


def valid_bbox(bbox: Degrees | None) -> Degrees | None:
    """Return a valid box in degrees, or None for None; raise ``ValueError`` otherwise."""
    if bbox is None:
        return None
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise ValueError("must be W S E N in degrees, S < N")
    # A box around the far side of the globe is more likely a mix-up of W and E.
    if west == east or (west > east and west - east < 180):
        raise ValueError("W must be less than E, unless the box crosses the antimeridian")
    return bbox


def interval(text: str) -> tuple[dt.datetime | None, dt.datetime | None]:
    """Return the first and last moment of a STAC datetime or interval; None for an open end."""
    parts = [part.strip() for part in text.split("/")]
    spans = [None if part in ("", "..") else _span(part, text) for part in parts]
    first, last = spans[0], spans[-1]
    start, end = first[0] if first else None, last[1] if last else None
    if len(parts) > 2 or not (start or end) or (start and end and start > end):
        raise _bad_time(text)
    return start, end


def _span(part: str, text: str) -> tuple[dt.datetime, dt.datetime]:
    try:
        if found := re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", part):
            year, month, day = (int(group or 1) for group in found.groups())
            first = dt.datetime(year, month, day, tzinfo=dt.UTC)
            if found[3]:
                after = first + dt.timedelta(days=1)
            elif found[2]:
                after = first.replace(year=year + month // 12, month=month % 12 + 1)
            else:
                after = first.replace(year=year + 1)
            return first, after - dt.timedelta(milliseconds=1)
        if re.fullmatch(r"\d{8}", part):
            return _span(f"{part[:4]}-{part[4:6]}-{part[6:]}", text)
        if re.search(r"[Ww]", part):  # ISO 8601 weeks are not accepted
            raise ValueError(part)
        moment = dt.datetime.fromisoformat(part)
    except (ValueError, OverflowError):
        raise _bad_time(text) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return moment, moment


def _bad_time(text: str) -> S2SharpError:
    return S2SharpError(
        "bad-config",
        f"{text!r} is not a date, month, year, timestamp or interval of these (first before last).",
        "Write, for example, 2024-05-01, 2024-05 or 2024-05-01/2024-06-15.",
    )
