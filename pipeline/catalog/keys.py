"""Keys for GDAL: exactly those with which an address may be read."""

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from rasterio.session import Session

from s2sharp_core import S2SharpError

from .signing import cdse_keys
from .sources import Source
from .ways import OWN, PAID

__all__ = ["session"]


class _Keys(Session):  # type: ignore[misc]  # rasterio has no types
    """Keys and endpoint of one S3 store for GDAL, independent of AWS_* in the environment."""

    def __init__(self, endpoint: str, key: str, secret: str) -> None:
        url = urlsplit(endpoint)
        self.credentials = {
            "AWS_S3_ENDPOINT": url.netloc,
            "AWS_HTTPS": "NO" if url.scheme == "http" else "YES",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_REGION": "default",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": "",
            "AWS_NO_SIGN_REQUEST": "NO",
        }

    def get_credential_options(self) -> dict[str, str]:
        return self.credentials


class _Chain(Session):  # type: ignore[misc]  # rasterio has no types
    """The operator's own keys, from any source of AWS's tools: environment, profile, role, SSO, web identity or
    machine.

    If these tools are not installed, GDAL searches itself; it knows most of these sources.
    """

    def __init__(self, pays: bool) -> None:
        self.credentials = {"AWS_NO_SIGN_REQUEST": "NO"}
        # Set for these requests alone; the environment may set it for all.
        self.credentials["AWS_REQUEST_PAYER"] = "requester" if pays else ""
        if (chain := _chain()) is None:
            return
        keys = chain.get_credentials()
        if keys is None:
            self.credentials["AWS_NO_SIGN_REQUEST"] = "YES"
            return
        found = keys.get_frozen_credentials()
        self.credentials |= {
            "AWS_ACCESS_KEY_ID": found.access_key,
            "AWS_SECRET_ACCESS_KEY": found.secret_key,
            "AWS_SESSION_TOKEN": found.token or "",
        }
        region = chain.get_config_variable("region")
        if region and not os.environ.get("AWS_REGION"):
            self.credentials["AWS_REGION"] = region

    def get_credential_options(self) -> dict[str, str]:
        return self.credentials


@cache
def _chain() -> Any:
    """Return AWS's chain of key sources, which also renews keys, or None if botocore is not installed."""
    try:
        import botocore.session
    except ImportError:
        return None
    return botocore.session.Session()


class _Nobody(Session):  # type: ignore[misc]
    """No keys, whatever the environment has."""

    def get_credential_options(self) -> dict[str, str]:
        return {"AWS_NO_SIGN_REQUEST": "YES", "AWS_REQUEST_PAYER": ""}


def session(source: Source) -> Session:
    """Return the session for GDAL to read a file with: exactly the keys with which its address may be read.

    Raises
    ------
    S2SharpError
        ``keys-missing`` if the keys of CDSE or of the operator are not available.
    """
    if source.sign == "cdse":
        return _Keys(*cdse_keys(source.href))
    if source.sign not in (OWN, PAID):
        return _Nobody()
    try:
        return _Chain(source.sign == PAID)
    except Exception as error:  # errors of botocore and of the services that it asks
        raise S2SharpError(
            "keys-missing",
            f"AWS keys for {source.href} are not available ({type(error).__name__}).",
            "Log in again (`aws sso login`), or correct AWS_PROFILE and its profile, where workers run.",
            band=source.band,
        ) from None
