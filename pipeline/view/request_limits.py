"""Limits for a request to the map: any page in a browser can send one, with the address of a picture."""

from collections import Counter
from collections.abc import Mapping, Sequence

MAX_QUERY = 1000
"""Largest number of characters of a request's query."""

MAX_SIDE = 512
"""Largest number of pixels along a tile."""

AT_ONCE = 4
"""Number of concurrent requests; the others wait and need no memory."""

# Largest number of uses of each parameter; a parameter that is not listed is refused.
_TIMES = dict.fromkeys(("band", "rescale", "stretch"), 3)
_TIMES |= dict.fromkeys(("acquisition", "tilesize", "colormap_name", "f"), 1)
_TIMES |= dict.fromkeys(("delivered", "lon", "lat"), 1)
# Addresses that a link on another page may open.
_PAGES = ("/", "/report.html")


def refusal(path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> str | None:
    """Return the reason to refuse a request, or None.

    ``query``: names and values in the given order. ``headers``: headers by lower-case name.
    """
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and path not in _PAGES:
        return "The request comes from a page of another site; this map answers only its own pages."
    if sum(len(name) + len(value) for name, value in query) > MAX_QUERY:
        return f"The query has more than {MAX_QUERY} characters."
    for name, times in Counter(name for name, _ in query).items():
        if times > _TIMES.get(name, 0):
            return (
                f"{name[:40]!r} is given {times} times; at most {_TIMES.get(name, 0)} are allowed."
            )
    bands = [value for name, value in query if name == "band"]
    if len(set(bands)) < len(bands):
        return "A band is given twice."
    for name, value in query:
        if name == "tilesize" and not (value.isdecimal() and 0 < int(value) <= MAX_SIDE):
            return f"A tile has 1 to {MAX_SIDE} pixels along its side."
    return None
