"""``s2sharp sources``: content of catalogs, shown before a run."""

import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from s2sharp_core import S2SharpError
from s2sharp_core.bands import native_gsd

from ..ui.terminal import console, problems, size_text, told
from .flags import flags_of, option, takes
from .sensor import queried
from .tables import facts_table

if TYPE_CHECKING:
    from ..planning.availability import Availability, Offering

_FLAGS = "catalog collection bbox area datetime bands sign s3_bucket requester_pays allow_private"
_DEFAULTS = {
    "collection": "the usual names: sentinel-2-c1-l2a, -l2a, -l1c",
    "bbox": "all of a static catalog or product",
    "datetime": "all of a static catalog or product",
}
_CATALOGS = typer.Argument(
    None, metavar="CATALOG...", help="Catalogs, in the forms of --catalog.", show_default=False
)
_ITEMS = typer.Option(5, min=1, max=1000, help="Number of items of each collection to read.")
_JSON = typer.Option(False, "--json", help="Print JSON.")

_READS = {
    "COG": "in pieces, as the area needs them",
    "Zarr": "in whole chunks",
    "JPEG 2000": "in large blocks, up to whole files",
}
_WAYS = {
    "none": "no key",
    "item": "signed addresses: the item is requested again before they expire",
    "planetary-computer": "tokens, fetched and renewed by the workers",
    "cdse": "S3 keys of the Copernicus Data Space (CDSE_S3_ACCESS_KEY, CDSE_S3_SECRET_KEY)",
    "own-keys": "your AWS keys",
    "own-keys-and-purse": "your AWS keys, and you pay for requests",
}
_UNSIGNED = "if a bucket refuses unsigned requests: --s3-bucket NAME, and --requester-pays for requester-pays buckets"


def sources(*, catalogs: list[str] | None, items: int, as_json: bool, **given: Any) -> None:
    """Show the content of catalogs before a run: levels, bands, radiometry, the cost of reading, and refused items.

    It reads a few items of each collection, no pixels, and writes nothing. `plan` shows what a run would do with all items.

    Example: `s2sharp sources https://earth-search.aws.element84.com/v1 --bbox 16.3 48.6 16.5 48.8 --datetime 2024-06`
    """
    with told("Stopped."):
        settings = {k: v for k, v in given.items() if v is not None}
        named = list(dict.fromkeys([*(catalogs or ()), *filter(None, [settings.get("catalog")])]))
        found: list[Availability] = []
        errors: list[S2SharpError] = []
        for catalog in named or [None]:
            asked = settings if catalog is None else {**settings, "catalog": catalog}
            try:
                found += _looked_at(asked, items)
            except S2SharpError as error:
                errors.append(error)
        if as_json:
            console.print_json(json.dumps([_facts(outlook) for outlook in found]))
        else:
            for outlook in found:
                _show(outlook)
        for other in errors[1:]:
            problems.print(f"[red]{other.kind}:[/] {escape(str(other))}")
        if errors:
            raise errors[0]
        if not any(outlook.items for outlook in found):
            raise S2SharpError(
                "nothing-found",
                "No catalog has an item there at that time.",
                "Widen --bbox or --datetime. A box is W S E N: longitude first.",
            )


_own = [option("items", _ITEMS, int), option("as_json", _JSON, bool)]
takes(
    sources, [option("catalogs", _CATALOGS, list[str] | None), *flags_of(_FLAGS, _DEFAULTS), *_own]
)


def _looked_at(settings: dict[str, Any], items: int) -> "list[Availability]":
    from ..planning.availability import survey

    config = queried(settings)
    with console.status(f"Looking at {escape(config.catalog)} …"):
        return list(survey(config, items))


def _facts(outlook: "Availability") -> dict[str, Any]:
    bands = {
        band: [{**kind._asdict(), "items": count} for kind, count in kinds.most_common()]
        for band, kinds in outlook.bands.items()
    }
    return {**asdict(replace(outlook, bands={})), "bands": bands}


def _show(outlook: "Availability") -> None:
    title = f"{outlook.collection} of {outlook.catalog}"
    table = facts_table(escape(title))

    def row(name: str, text: str) -> None:
        if text:
            table.add_row(name, escape(text))

    row("Items", f"{len(outlook.items)} read" if outlook.items else "none there at that time")
    row("Archive", ", ".join((*outlook.names, *outlook.places)))
    row("Level", ", ".join(outlook.levels))
    for gsd, group in (
        groupby(sorted(outlook.bands, key=native_gsd), native_gsd) if outlook.items else ()
    ):
        bands = [f"{band}{_of(outlook, band)}" for band in group]
        row(f"{gsd} m", " ".join(bands))
    kinds = sum(outlook.bands.values(), Counter["Offering"]())
    row("Reflectance", _each(f"DN × {k.scale:g} {k.offset:+g} ({k.told})" for k in kinds))
    row("Files", _each(f"{k.format}, read {_READS.get(k.format, 'whole')}" for k in kinds))
    if kinds:
        what = "of files" if outlook.told else "of pixels, unpacked"
        row("A tile", f"{size_text(outlook.size)} {what}, all bands")
    row("Needs", _each(_WAYS.get(k.way, k.way) for k in kinds))
    if any(k.way == "none" for k in kinds) and any(p.startswith("s3:") for p in outlook.places):
        row("", _UNSIGNED)
    console.print(table)
    if outlook.pays and not any(kind.way == "own-keys-and-purse" for kind in kinds):
        problems.print("[yellow]requester pays:[/] add --requester-pays, and set your AWS keys.")
    for text, count in Counter(_why(r.item, r.message) for r in outlook.refused).items():
        of = f" ({count} items)" if count > 1 else ""
        problems.print(f"[yellow]would be refused:[/] {escape(text)}{of}")


def _of(outlook: "Availability", band: str) -> str:
    """Return the number of items with a band, if some lack it."""
    there = outlook.bands[band].total()
    if there == len(outlook.items):
        return ""
    return f" (in {there} of {len(outlook.items)})" if there else " (in none)"


def _each(texts: Any) -> str:
    return "\n".join(dict.fromkeys(texts))


def _why(item: str, message: str) -> str:
    """Return a refusal without its item's name, so that many of one kind are shown once."""
    return message.replace(f"Item {item}", "An item").replace(f"item {item}", "an item")
