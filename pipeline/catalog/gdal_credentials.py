"""Keys for GDAL: exactly those with which an address may be read."""

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from rasterio.session import Session

from s2sharp_core import S2SharpError

from .access import OWN, PAID
from .signing import cdse_keys
from .sources import Source


class _Keys(Session):  # type: ignore[misc]  # rasterio has no types
    """Keys for GDAL, independent of AWS_* in the environment."""

    def __init__(self, options: dict[str, str]) -> None:
        self.credentials = options

    def get_credential_options(self) -> dict[str, str]:
        return self.credentials


_NOBODY = {"AWS_NO_SIGN_REQUEST": "YES", "AWS_REQUEST_PAYER": ""}
"""No keys, whatever the environment has."""


def _of_store(endpoint: str, key: str, secret: str) -> dict[str, str]:
    """Return keys and endpoint of one S3 store."""
    url = urlsplit(endpoint)
    return {
        "AWS_S3_ENDPOINT": url.netloc,
        "AWS_HTTPS": "NO" if url.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_REGION": "default",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": "",
        "AWS_NO_SIGN_REQUEST": "NO",
    }


def _own(pays: bool) -> dict[str, str]:
    """Return the operator's own keys, from any source of AWS's tools: environment, profile, role, SSO, web identity or
    machine.

    If these tools are not installed, GDAL searches itself; it knows most of these sources.
    """
    # Set for these requests alone; the environment may set it for all.
    options = {"AWS_NO_SIGN_REQUEST": "NO", "AWS_REQUEST_PAYER": "requester" if pays else ""}
    if (chain := _chain()) is None:
        return options
    keys = chain.get_credentials()
    if keys is None:
        return options | {"AWS_NO_SIGN_REQUEST": "YES"}
    found = keys.get_frozen_credentials()
    options |= {
        "AWS_ACCESS_KEY_ID": found.access_key,
        "AWS_SECRET_ACCESS_KEY": found.secret_key,
        "AWS_SESSION_TOKEN": found.token or "",
    }
    region = chain.get_config_variable("region")
    if region and not os.environ.get("AWS_REGION"):
        options["AWS_REGION"] = region
    return options


@cache
def _chain() -> Any:
    """Return AWS's chain of key sources, which also renews keys, or None if botocore is not installed."""
    try:
        import botocore.session
    except ImportError:
        return None
    return botocore.session.Session()


def session(source: Source) -> Session:
    """Return the session for GDAL to read a file with: exactly the keys with which its address may be read.

    Error: ``keys-missing`` if the keys of CDSE or of the operator are not available.
    """
    if source.sign == "cdse":
        return _Keys(_of_store(*cdse_keys(source.href)))
    if source.sign not in (OWN, PAID):
        return _Keys(_NOBODY)
    try:
        return _Keys(_own(source.sign == PAID))
    except Exception as error:  # errors of botocore and of the services that it asks
        raise S2SharpError(
            "keys-missing",
            f"AWS keys for {source.href} are not available ({type(error).__name__}).",
            "Log in again (`aws sso login`), or correct AWS_PROFILE and its profile, where workers run.",
            band=source.band,
        ) from None
