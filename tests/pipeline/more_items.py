"""Items of further archives in their real shape, cut down, as those in :mod:`.items`.

Taken from items of the EOPF Sample Service (stac.core.eopf.eodc.eu, collections sentinel-2-l2a and
sentinel-2-l2a-zarr3), the EOPF Explorer (api.explorer.eopf.copernicus.eu), Earth Search v0, Digital Earth Africa
(s2_l2a) and Digital Earth Australia (ga_s2am_ard_3); the numbers are made up to fit the tile.
"""

from copy import deepcopy
from typing import Any

from . import items
from .items import COG, COMMON, GSD, Document, _grid, _item

EOPF = {**GSD, "B01": 60}
ZARR = "application/vnd.zarr; version=3"
GROUPS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"),
}
PACKED = {"nodata": 0, "data_type": "uint16", "raster:scale": 0.0001, "raster:offset": -0.1}


def _eopf(tile: str, when: str) -> Document:
    start = when[:19].replace("-", "").replace(":", "")
    name = f"S2A_MSIL2A_{start}_N0511_R122_T{tile}_{start[:8]}T142515"
    properties = {
        "datetime": when,
        "start_datetime": when,
        "end_datetime": when,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "grid:code": f"MGRS-{tile}",
        "mgrs:utm_zone": int(tile[:2]),
        "mgrs:latitude_band": tile[2],
        "mgrs:grid_square": tile[3:],
        "proj:bbox": [399960.0, 5290200.0, 509760.0, 5400000.0],
        "proj:code": "EPSG:32633",
        "product:type": "S02MSIL2A",
        "eo:cloud_cover": 1.58,
        "eopf:datatake_id": f"GS2A_{start}_054288_N05.11",
        "eopf:datastrip_id": f"S2A_OPER_MSI_L2A_DS_2APS_{start[:8]}T142515_S{start}_N05.11",
        "processing:version": "05.11",
        "sat:relative_orbit": 122,
    }
    item = _item(name, items.BBOX, properties)
    item["stac_version"] = "1.1.0"
    return item


def eopf_sample(tile: str = "33UWP", when: str = "2025-11-13T10:23:11.024Z") -> Document:
    """One asset a band, but B01 only as a copy of 20 m: at 60 m it lies in the group ``SR_60m``, and in ``product``."""
    item = _eopf(tile, when)
    root = f"https://objects.eodc.eu:443/x:202511-s02msil2a-eu/13/products/{item['id']}.zarr"
    path = f"{root}/measurements/reflectance"

    def band(name: str, gsd: int) -> Document:
        return {
            "href": f"{path}/r{gsd}m/{name.lower()}",
            "type": "application/vnd.zarr",
            "gsd": gsd,
            "bands": [{"name": name, "eo:common_name": COMMON[name]}],
            "roles": ["data", "reflectance"],
            "proj:code": "EPSG:32633",
            **PACKED,
            **_grid(gsd),
        }

    item["assets"] = {f"{b}_{g}m": band(b, g) for b, g in GSD.items() if b != "B01"}
    item["assets"]["B01_20m"] = band("B01", 20)
    for gsd, names in GROUPS.items():
        item["assets"][f"SR_{gsd}m"] = {
            "href": f"{path}/r{gsd}m",
            "type": "application/vnd.zarr",
            "gsd": gsd,
            "bands": [{"name": b} for b in names],
            "roles": ["data", "reflectance", "dataset"],
        }
    item["assets"]["SCL_20m"] = {
        "href": f"{root}/conditions/mask/l2a_classification/r20m/scl",
        "type": "application/vnd.zarr",
        "gsd": 20,
        "roles": ["data"],
        **_grid(20),
    }
    item["assets"]["product"] = {"href": root, "type": ZARR, "roles": ["data", "metadata"]}
    return item


def eopf_groups(
    tile: str = "33UWP",
    when: str = "2026-09-07T10:00:29.024Z",
    root: str = "https://data.eodc.eu/collections/EOPF_ZARR/products/cpm_v300/S02MSIL2A/2026/09/07",
) -> Document:
    """``sentinel-2-l2a-zarr3``: nothing but groups, whose shape is told and whose place is not."""
    item = _eopf(tile, when)
    zarr = f"{root}/{item['id']}.zarr"
    item["assets"] = {
        f"SR_{gsd}m": {
            "href": f"{zarr}/measurements/reflectance/r{gsd}m",
            "type": ZARR,
            "gsd": gsd,
            "bands": [{"name": b.lower(), "eo:common_name": COMMON[b]} for b in names],
            "roles": ["data", "reflectance"],
            "proj:shape": [109800 // gsd] * 2,
            "zarr:node_type": "group",
            "raster:spatial_resolution": gsd,
            **PACKED,
        }
        for gsd, names in GROUPS.items()
    }
    item["assets"]["SCL_20m"] = {
        "href": f"{zarr}/conditions/mask/l2a_classification/r20m",
        "type": ZARR,
        "gsd": 20,
        "bands": [{"name": "scl"}],
        "roles": ["data", "mask"],
        "nodata": 0,
        "data_type": "uint8",
        "raster:scale": 1,
        "raster:offset": 0,
        "zarr:node_type": "group",
    }
    item["assets"]["product"] = {"href": zarr, "type": ZARR, "roles": ["data", "metadata"]}
    item["assets"]["zipped_product"] = {"href": f"{zarr}.zip", "roles": ["data", "archive"]}
    return item


def eopf_explorer(
    tile: str = "33UWP",
    when: str = "2026-09-20T10:00:29.024Z",
    root: str = "https://s3.explorer.eopf.copernicus.eu/esa-zarr-sentinel-explorer-fra/tests-output/sentinel-2-l2a",
) -> Document:
    """One asset for all bands, a GeoZarr pyramid: its shape is that of 10 m, and B01 is said to be of 20 m."""
    item = _eopf(tile, when)
    zarr = f"{root}/{item['id']}.zarr"
    item["assets"] = {
        "SCL_20m": {
            "href": f"{zarr}/conditions/mask/l2a_classification/r20m/scl",
            "type": ZARR,
            "gsd": 20,
            "roles": ["data"],
            "nodata": 0,
            "data_type": "uint8",
            "raster:scale": 1,
            "raster:offset": 0,
        },
        "AOT_10m": {
            "href": f"{zarr}/quality/atmosphere/r10m/aot",
            "type": ZARR,
            "gsd": 10,
            "roles": ["data"],
            "data_type": "uint16",
            "raster:scale": 0.001,
        },
        "thumbnail": {"href": "https://x.eu/preview?format=png", "roles": ["thumbnail"]},
        "reflectance": {
            "href": f"{zarr}/measurements/reflectance",
            "type": f"{ZARR}; profile=multiscales",
            "gsd": 10,
            "bands": [
                {"name": b.lower(), "gsd": 20 if b == "B01" else g, "eo:common_name": COMMON[b]}
                for b, g in GSD.items()
            ],
            "roles": ["data", "reflectance"],
            "proj:code": "EPSG:32633",
            "proj:shape": [10980, 10980],
            "cube:variables": {b.lower(): {"type": "data"} for b in GSD},
        },
    }
    return item


def earth_search_v0(
    tile: str = "33UWP",
    when: str = "2020-07-14T10:05:52Z",
    baseline: str = "02.14",
    **more: Any,
) -> Document:
    """``sentinel-s2-l2a-cogs``: no ``s2:`` property, no ``raster:bands``; the product's name tells the baseline."""
    start = when[:10].replace("-", "") + "T100031"
    code = baseline.replace(".", "")
    properties = {
        "datetime": when,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "view:off_nadir": 0,
        "proj:epsg": 32633,
        "sentinel:utm_zone": int(tile[:2]),
        "sentinel:latitude_band": tile[2],
        "sentinel:grid_square": tile[3:],
        "sentinel:sequence": "0",
        "sentinel:product_id": f"S2A_MSIL2A_{start}_N{code}_R122_T{tile}_{start[:8]}T191310",
        "sentinel:data_coverage": 100,
        "eo:cloud_cover": 22.69,
        "sentinel:valid_cloud_cover": True,
        **more,
    }
    item = _item(f"S2A_{tile}_{start[:8]}_0_L2A", items.BBOX, properties)
    item["stac_version"] = "1.0.0-beta.2"
    base = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/33/U/WP/2020/7/x"
    for band, gsd in GSD.items():
        grid = _grid(gsd)
        item["assets"][band] = {
            "title": f"Band {band}",
            "type": COG,
            "roles": ["data"],
            "gsd": gsd,
            "eo:bands": [{"name": band, "common_name": COMMON[band], "center_wavelength": 0.5}],
            "href": f"{base}/{band}.tif",
            "proj:shape": grid["proj:shape"],
            "proj:transform": [*grid["proj:transform"], 0, 0, 1],
        }
    item["assets"]["SCL"] = {"type": COG, "roles": ["data"], "href": f"{base}/SCL.tif", **_grid(20)}
    item["assets"]["overview"] = {
        "type": COG,
        "roles": ["overview"],
        "gsd": 10,
        "eo:bands": [{"name": band} for band in ("B04", "B03", "B02")],
        "href": f"{base}/L2A_PVI.tif",
    }
    return item


def deafrica(
    tile: str = "33UWP", when: str = "2023-01-03T10:05:53Z", applied: bool = True
) -> Document:
    """``s2_l2a`` of Open Data Cube's explorer: made of Earth Search's, with uuids for ids and one transform for all."""
    item = earth_search_v0(
        tile,
        when,
        "05.09",
        **{"sentinel:boa_offset_applied": applied, "sentinel:processing_baseline": "05.09"},
    )
    said = item["properties"]
    said |= {"title": said["sentinel:product_id"], "odc:region_code": tile, **_grid(10)}
    said |= {"cubedash:region_code": tile, "odc:file_format": "GeoTIFF"}
    item["id"] = "ec16dbf6-9729-5a8f-9d72-5e83a8b9f30d"
    item["stac_version"] = "1.0.0"
    for key, asset in item["assets"].items():
        asset["href"] = f"s3://deafrica-sentinel-2/sentinel-s2-l2a-cogs/33/U/WP/2023/1/x/{key}.tif"
        asset["eo:bands"] = [{"name": key}]
        asset["proj:epsg"] = 32633
    del item["assets"]["overview"]
    return item


NBART = {
    "B01": "coastal_aerosol",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "red_edge_1",
    "B06": "red_edge_2",
    "B07": "red_edge_3",
    "B08": "nir_1",
    "B8A": "nir_2",
    "B11": "swir_2",
    "B12": "swir_3",
}


def australia(tile: str = "55HGA", when: str = "2019-11-21T00:12:44.1Z") -> Document:
    """``ga_s2am_ard_3``: int16 reflectance of the ground, corrected for view and slope; eleven bands, no B09."""
    item = _item(
        "52dda32c-cb4b-49eb-a31d-bcf70bf62751",
        (147.0, -36.0, 148.0, -35.0),
        {
            "title": f"ga_s2am_ard_3-2-1_{tile}_{when[:10]}_final",
            "platform": "sentinel-2a",
            "instruments": ["msi"],
            "datetime": when,
            "proj:epsg": 32755,
            "proj:shape": [5490, 5490],
            "eo:cloud_cover": 0.36,
            "odc:product": "ga_s2am_ard_3",
            "odc:region_code": tile,
            "sat:relative_orbit": 30,
            "sentinel:datastrip_id": "S2A_OPER_MSI_L1C_DS_EPAE_20191121T011741_S20191121T001107_N02.08",
            "sentinel:sentinel_tile_id": f"S2A_OPER_MSI_L1C_TL_EPAE_20191121T011741_A023060_T{tile}_N02.08",
            "sentinel:datatake_start_datetime": "2019-11-21T01:17:41Z",
        },
    )
    base = "s3://dea-public-data/baseline/ga_s2am_ard_3/55/HGA/2019/11/21/20191121T011741"
    for band, name in NBART.items():
        gsd = GSD[band]
        asset = {
            "title": f"nbart_{name}",
            "eo:bands": [{"name": f"nbart_{name}"}],
            "proj:epsg": 32755,
            "proj:shape": [109800 // gsd] * 2,
            "proj:transform": [gsd, 0.0, 699960.0, 0.0, -gsd, 6100000.0, 0.0, 0.0, 1.0],
            "href": f"{base}/ga_s2am_nbart_3-2-1_{tile}_{when[:10]}_final_{band.lower()}.tif",
            "type": COG,
            "roles": ["data"],
        }
        item["assets"][f"nbart_{name}"] = asset
        other = deepcopy(asset)
        other["eo:bands"] = [{"name": f"nbar_{name}"}]
        item["assets"][f"nbar_{name}"] = other
    for name in ("oa_fmask", "oa_s2cloudless_mask", "oa_nbart_contiguity"):
        item["assets"][name] = {"href": f"{base}/{name}.tif", "eo:bands": [{"name": name}]}
    return item


def earth_search_without_cogs(tile: str = "33UWP", when: str = "2023-06-28T10:05:41Z") -> Document:
    """``sentinel-2-l2a`` whose COGs were not made: ESA's own files alone, and a flag that speaks of no file here."""
    item = items.earth_search(tile, when)
    item["assets"] = {k: a for k, a in item["assets"].items() if k.endswith("-jp2")}
    return item
