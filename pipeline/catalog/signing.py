"""Signed addresses of archives: made when a file is read, and never stored.

Plans, and catalogs that s2sharp writes, hold the bare address and the way to sign it. Planetary Computer issues
tokens for a container of its storage. Other archives sign when they serve an item, so the item is requested again.
The Copernicus Data Space (CDSE) uses its own S3 keys, which are read from the environment of each process.
"""

import math
import os
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pystac
from upath import UPath

from s2sharp_core import S2SharpError

from ..storage.location import Location, on_this_machine, place
from .access import EODATA, OWN, PAID, host_of_url, is_blob, tokens
from .addresses import bucket_of, check_href, public, unsigned
from .faults import BrokenError
from .http import read_json, stac_io
from .sources import Source, address

CDSE = "https://eodata.dataspace.copernicus.eu"
"""The object store of the Copernicus Data Space, unless ``CDSE_S3_ENDPOINT`` names another."""

EARLY = 300.0
"""Seconds before its end at which a signature is renewed, or a quarter of its life, if that is shorter."""

UNSAID = 600.0
"""Seconds for which a signature without a stated life is used."""

_MOST = 256


@dataclass(frozen=True)
class _Fresh:
    """Signatures fetched for a container (its token) or an item (bare address → signed), valid until ``end``."""

    found: dict[str, str]
    end: float


class _FailedError(Exception):
    """An answer of a signing server without a signature."""


_known: dict[str, _Fresh] = {}
# One thread fetches at a time; the others wait and use its result.
_lock = threading.Lock()


def signed(source: Source, item: str | None, *, anew: bool = False) -> str:
    """Return the address at which a file can be read now; ``anew`` if the last one was refused.

    Errors: ``signing-failed`` if a server gives no signature, which may be temporary; ``asset-moved``;
    ``sign-unsuitable``.
    """
    # The id of an item is the last part of its address, in every API and nearly every catalog.
    blame = {
        "item": public(item or "").rpartition("/")[2].removesuffix(".json"),
        "band": source.band,
    }
    if source.sign == "planetary-computer":
        key = "/".join((tokens(), *_container(source.href)))
    elif source.sign == "item" and item is not None:
        key = item
    else:
        return source.href
    with _lock:
        fresh = _known.get(key)
        if fresh is None or anew or time.time() > fresh.end:
            _known.pop(key, None)
            # The oldest entry is dropped, so that long-lived workers keep only a few.
            while len(_known) >= _MOST:
                _known.pop(next(iter(_known)))
            try:
                fresh = _token(key) if source.sign == "planetary-computer" else _links(key)
            except _FailedError as error:
                raise S2SharpError(
                    "signing-failed",
                    f"No signed address for band {source.band}, {source.href}: "
                    f"{public(key)} {error}.",
                    "Check the network and, if needed, the key. Then run again: only failed work is redone.",
                    **blame,
                ) from None
            _known[key] = fresh
    if source.sign == "planetary-computer":
        return f"{source.href}?{fresh.found['token']}"
    if source.href not in fresh.found:
        raise S2SharpError(
            "asset-moved",
            f"Item {public(key)} no longer names {source.href}.",
            "Search again, with another --out: the archive has moved the file.",
            **blame,
        )
    return fresh.found[source.href]


def archive_place(url: str, sign: str = OWN) -> Location:
    """Return a folder of an archive, as :func:`~s2sharp.storage.location.place` does, with CDSE's keys for its store.

    ``sign``: as in a :class:`~s2sharp.catalog.sources.Source`. By default, an S3 bucket belongs to the operator, who
    named it. Errors: as in :func:`~s2sharp.storage.location.place`; ``keys-missing``.
    """
    folder = place(url)
    if f"{url}/".startswith(EODATA):
        endpoint, key, secret = cdse_keys(url)
        client = {"endpoint_url": endpoint, "region_name": "default"}
        return UPath(str(folder), key=key, secret=secret, client_kwargs=client)
    if bucket_of(url) is None or on_this_machine(folder):
        return folder
    if sign == PAID:
        return UPath(str(folder), **{**folder.storage_options, "requester_pays": True})
    if sign != OWN:
        return UPath(str(folder), **{**folder.storage_options, "anon": True})
    return folder


def cdse_keys(href: str) -> tuple[str, str, str]:
    """Return (endpoint, key, secret)."""
    endpoint = os.environ.get("CDSE_S3_ENDPOINT", CDSE)
    for names in (
        ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ):
        key, secret = (os.environ.get(name) for name in names)
        if key and secret:
            return endpoint, key, secret
    raise S2SharpError(
        "keys-missing",
        f"{href} lies in the Copernicus Data Space, which needs S3 keys, and none are set.",
        "Create keys (free, https://eodata-s3keysmanager.dataspace.copernicus.eu) and set CDSE_S3_ACCESS_KEY and "
        "CDSE_S3_SECRET_KEY where workers run.",
    )


def _token(url: str) -> _Fresh:
    """Return a container's token, from ``SERVER/ACCOUNT/CONTAINER``."""
    key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
    said = _fetched(url, {"Ocp-Apim-Subscription-Key": key} if key else {})
    token, until = said.get("token"), said.get("msft:expiry")
    if not isinstance(token, str) or not token:
        raise _FailedError("gave no token")
    return _Fresh({"token": token.removeprefix("?")}, _end(_when(until)))


def _links(item: str) -> _Fresh:
    """Return the addresses that an item names now."""
    document = _fetched(item, {})
    try:
        read = pystac.Item.from_dict(document, href=item, preserve_dict=False, migrate=False)
        hrefs = [address(asset) for asset in read.assets.values()]
    except Exception as err:  # pystac does not validate its input
        raise _FailedError(f"is no longer a STAC item ({type(err).__name__})") from None
    found = {unsigned(href): href for href in hrefs if _may_open(href, item)}
    return _Fresh(found, _end(min(map(expiry, found.values()), default=math.inf)))


def _fetched(url: str, headers: dict[str, str]) -> dict[str, object]:
    try:
        return read_json(stac_io(url, headers), url)
    except BrokenError as err:
        raise _FailedError(str(err)) from None
    except S2SharpError as err:
        raise _FailedError(err.message.rpartition(public(url))[2].strip(" .")) from None


def _may_open(href: str, item: str) -> bool:
    try:
        check_href(href, item)
    except S2SharpError:
        return False
    return True


def expiry(href: str) -> float:
    """Return the end of a signed address in seconds since 1970, or infinity if it is not stated.

    Azure's ``se``; ``Expires`` of CloudFront and older S3; the date and seconds of presigned S3 and Google.
    """
    said = {name.lower(): value for name, value in parse_qsl(urlsplit(href).query)}
    ends = [_when(said.get("se")), _when(said.get("expires"))]
    for cloud in ("amz", "goog"):
        begin = _when(said.get(f"x-{cloud}-date"))
        lasts = _when(said.get(f"x-{cloud}-expires"))
        if math.isfinite(lasts):
            ends.append(begin + lasts)
    return min(ends)


def _when(text: object) -> float:
    """Return the seconds since 1970 of a time or a number of seconds, or infinity."""
    if not isinstance(text, str):
        return math.inf
    if re.fullmatch(r"\d{1,12}", text):
        return float(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return math.inf
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _end(until: float) -> float:
    """Return the time to renew a signature that lasts until ``until``."""
    now = time.time()
    if not math.isfinite(until):
        return now + UNSAID
    return until - min(EARLY, (until - now) / 4)


def _container(href: str) -> tuple[str, str]:
    """Return (account, container). In Azure the account is the host's name, elsewhere the first folder."""
    host, folders = host_of_url(href), urlsplit(href).path.split("/")[1:]
    if host.endswith(".blob.core.windows.net"):
        folders = [host.partition(".")[0], *folders]
    if len(folders) < 3 or not is_blob(host, host_of_url(tokens())):
        raise S2SharpError(
            "sign-unsuitable",
            f"{href} is not in a container of Azure's storage.",
            "Sign it in another way: --sign item, or none.",
        )
    return folders[0], folders[1]
