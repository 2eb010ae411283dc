"""Access to the files that a catalog names: those that may be opened, and the way to read each: plain, signed, or with
keys. Signing itself is in :mod:`.signing`.
"""

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .addresses import bucket_of

if TYPE_CHECKING:  # a configuration needs no catalog
    from .sources import Source

Sign = Literal["auto", "none", "planetary-computer", "item", "cdse"]

OWN, PAID = "own-keys", "own-keys-and-purse"
"""Ways to read an S3 address with the operator's keys, and at their cost. No item can ask for them: they are not in
:data:`~s2sharp.catalog.sources.WAYS`, and follow from :class:`Access` alone."""

ACCOUNT = "sentinel2l2a01.blob.core.windows.net"
"""Host of Planetary Computer's Sentinel-2 archive."""

EODATA = "s3://eodata/"
"""CDSE's bucket; it shows that an address means this store and not Amazon's."""


@dataclass(frozen=True)
class Access:
    """Permission to open the addresses in a catalog, and the keys for it.

    ``sign``: way to sign addresses when they are read; see :func:`renewable`. ``buckets``: S3 buckets that are read with
    the operator's own keys; others are read unsigned, except those of the catalog itself. ``pays``: whether the operator
    pays for requests with their keys; without ``buckets``, this holds for all buckets that a catalog names.
    ``private``: whether a catalog outside a private network may name hosts inside it.
    """

    sign: Sign = "auto"
    buckets: frozenset[str] = frozenset()
    pays: bool = False
    private: bool = False


FREE = Access()
"""Access without the operator's permission: no keys, and no host in a private network."""


def renewable(source: "Source", item: str | None, sign: Sign = "auto") -> "Source":
    """Return ``source`` with the way to sign its address.

    ``item``: address of the item that the file belongs to. ``sign``: ``"auto"`` takes a token for Planetary Computer's
    storage, CDSE's keys for ``s3://eodata``, and the item for files that the catalog had signed; any other is the way for
    all remote files.
    """
    if "://" not in source.href:
        return replace(source, sign="none")
    way: str = sign
    if sign == "auto":
        server, host = host_of_url(tokens()), host_of_url(source.href)
        ours = host == ACCOUNT or (is_blob(host, server) and host_of_url(item or "") == server)
        way = "planetary-computer" if ours else source.sign
        way = "cdse" if source.href.startswith(EODATA) else way
    if way == "item" and item is None:
        way = "none"
    return source if way == source.sign else replace(source, sign=way)


def keyed(source: "Source", item: str | None, catalog: str, access: Access) -> "Source":
    """Return ``source`` with the way to read it, by :func:`renewable` and the buckets of ``access``."""
    found = renewable(source, item, access.sign)
    bucket = bucket_of(source.href)
    if found.sign != "none" or bucket is None or access.sign == "none":
        return found
    everywhere = access.pays and not access.buckets
    if bucket in access.buckets or bucket == bucket_of(catalog) or everywhere:
        return replace(found, sign=PAID if access.pays else OWN)
    return found


def tokens() -> str:
    """Return Planetary Computer's token server, unless the environment names another, as for its own SDK."""
    usual = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    return os.environ.get("PC_SDK_SAS_URL", usual).rstrip("/")


def is_blob(host: str, server: str) -> bool:
    """Return whether a host is Azure's storage, or a token ``server`` that replaces it."""
    return host.endswith(".blob.core.windows.net") or host == server


def host_of_url(url: str) -> str:
    place = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return place.rpartition("@")[2].lower()
