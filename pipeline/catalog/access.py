"""Access: what an operator lets a catalogue have opened, and with what keys."""

from dataclasses import dataclass
from typing import Literal

from .addresses import check_href

__all__ = ["FREE", "Access", "Sign"]

Sign = Literal["auto", "none", "planetary-computer", "item", "cdse"]


@dataclass(frozen=True)
class Access:
    """Permission to open what a catalogue names, and the keys for it.

    Parameters
    ----------
    sign
        How addresses are signed when they are read, as of :func:`~s2sharp.catalog.signing.renewable`.
    buckets
        S3 buckets that are read with the operator's own keys; all others are read unsigned, but for the catalogue's own.
    pays
        Requests with the operator's keys are paid for by them. Without ``buckets`` this is so of all buckets that a
        catalogue names.
    private
        Whether a catalogue may name hosts inside a private network though it does not lie there.
    """

    sign: Sign = "auto"
    buckets: frozenset[str] = frozenset()
    pays: bool = False
    private: bool = False

    def check(self, href: str, catalog: str) -> None:
        """Raise ``href-refused`` where ``catalog`` may not have ``href`` opened."""
        check_href(href, catalog, private=self.private)


FREE = Access()
"""Without a word of the operator's: no keys of theirs, and nothing inside."""
