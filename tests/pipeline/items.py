"""Items of each archive's real shape, cut down: the fields and the asset keys are the archives' own.

Taken from items of Earth Search v1, Planetary Computer and CDSE STAC v1; the numbers are made up
to fit the tile asked for.
"""

from copy import deepcopy
from typing import Any

GSD = dict.fromkeys(("B02", "B03", "B04", "B08"), 10)
GSD |= dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20)
GSD |= dict.fromkeys(("B01", "B09"), 60)

EARTH_SEARCH = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}
COMMON = EARTH_SEARCH | dict.fromkeys(("B05", "B06", "B07"), "rededge")
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
JP2 = "image/jp2"

Document = dict[str, Any]


def _item(name: str, bbox: tuple[float, float, float, float], properties: Document) -> Document:
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(bbox),
        "properties": properties,
        "links": [],
        "assets": {},
    }


def _grid(gsd: int) -> Document:
    return {
        "proj:shape": [109800 // gsd, 109800 // gsd],
        "proj:transform": [gsd, 0, 399960, 0, -gsd, 5400000],
    }


BBOX = (15.0, 47.75, 16.5, 48.75)


def earth_search(
    tile: str = "33UWP",
    when: str = "2023-06-28T10:05:41.632000Z",
    baseline: str = "05.09",
    applied: bool = True,
    bbox: tuple[float, float, float, float] = BBOX,
) -> Document:
    """``sentinel-2-l2a``: the offset is gone from the COGs, although ``raster:bands`` states it."""
    day = when[:10].replace("-", "")
    start = f"{day}T100031"
    item = _item(
        f"S2A_{tile}_{day}_0_L2A",
        bbox,
        {
            "datetime": when,
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": 4.025136,
            "proj:epsg": 32633,
            "mgrs:utm_zone": int(tile[:2]),
            "mgrs:latitude_band": tile[2],
            "mgrs:grid_square": tile[3:],
            "grid:code": f"MGRS-{tile}",
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": baseline,
            "s2:product_uri": f"S2A_MSIL2A_{start}_N{baseline.replace('.', '')}_R122_T{tile}_{day}T170000.SAFE",
            "s2:datatake_id": f"GS2A_{start}_041859_N{baseline}",
            "s2:granule_id": f"S2A_OPER_MSI_L2A_TL_2APS_{day}T170000_A041859_T{tile}_N{baseline}",
            "s2:sequence": "0",
            "earthsearch:boa_offset_applied": applied,
            "processing:software": {"sentinel2-to-stac": "0.1.0"},
        },
    )
    cogs = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/x"
    raw = "s3://sentinel-s2-l2a/tiles/x"
    offset = -0.1 if float(baseline) >= 4 else 0
    # ESA's own files come first here, so that order alone never picks the COG.
    for suffix, kind, base, end in (("-jp2", JP2, raw, "jp2"), ("", COG, cogs, "tif")):
        for band, key in EARTH_SEARCH.items():
            item["assets"][f"{key}{suffix}"] = {
                "href": f"{base}/{band}.{end}",
                "type": kind,
                "eo:bands": [{"name": key, "common_name": COMMON[band]}],
                "gsd": GSD[band],
                **_grid(GSD[band]),
                "raster:bands": [
                    {
                        "nodata": 0,
                        "data_type": "uint16",
                        "bits_per_sample": 15,
                        "spatial_resolution": GSD[band],
                        "scale": 0.0001,
                        "offset": offset,
                    }
                ],
                "roles": ["data", "reflectance"],
            }
        item["assets"][f"scl{suffix}"] = {
            "href": f"{base}/SCL.{end}",
            "type": kind,
            **_grid(20),
            "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}],
            "roles": ["data", "reflectance"],
        }
        item["assets"][f"visual{suffix}"] = {
            "href": f"{base}/TCI.{end}",
            "type": kind,
            "eo:bands": [{"name": n, "common_name": n} for n in ("red", "green", "blue")],
            **_grid(10),
            "roles": ["visual"],
        }
    item["assets"]["thumbnail"] = {
        "href": f"{cogs}/t.jpg",
        "type": "image/jpeg",
        "roles": ["thumbnail"],
    }
    return item


def earth_search_c1(tile: str = "33UWP", when: str = "2023-06-28T10:05:41.632000Z") -> Document:
    """``sentinel-2-c1-l2a``: raw DN, ESA's names in ``eo:bands``, no flag; copies beside."""
    item = earth_search(tile, when, "05.11")
    day = when[:10].replace("-", "")
    item["id"] = f"S2A_T{tile}_{day}T100026_L2A"
    del item["properties"]["earthsearch:boa_offset_applied"]
    for key in [key for key in item["assets"] if key.endswith("-jp2")]:
        del item["assets"][key]
    base = "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/sentinel-2-c1-l2a/x"
    for band, key in EARTH_SEARCH.items():
        asset = item["assets"][key]
        asset["href"] = f"{base}/{band}.tif"
        asset["eo:bands"][0]["name"] = band
        if GSD[band] < 60:
            # stactools gives a copy no gsd of its own.
            copy = deepcopy(asset) | _grid(60) | {"href": f"{base}/R60m/{band}.tif"}
            del copy["gsd"]
            copy["raster:bands"][0]["spatial_resolution"] = 60
            item["assets"] = {f"{key}_60m": copy} | item["assets"]
    item["assets"]["preview"] = {
        "href": f"{base}/PVI.tif",
        "type": COG,
        "eo:bands": [{"name": band} for band in ("B04", "B03", "B02")],
        "gsd": 320,
        "roles": ["overview"],
    }
    return item


def earth_search_l1c(tile: str = "33UWP", when: str = "2023-06-28T10:05:41.632000Z") -> Document:
    """``sentinel-2-l1c``: JP2 only, neither datatake nor product name, B10 among the bands."""
    item = earth_search(tile, when)
    day = when[:10].replace("-", "")
    item["id"] = f"S2A_{tile}_{day}_0_L1C"
    for key in ("datatake_id", "product_uri", "granule_id"):
        del item["properties"][f"s2:{key}"]
    item["properties"] |= {
        "s2:product_type": "S2MSI1C",
        "s2:tile_id": f"S2A_OPER_MSI_L1C_TL_2APS_{day}T133637_A041859_T{tile}_N05.09",
        "earthsearch:boa_offset_applied": False,
    }
    item["assets"] = {
        key.removesuffix("-jp2"): asset
        for key, asset in item["assets"].items()
        if key.endswith("-jp2") and key != "scl-jp2"
    }
    item["assets"]["cirrus"] = deepcopy(item["assets"]["coastal"])
    item["assets"]["cirrus"] |= {
        "href": "s3://sentinel-s2-l1c/tiles/x/B10.jp2",
        "eo:bands": [{"name": "cirrus", "common_name": "cirrus"}],
    }
    return item


def planetary_computer(
    tile: str = "33UWP", when: str = "2023-06-28T10:00:31.024000Z", baseline: str = "05.09"
) -> Document:
    """``sentinel-2-l2a``: raw DN and not a word of the offset; B05 and B8A share a common name."""
    start = when[:19].replace("-", "").replace(":", "")
    code = baseline.replace(".", "")
    product = f"S2B_MSIL2A_{start}_N{code}_R122_T{tile}_{start[:8]}T170000"
    item = _item(
        product.replace(f"_N{code}", ""),
        BBOX,
        {
            "datetime": when,
            "platform": "Sentinel-2B",
            "constellation": "Sentinel 2",
            "instruments": ["msi"],
            "proj:epsg": 32633,
            "s2:mgrs_tile": tile,
            "s2:granule_id": f"S2B_OPER_MSI_L2A_TL_ESRI_{start[:8]}T170001_A012081_T{tile}_N{baseline}",
            "eo:cloud_cover": 0.314306,
            "s2:datatake_id": f"GS2B_{start}_012081_N{baseline}",
            "s2:product_uri": f"{product}.SAFE",
            "s2:product_type": "S2MSI2A",
            "sat:orbit_state": "descending",
            "sat:relative_orbit": 122,
            "s2:processing_baseline": baseline,
        },
    )
    base = f"https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/{product}.SAFE"
    names = COMMON | {"B8A": "rededge"}
    for band, gsd in GSD.items():
        item["assets"][band] = {
            "href": f"{base}/R{gsd}m/T{tile}_{start}_{band}_{gsd}m.tif",
            "type": COG,
            "gsd": gsd,
            "eo:bands": [{"name": band, "common_name": names[band]}],
            **_grid(gsd),
            "roles": ["data"],
        }
    del item["assets"]["B09"]["eo:bands"][0]["common_name"]
    item["assets"]["SCL"] = {
        "href": f"{base}/R20m/T{tile}_{start}_SCL_20m.tif",
        "type": COG,
        "gsd": 20.0,
        **_grid(20),
        "roles": ["data"],
    }
    item["assets"]["visual"] = {
        "href": f"{base}/R10m/T{tile}_{start}_TCI_10m.tif",
        "type": COG,
        "gsd": 10,
        "eo:bands": [{"name": band} for band in ("B04", "B03", "B02")],
        "roles": ["data"],
    }
    return item


def cdse(
    tile: str = "33UWP", when: str = "2025-03-30T10:00:51.025Z", baseline: str = "05.11"
) -> Document:
    """``sentinel-2-l2a`` of STAC 1.1: ``bands``, ``raster:offset``, every band at every coarser GSD."""
    start = when[:19].replace("-", "").replace(":", "")
    name = f"S2C_MSIL2A_{start}_N{baseline.replace('.', '')}_R122_T{tile}_{start[:8]}T145914"
    item = _item(
        name,
        BBOX,
        {
            "gsd": 10,
            "datetime": when,
            "start_datetime": when,
            "end_datetime": when,
            "platform": "sentinel-2c",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "grid:code": f"MGRS-{tile}",
            "product:type": "S2MSI2A",
            "eo:cloud_cover": 86.041468,
            "eopf:datatake_id": f"GS2C_{start}_002952_N{baseline}",
            "processing:level": "L2",
            "processing:version": baseline,
            "sat:absolute_orbit": 2952,
            "sat:relative_orbit": 122,
        },
    )
    item["stac_version"] = "1.1.0"

    def put(band: str, size: int, about: Document) -> None:
        path = f"R{size}m/T{tile}_{start}_{band}_{size}m.jp2"
        item["assets"][f"{band}_{size}m"] = {
            "href": f"s3://eodata/Sentinel-2/MSI/L2A/{name}.SAFE/{path}",
            "alternate": {"https": {"href": f"https://zipper.dataspace.copernicus.eu/{path}"}},
            "type": JP2,
            "gsd": size,
            "proj:code": "EPSG:32633",
            **_grid(size),
            "alternate:name": "S3",
            **about,
        }

    offset = -0.1 if float(baseline) >= 4 else 0
    for band, gsd in GSD.items():
        for size in (10, 20, 60) if gsd == 10 else (20, 60):
            kind = {True: "original", False: "upsampled" if size < gsd else "downsampled"}[
                size == gsd
            ]
            about = {
                "bands": [{"name": band, "eo:common_name": COMMON[band]}],
                "roles": ["data", "reflectance", f"sampling:{kind}", f"gsd:{size}m"],
                "nodata": 0,
                "data_type": "uint16",
                "raster:scale": 0.0001,
                "raster:offset": offset,
            }
            if (band, size) not in (("B09", 20), ("B08", 20), ("B08", 60)):
                put(band, size, about)
    for size in (20, 60):
        put("SCL", size, {"roles": ["data"], "nodata": 0, "data_type": "uint8"})
    for size in (10, 20, 60):
        put("TCI", size, {"bands": [{"name": band} for band in ("B04", "B03", "B02")]})
    item["assets"]["thumbnail"] = {
        "href": "https://datahub.creodias.eu/odata/v1/Assets(x)/$value",
        "type": "image/jpeg",
        "roles": ["thumbnail", "overview"],
        "proj:code": None,
    }
    return item


def generic(
    name: str = "australia", when: str = "2019-09-12T00:11:19Z", baseline: str | None = "02.05"
) -> Document:
    """A static catalog of files beside the item, as the sample scenes are."""
    properties = {
        "datetime": when,
        "platform": "sentinel-2b",
        "eo:cloud_cover": 0.0,
        "proj:code": "EPSG:32755",
    }
    if baseline:
        properties["s2:processing_baseline"] = baseline
    item = _item(name, BBOX, properties)
    for band, gsd in GSD.items():
        item["assets"][band] = {
            "href": f"{band}.tif",
            "type": COG,
            "gsd": gsd,
            **_grid(gsd),
            "eo:bands": [{"name": band}],
            "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": 0.0}],
            "roles": ["data", "reflectance"],
        }
    return item
