"""Errors of a catalog, or of one of its documents."""

from s2sharp_core.errors import S2SharpError

from .addresses import public


class BrokenError(Exception):
    """A document is missing or is not a JSON object; the rest of the catalog may be sound."""


def unreachable(href: str, why: str) -> S2SharpError:
    return S2SharpError(
        "catalog-unreachable",
        f"The catalog {public(href)} {why}.",
        "Check the address, the network and, if needed, the login. Then run again.",
    )
