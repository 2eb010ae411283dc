"""Assets that hold many bands: one asset for each array in the groups of an EOPF Zarr.

Archives of EOPF products name single arrays, groups of one resolution (``…/measurements/reflectance/r60m``), the
group of all resolutions (a GeoZarr pyramid), or the product. The paths below are those of EOPF's Product Structure
and Format Definition, so the address of an array follows from that of the asset.
"""

import re
from collections.abc import Iterator

import pystac

from s2sharp_core.bands import CIRRUS, MEASURED, native_gsd

from .addresses import parted

_REFLECTANCE = "measurements/reflectance"
SCL_PATH = "conditions/mask/l2a_classification/r20m/scl"
_GROUP = re.compile(r"(?P<root>.+\.zarr)(?:/(?P<path>.*?))?/?", re.IGNORECASE)
# Facts of an asset that do not hold for each of its bands; a group's grid is that of its finest level.
_OWN = ("bands", "eo:bands", "proj:transform", "proj:shape", "gsd", "raster:spatial_resolution")


def reflectance_path(band: str) -> str:
    """Return the path of a band's native array in the product."""
    return f"{_REFLECTANCE}/r{native_gsd(band)}m/{band.lower()}"


def arrays(asset: pystac.Asset) -> Iterator[tuple[str, pystac.Asset]]:
    """Yield each band of a group with an asset for its native array; nothing for an asset that is not a group.

    Nothing is requested over the network: a missing array shows when it is read.
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
    """Return whether the asset's list of bands has ``band``; without a list, it may hold the bands of both levels."""
    for key in ("bands", "eo:bands"):
        if isinstance(said := asset.extra_fields.get(key), list):
            return band.lower() in {str(b.get("name")).lower() for b in said if isinstance(b, dict)}
    return band not in (CIRRUS.name, "SCL")
