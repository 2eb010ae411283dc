"""Assets that hold many bands: groups of an EOPF Zarr → an asset for each array.

Archives of EOPF's products name single arrays, groups of one resolution (``…/measurements/reflectance/r60m``), the
group of all resolutions (a GeoZarr pyramid), or the product. The paths below are those of EOPF's Product Structure
and Format Definition, so that an address follows from the asset's.
"""

import re
from collections.abc import Iterator

import pystac

from s2sharp_core.bands import CIRRUS, MEASURED, native_gsd

from .addresses import parted

__all__ = ["SCL_PATH", "arrays", "reflectance_path"]

_REFLECTANCE = "measurements/reflectance"
SCL_PATH = "conditions/mask/l2a_classification/r20m/scl"
_GROUP = re.compile(r"(?P<root>.+\.zarr)(?:/(?P<path>.*?))?/?", re.IGNORECASE)
# Facts that an asset says of itself, and not of one of its bands; a group's grid is that of its finest level.
_OWN = ("bands", "eo:bands", "proj:transform", "proj:shape", "gsd", "raster:spatial_resolution")


def reflectance_path(band: str) -> str:
    """The array of a band at its native resolution, below the product."""
    return f"{_REFLECTANCE}/r{native_gsd(band)}m/{band.lower()}"


def arrays(asset: pystac.Asset) -> Iterator[tuple[str, pystac.Asset]]:
    """Band → an asset for its array at native resolution, of each that a group holds; none of an asset that is no group.

    Nothing is asked over the network: that an array is there is seen when it is read.
    """
    address, query = parted(asset.href)
    found = _GROUP.fullmatch(address) if ".zarr" in address.lower() else None
    if found is None:
        return
    root, path = found["root"], found["path"] or ""
    for band in (*MEASURED, "SCL"):
        whole = SCL_PATH if band == "SCL" else reflectance_path(band)
        above = ("", _REFLECTANCE, whole.rpartition("/")[0])
        if path not in above or not _lists(asset, band):
            continue
        facts = {name: value for name, value in asset.extra_fields.items() if name not in _OWN}
        facts |= {"gsd": native_gsd(band), "bands": [{"name": band}]}
        one = pystac.Asset(
            f"{root}/{whole}{query}", media_type=asset.media_type, extra_fields=facts
        )
        one.owner = asset.owner
        yield band, one


def _lists(asset: pystac.Asset, band: str) -> bool:
    """Return whether the asset's list of bands has ``band``. Without a list, it is taken to hold those of both levels."""
    for key in ("bands", "eo:bands"):
        if isinstance(said := asset.extra_fields.get(key), list):
            return band.lower() in {str(b.get("name")).lower() for b in said if isinstance(b, dict)}
    return band not in (CIRRUS.name, "SCL")
