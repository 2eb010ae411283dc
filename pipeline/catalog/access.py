"""Access: the addresses that an operator lets a catalog open, and the keys to use."""

from dataclasses import dataclass
from typing import Literal

from .addresses import check_href

Sign = Literal["auto", "none", "planetary-computer", "item", "cdse"]


@dataclass(frozen=True)
class Access:
    """Permission to open the addresses in a catalog, and the keys for it.

    Parameters
    ----------
    sign
        Way to sign addresses when they are read; see :func:`~s2sharp.catalog.signing.renewable`.
    buckets
        S3 buckets that are read with the operator's own keys. Others are read unsigned, except those of the catalog
        itself.
    pays
        Whether the operator pays for requests with their keys. Without ``buckets``, this holds for all buckets that a
        catalog names.
    private
        Whether a catalog outside a private network may name hosts inside it.
    """

    sign: Sign = "auto"
    buckets: frozenset[str] = frozenset()
    pays: bool = False
    private: bool = False

    def check(self, href: str, catalog: str) -> None:
        """Raise ``href-refused`` if ``catalog`` may not name ``href``."""
        check_href(href, catalog, private=self.private)


FREE = Access()
"""Access without the operator's permission: no keys, and no host in a private network."""
