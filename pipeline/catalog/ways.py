"""Ways in which a file's address is read: as it is, signed, or with keys. Who signs it, and how, is in :mod:`.signing`."""

import os
import re
from dataclasses import replace

from .access import Access, Sign
from .addresses import bucket_of
from .sources import Source

__all__ = ["EODATA", "OWN", "PAID", "host_of_url", "is_blob", "keyed", "renewable", "tokens"]

OWN, PAID = "own-keys", "own-keys-and-purse"
"""How an S3 address is read with the operator's keys, and at their cost. No item can ask for that: it is no word of
:data:`~s2sharp.catalog.sources.WAYS`, and follows from :class:`~s2sharp.catalog.access.Access` alone."""

TOKENS = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
"""Planetary Computer's token server, unless ``PC_SDK_SAS_URL`` names another, as for its own SDK."""

ACCOUNT = "sentinel2l2a01.blob.core.windows.net"
"""Where Planetary Computer keeps Sentinel-2."""

EODATA = "s3://eodata/"
"""Its bucket, by which archives' addresses show that they mean this store and not Amazon's."""


def renewable(source: Source, item: str | None, sign: Sign = "auto") -> Source:
    """``source`` with the way in which its address is to be signed.

    Parameters
    ----------
    item
        Address of the item that the file belongs to.
    sign
        ``"auto"``: by a token what lies in Planetary Computer's storage, by CDSE's keys what lies in
        ``s3://eodata``, by its item what the catalogue had signed. Else the way to be taken for all remote files.
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


def keyed(source: Source, item: str | None, catalog: str, access: Access) -> Source:
    """``source`` with the way in which it is read, as of :func:`renewable` and the buckets of ``access``."""
    found = renewable(source, item, access.sign)
    bucket = bucket_of(source.href)
    if found.sign != "none" or bucket is None or access.sign == "none":
        return found
    everywhere = access.pays and not access.buckets
    if bucket in access.buckets or bucket == bucket_of(catalog) or everywhere:
        return replace(found, sign=PAID if access.pays else OWN)
    return found


def tokens() -> str:
    return os.environ.get("PC_SDK_SAS_URL", TOKENS).rstrip("/")


def is_blob(host: str, server: str) -> bool:
    """Return whether a host is Azure's storage, or a token ``server`` that stands in for it."""
    return host.endswith(".blob.core.windows.net") or host == server


def host_of_url(url: str) -> str:
    place = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return place.rpartition("@")[2].lower()
