"""Web hosts: detection of addresses inside a private network, which an outside catalog must not use.

These are loopback, link-local, private and shared addresses, and those where clouds serve a machine its own keys. A
server there trusts its clients, and the client is this machine.
"""

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

# A public address that gives settings and keys to machines in Azure.
_AZURE = ip_address("168.63.129.16")
_NAT64 = ip_network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}


def is_private(address: str) -> bool:
    """Return whether an IP address, or one that it embeds, lies outside the public internet."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and (held := _held(ip)):
        ip = held
    return ip.is_multicast or not ip.is_global or ip == _AZURE


def _held(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address embeds."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


@lru_cache(maxsize=4096)
def leads_to_private(host: str) -> bool:
    """Return whether a name or IP address leads inside, in any spelling that the system accepts. This asks the DNS.

    An unknown name does not: a request to it fails anyway.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(is_private(str(address[0])) for *_, address in found)


def host_of(url: str) -> str:
    """Return the host of an http(s) address, or an empty text for other addresses."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    return host if parts.scheme.lower() in _PORTS else ""


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an http(s) address. https at its usual port counts as http at its usual port."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port or _PORTS.get(scheme, 0)
    usual = port == _PORTS.get(scheme)
    return ("" if usual else scheme), (parts.hostname or ""), (0 if usual else port)
