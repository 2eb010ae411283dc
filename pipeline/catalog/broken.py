"""Errors of a catalogue, or of one document of it."""

from s2sharp_core.errors import S2SharpError

from .addresses import public

__all__ = ["BrokenError", "unreachable"]


class BrokenError(Exception):
    """One document is missing or says no JSON object; the rest of the catalogue may be sound."""


def unreachable(href: str, why: str) -> S2SharpError:
    return S2SharpError(
        "catalog-unreachable",
        f"The catalogue {public(href)} {why}.",
        "Check the address, the network and, where one is needed, the login; then run again.",
    )
