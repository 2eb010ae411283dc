"""A scene as ESA delivers it: a SAFE folder or zip of lossless JP2s, or an EOPF Zarr, from the COGs of an item."""

import shutil
from pathlib import Path

import numcodecs
import numpy as np
import pystac
import rasterio
import shapely
import zarr

from s2sharp_core.bands import MEASURED, native_gsd

IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""In the order of ESA's band ids."""

UTC = "2024-06-01T10:10:31.024Z"

PRODUCT = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{when}</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>{when}</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{name}.SAFE</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <GENERATION_TIME>2024-06-01T14:00:00.000000Z</GENERATION_TIME>
      <Datatake datatakeIdentifier="GS2A_20240601T101031_046900_N{baseline}">
        <SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
        <DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>
        <DATATAKE_SENSING_START>{when}</DATATAKE_SENSING_START>
        <SENSING_ORBIT_NUMBER>22</SENSING_ORBIT_NUMBER>
        <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
      </Datatake>
      <Product_Organisation>
        <Granule_List>
          <Granule datastripIdentifier="S2A_OPER_MSI_L{level}_DS_2APS_20240601T140000_S20240601T101031_N{baseline}"
              granuleIdentifier="S2A_OPER_MSI_L{level}_TL_2APS_20240601T140000_A046900_T{tile}_N{baseline}"
              imageFormat="JPEG2000">
{images}
          </Granule>
        </Granule_List>
      </Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
{radiometry}
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Product_Footprint>
      <Product_Footprint>
        <Global_Footprint>
          <EXT_POS_LIST>{outline} </EXT_POS_LIST>
        </Global_Footprint>
      </Product_Footprint>
    </Product_Footprint>
  </n1:Geometric_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>{cloud}</Cloud_Coverage_Assessment>
  </n1:Quality_Indicators_Info>
</n1:Level-{level}_User_Product>
"""

TILE = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level}_Tile_Metadata.xsd">
  <n1:General_Info>
    <TILE_ID metadataLevel="Brief">S2A_OPER_MSI_L{level}_TL_2APS_20240601T140000_A046900_T{tile}_N{baseline}</TILE_ID>
    <SENSING_TIME metadataLevel="Standard">{when}</SENSING_TIME>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>{code}</HORIZONTAL_CS_CODE>
{grids}
    </Tile_Geocoding>
  </n1:Geometric_Info>
</n1:Level-{level}_Tile_ID>
"""


def read(item: pystac.Item, band: str) -> np.ndarray:
    """DN of one band of an item."""
    with rasterio.open(item.assets[band].get_absolute_href()) as file:
        return file.read(1)


def product_name(item: pystac.Item, level: str) -> str:
    number = item.properties["s2:processing_baseline"].replace(".", "")
    tile = item.properties["grid:code"].removeprefix("MGRS-")
    return f"S2A_MSIL{level}_20240601T101031_N{number}_R022_T{tile}_20240601T140000"


def write_safe(folder: Path, item: pystac.Item, level: str, offset: int, cloud: float = 0) -> Path:
    """Write a SAFE folder of Level ``level`` ("1C", "2A"), beside the native bands what else ESA puts there.

    ``offset``: of all bands in DN, 0 for none, as before baseline 04.00.
    """
    tile = item.properties["grid:code"].removeprefix("MGRS-")
    name = product_name(item, level)
    safe = folder / f"{name}.SAFE"
    granule = f"L{level}_T{tile}_A046900_20240601T101031"
    stem = f"T{tile}_20240601T101031"
    bands = [band for band in (*MEASURED, "SCL") if band in item.assets]
    images = []
    for band in bands:
        gsd = native_gsd(band)
        where = f"R{gsd}m/{stem}_{band}_{gsd}m" if level == "2A" else f"{stem}_{band}"
        images.append(f"GRANULE/{granule}/IMG_DATA/{where}")
        with rasterio.open(item.assets[band].get_absolute_href()) as file:
            write_jp2(safe / f"{images[-1]}.jp2", file.read(1), file.crs, file.transform)
    if level == "2A":
        # Copies at other resolutions, which are no measurements; here their files are not even there.
        copies = ("R20m/{}_B02_20m", "R60m/{}_B8A_60m", "R20m/{}_B01_20m", "R10m/{}_TCI_10m")
        images += [f"GRANULE/{granule}/IMG_DATA/{copy.format(stem)}" for copy in copies]
    else:
        images.append(f"GRANULE/{granule}/IMG_DATA/{stem}_TCI")
    corners = shapely.geometry.shape(item.geometry).exterior.coords
    about = {
        "name": name,
        "level": level,
        "tile": tile,
        "when": UTC,
        "baseline": item.properties["s2:processing_baseline"],
        "code": item.properties["proj:code"],
        "cloud": cloud,
        "outline": " ".join(f"{lat:.15g} {lon:.15g}" for lon, lat in corners),
        "images": "\n".join(f"            <IMAGE_FILE>{image}</IMAGE_FILE>" for image in images),
        "radiometry": radiometry(level, offset),
        "grids": "\n".join(
            grid(item, next(b for b in item.assets if native_gsd(b) == gsd)) for gsd in (10, 20, 60)
        ),
    }
    (safe / f"MTD_MSIL{level}.xml").write_text(PRODUCT.format(**about))
    (safe / "GRANULE" / granule / "MTD_TL.xml").write_text(TILE.format(**about))
    (safe / "manifest.safe").write_text("<xfdu/>")
    return safe


def write_jp2(file: Path, dn: np.ndarray, crs: object, transform: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    profile = {"width": dn.shape[1], "height": dn.shape[0], "count": 1, "dtype": dn.dtype}
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES", "GEOJP2": "NO", "GMLJP2": "YES"}
    with rasterio.open(
        file, "w", driver="JP2OpenJPEG", crs=crs, transform=transform, **profile, **lossless
    ) as out:
        out.write(dn, 1)


def radiometry(level: str, offset: int) -> str:
    if level == "1C":
        unit = '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        around, name = "Radiometric_Offset_List", "RADIO_ADD_OFFSET"
    else:
        unit = (
            '<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000'
            '</BOA_QUANTIFICATION_VALUE><AOT_QUANTIFICATION_VALUE unit="none">1000.0'
            "</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>"
        )
        around, name = "BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET"
    if not offset:
        return unit
    each = "".join(f'<{name} band_id="{i}">{offset}</{name}>' for i in range(len(IDS)))
    return f"{unit}<{around}>{each}</{around}>"


def grid(item: pystac.Item, band: str) -> str:
    """Size and place of a resolution, as MTD_TL.xml has them."""
    (a, _, left, _, e, top), (rows, cols) = (
        item.assets[band].extra_fields[key] for key in ("proj:transform", "proj:shape")
    )
    return (
        f'<Size resolution="{a:.0f}"><NROWS>{rows}</NROWS><NCOLS>{cols}</NCOLS></Size>'
        f'<Geoposition resolution="{a:.0f}"><ULX>{left:.0f}</ULX><ULY>{top:.0f}</ULY>'
        f"<XDIM>{a:.0f}</XDIM><YDIM>{e:.0f}</YDIM></Geoposition>"
    )


def zipped(safe: Path) -> Path:
    """A SAFE folder as it is downloaded: a zip with the folder in it; the folder goes."""
    file = shutil.make_archive(str(safe.with_suffix("")), "zip", safe.parent, safe.name)
    shutil.rmtree(safe)
    return Path(file)


def write_eopf(folder: Path, item: pystac.Item, level: str, offset: float) -> Path:
    """Write an EOPF product as the Sample Service has them: Zarr v2, consolidated, DN under CF attributes."""
    name = product_name(item, level)
    store = folder / f"{name}.zarr"
    code = int(item.properties["proj:code"].removeprefix("EPSG:"))
    discovery = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"{name}.SAFE",
        "geometry": item.geometry,
        "bbox": item.bbox,
        "properties": {
            "datetime": UTC,
            "platform": "sentinel-2a",
            "eo:cloud_cover": 0.0,
            "eopf:datatake_id": f"GS2A_20240601T101031_046900_N{name[-32:-30]}",
            "product:type": f"S02MSIL{level}",
            "proj:epsg": code,
        },
    }
    root = zarr.open_group(store, mode="w", zarr_format=2)
    root.attrs.update({"stac_discovery": discovery, "other_metadata": {}})
    for band in (band for band in (*MEASURED, "SCL") if band in item.assets):
        gsd = native_gsd(band)
        path = f"measurements/reflectance/r{gsd}m" if band != "SCL" else SCL
        group = root.require_group(path)
        dn = read(item, band)
        facts = item.assets[band].extra_fields
        about = {
            "_ARRAY_DIMENSIONS": ["y", "x"],
            "proj:epsg": code,
            "proj:shape": list(dn.shape),
            "proj:transform": [*facts["proj:transform"], 0.0, 0.0, 1.0],
        }
        if band != "SCL":
            about |= {"scale_factor": 0.0001, "add_offset": offset, "units": "digital_counts"}
        array = group.create_array(
            band.lower(),
            shape=dn.shape,
            chunks=(64, 64),
            dtype=dn.dtype,
            fill_value=0,
            compressors=numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE),
            attributes={**about, "_eopf_attrs": dict(about)},
        )
        array[...] = dn
    zarr.consolidate_metadata(store, zarr_format=2)
    return store


SCL = "conditions/mask/l2a_classification/r20m"
