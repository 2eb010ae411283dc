"""Faults of a catalog, of one of its documents, or of an item: errors, and the warning of what is left out."""

import warnings

from s2sharp_core.errors import S2SharpError, printable

from .addresses import public


class BrokenError(Exception):
    """A document is missing or is not a JSON object; the rest of the catalog may be sound."""


def unreachable(href: str, why: str) -> S2SharpError:
    return S2SharpError(
        "catalog-unreachable",
        f"The catalog {public(href)} {why}.",
        "Check the address, the network and, if needed, the login. Then run again.",
    )


def faulty(kind: str, item: str, text: str, band: str = "") -> S2SharpError:
    """Return the error for an item whose statements cannot be true."""
    remedy = "Correct the item in a copy of the catalog, or leave it out."
    return S2SharpError(kind, text, remedy, item=item, band=band)


def leave_out(what: str, why: str) -> None:
    """Warn that a part of a catalog is left out."""
    warnings.warn(printable(f"{public(what)} {why}; it is left out."), stacklevel=3)
