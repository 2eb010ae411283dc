"""Contradictions in an item: between its bands, and between its facts and the names of its files.

Two bands of one resolution lie on the same grid, and so do two days of one tile. If their addresses were exchanged,
no pixel reveals it, but names may.
"""

import re
from collections.abc import Iterable
from datetime import datetime

import pystac

from s2sharp_core.bands import CIRRUS
from s2sharp_core.errors import S2SharpError

from .addresses import public, split_address
from .faults import faulty
from .metadata import DAY, sensed, start_in, tile
from .reflectance import APPLIED
from .sources import Source

_BAND = re.compile(r"(?<![A-Z0-9])(B0[1-9]|B1[0-2]|B8A)(?![A-Z0-9])")
_TILE = r"\d\d[C-HJ-NP-X][A-HJ-NP-Z]{2}"
_FILE = re.compile(rf"(?<![A-Z0-9])T({_TILE})_(\d{{8}}T\d{{6}})_")
"""ESA's names of a band's file: T33UWP_20230628T100031_B05_20m.jp2."""

_PLACES = re.compile(rf"(?<![A-Z0-9])T?({_TILE})(?![A-Z0-9])")
_DAYS = re.compile(r"(?<![0-9])(20\d\d[01]\d[0-3]\d)(?![0-9])")

APART = 0.05
"""Largest difference in reflectance between the offsets of an item's bands: half of the offset that ESA subtracts."""


def check_alike(item: str, files: Iterable[Source]) -> None:
    """Refuse an item whose bands differ in scale or offset: ESA gives each band its own, but all nearly the same.

    An item may mix ESA's own files with files whose offset the archive has removed. Error:
    ``radiometry-implausible``.
    """
    own = [file for file in files if file.origin != APPLIED]
    for file in own:
        first = own[0]
        apart = abs(file.offset - first.offset) > APART and file.band != CIRRUS.name
        if apart or not 0.5 < file.scale / first.scale < 2:
            said = (f"{f.band} scale {f.scale:g} and offset {f.offset:g}" for f in (first, file))
            text = f"Item {item} has bands that differ: {', '.join(said)}. In a Sentinel-2 product, all bands have nearly the same."
            raise faulty("radiometry-implausible", item, text, file.band)


def check_names(item: pystac.Item, files: Iterable[Source]) -> None:
    """Refuse an item whose file names contradict it.

    A file may name another band, tile or day than the item or its other files, or be listed for two bands. Error:
    ``item-broken``.
    """
    others: dict[str, tuple[set[str], Source]] = {}
    taken: dict[str, Source] = {}
    for file in files:
        if (same := taken.setdefault(file.href, file)) is not file:
            raise _contradicts(item, file, f"the same address as {same.band}")
        path = split_address(file.href)[0].upper()
        name = path.rpartition("/")[2]
        named = set(_BAND.findall(name))
        if len(named) == 1 and file.band not in named:
            raise _contradicts(item, file, f"the name of {named.pop()}")
        if found := _FILE.search(name):
            _check_item(item, file, *found.groups())
        for what, told in (("tile", _PLACES), ("day", _DAYS)):
            if words := set(told.findall(path)):
                known, other = others.setdefault(what, (words, file))
                if known.isdisjoint(words):
                    why = f"the name of another {what} than {other.band}, {public(other.href)}"
                    raise _contradicts(item, file, why)


def names_day(href: str, when: datetime) -> bool:
    """Return whether an address names the day of ``when``, or the day before or after it."""
    days = _DAYS.findall(split_address(href)[0])
    return any(f"{when + turn * DAY:%Y%m%d}" in days for turn in (-1, 0, 1))


def _check_item(item: pystac.Item, file: Source, place: str, moment: str) -> None:
    """Compare ESA's name of a file with the tile and the time of its item."""
    own = tile(item)
    if re.fullmatch(_TILE, own) and own != place:
        raise _contradicts(item, file, f"the name of tile {place}, not {own}")
    when = start_in(moment)
    if when and abs(sensed(item) - when) > DAY:
        raise _contradicts(item, file, f"a name with {when:%Y-%m-%d}, not {sensed(item):%Y-%m-%d}")


def _contradicts(item: pystac.Item, file: Source, what: str) -> S2SharpError:
    text = f"Item {item.id}, band {file.band}: its file {public(file.href)} has {what}."
    return faulty("item-broken", item.id, text, file.band)
