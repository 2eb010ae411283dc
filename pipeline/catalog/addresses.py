"""Addresses of files in items: acceptance, parts that may be shown, and local paths."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from s2sharp_core.errors import S2SharpError

from .private_hosts import host_of, leads_to_private

# Parameters of SAS tokens, presigned S3, Google and CloudFront addresses, and other parameters named as keys.
_SECRET = re.compile(
    r"sig|token|key|secret|pass|pw|auth|cred|policy|expir|amz-|goog-|user|session|^(s[a-z]{1,4}|code|jwt)$",
    re.IGNORECASE,
)
# Hosts and buckets in plain spelling. Programs read other spellings in different ways.
_REMOTE = re.compile(
    r"(?:https?://(?:[^/?#\\\s\[\]@]*@)?[A-Z0-9._-]+(?::\d*)?|s3://(?P<bucket>[A-Z0-9._-]+))(?:[/?#].*)?(?<!\s)",
    re.IGNORECASE | re.ASCII,
)
_VERSIONS = frozenset({"versionid", "generation"})


def safe_name(text: str) -> str:
    """Return ``text`` as the name of one file: no separators, no "..", no control characters, ≤ 120 long.

    A changed name ends in "~" and a hash. No unchanged name ends like this, so different texts never share a file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:100].lstrip(".-")
    if name == text and name:
        return name
    return f"{name}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def is_local(catalog: str) -> bool:
    """Return whether ``catalog`` is a path (or file:// URL) of this machine."""
    return _scheme(catalog) in ("", "file")


def is_product(address: str) -> bool:
    """Return whether the name of a path or URL is that of one product: a SAFE folder, its zip or an EOPF Zarr."""
    return split_address(address)[0].rstrip("/").lower().endswith((".safe", ".zip", ".zarr"))


def bucket_of(href: str) -> str | None:
    """Return the bucket of an s3:// address, or None for other addresses."""
    found = _REMOTE.fullmatch(href)
    return found["bucket"] if found else None


def may_use_private_hosts(catalog: str, private: bool = False) -> bool:
    """Return whether ``catalog`` may name addresses inside a private network.

    It may if it lies there itself or on this machine, or if the operator allows it (``private``).
    """
    return private or is_local(catalog) or leads_to_private(host_of(catalog))


def check_href(href: str, catalog: str, *, private: bool = False) -> str:
    """Return ``href`` if ``catalog`` may make us open it, or raise ``href-refused``.

    http(s) and s3 may come from anywhere. Hosts inside a private network need a catalog that :func:`may_use_private_hosts`.
    Absolute paths and file:// (returned as a path) may come only from a catalog on this machine. GDAL's /vsi names
    and all other schemes are refused.
    """
    if href.isprintable() and _REMOTE.fullmatch(href):
        host = host_of(href)
        if not host or may_use_private_hosts(catalog, private) or not leads_to_private(host):
            return href
        raise S2SharpError(
            "href-refused",
            f"{public(catalog)} points to {public(href)!r}, which lies inside a private network. A public "
            "catalog must not name such an address.",
            "If you trust the catalog, add --allow-private.",
        )
    scheme = _scheme(href)
    if href.isprintable() and href == href.strip():
        path = on_disk(href)
        local = scheme in ("", "file") and is_local(catalog) and Path(path).is_absolute()
        if local and path.isprintable() and not path.lower().lstrip("/").startswith("vsi"):
            return path
    raise S2SharpError(
        "href-refused",
        f"{public(catalog)} points to {public(href)!r}, which is not an http(s), s3 or local address "
        "that it may name.",
        "Leave the item out, or copy the catalog here and correct the address.",
    )


def absolute(href: str, base: str | None) -> str:
    """Return the target of ``href`` in a document at ``base``; for a local one, a path with any characters."""
    if base is None or "://" in base or _scheme(href) or _scheme(base):
        from pystac.utils import make_absolute_href  # it loads a client of the web

        return str(make_absolute_href(href, base))
    path = os.path.normpath(Path(base).parent / href)
    # Some writers percent-encode characters that a URL cannot hold, and some do not. The files on the disk decide.
    meant = unquote(path)
    return meant if meant != path and not os.path.lexists(path) and os.path.lexists(meant) else path


def on_disk(href: str) -> str:
    """Return the path of a file:// address, and any other address unchanged."""
    return unquote(urlsplit(href).path) if href[:5].lower() == "file:" else href


def split_address(href: str) -> tuple[str, str]:
    """Split an address into the part before its query or fragment, and the rest. A local path has no rest."""
    if "://" not in href:
        return href, ""
    found = re.match(r"[^?#]*", href)
    end = found.end() if found else len(href)
    return href[:end], href[end:]


def public(url: str) -> str:
    """Return ``url`` without possible secrets: user, password, query, fragment. Paths are unchanged."""
    if "//" not in url:
        return url
    return re.split(r"[?#]", re.sub(r"//[^/?#]*@", "//", url))[0]


def unsigned(url: str) -> str:
    """Return ``url`` without user and password, and without its query if one of its parameters may be secret."""
    if "//" not in url or not ("?" in url or "@" in url):
        return url
    said = urlsplit(url).query if "?" in url else ""
    harmless = all(
        name.lower() in _VERSIONS or not (_SECRET.search(name) or len(value) >= 20)
        for name, value in parse_qsl(said, keep_blank_values=True)
    )
    return f"{public(url)}?{said}" if said and harmless else public(url)


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:  # such as a broken IPv6 host
        return "?"


def is_eopf(catalog: str) -> bool:
    """Return whether an address is that of an EOPF product, judged by its name."""
    return catalog.rstrip("/").lower().endswith(".zarr")


def is_array(href: str) -> bool:
    """Return whether an address is that of an array in a Zarr."""
    return ".zarr/" in split_address(href)[0].lower()
