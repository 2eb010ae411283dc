"""Synthetic acquisitions in the form of an archive: COGs and a static STAC catalog, with their truth beside them."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import rasterio
import shapely
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterBand, RasterExtension
from rasterio.transform import Affine

from s2sharp_core import BANDS
from s2sharp_core.bands import BY_GSD, COARSE, native_gsd
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sensor.simulate import landscape, observe

from ..catalog.antimeridian import degrees_around

COLLECTION = "synthetic-s2-l2a"
# Tiles of one datatake overlap, as ESA's do by 163 cells.
_OVERLAP = 12
# Since baseline 04.00 the DN of a reflectance of zero is 1000, and zero means no data.
_OFFSET = -0.1


def simulate(
    folder: Path, cells: int = 150, tiles: int = 2, dates: int = 1, epsg: int = 32633, seed: int = 7
) -> tuple[Path, tuple[float, float, float, float]]:
    """Write a catalog of synthetic Level-2A scenes with known 10 m truth; return its path, and its area in degrees.

    ``cells``: side of the area in cells of 60 m. ``tiles``: number of overlapping scenes along each side. ``dates``: number
    of acquisitions, five days apart, of the same land in different light. One corner lies beyond the swath, whose edge
    differs a little between bands. The truth lies in ``truth/DATE/BAND.tif``: DN as in the scenes, at 10 m, of the bands
    of 20 and 60 m. The area is W, S, E, N.
    """
    folder = folder.resolve()
    lattice = Lattice.of(epsg)
    corner = lattice.around((600_000, 5_400_000, 600_060, 5_400_060))
    box = Box(corner.row0, corner.row0 + cells, corner.col0, corner.col0 + cells)
    land = landscape(box.pixels(10), seed, "farmland")
    names = list(BANDS)
    items = []
    for date in range(dates):
        light = 1 + 0.15 * date * np.linspace(-1, 1, len(BANDS), dtype=np.float32)[:, None, None]
        when = datetime(2024, 6, 1, 10, 10, 31, tzinfo=UTC) + timedelta(days=5 * date)
        truth = land * light
        for band in COARSE:
            file = folder / "truth" / f"{when:%Y-%m-%d}" / f"{band}.tif"
            _write(file, _dn(truth[names.index(band)]), lattice, box, 10)
        seen = observe(truth, seed=seed + date)
        bands = {
            band: _cut_corner(_dn(seen[gsd][i]), band)
            for gsd, group in BY_GSD.items()
            for i, band in enumerate(group)
        }
        bands["SCL"] = _classes(bands)
        items += write_scenes(folder, bands, lattice, box, list(_tiles(box, tiles)), when)
    return write_catalog(folder, items), degrees_around(lattice.epsg, lattice.bounds(box))


def _dn(reflectance: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((reflectance - _OFFSET) * 10_000), 1, 65_534).astype(np.uint16)


def _cut_corner(dn: np.ndarray, band: str) -> np.ndarray:
    """Set no data beyond a slanted line in the upper right, which lies up to two cells apart between bands."""
    gsd = BANDS[band].gsd
    size = dn.shape[0] * gsd / 60
    y, x = (np.mgrid[: dn.shape[0], : dn.shape[1]] + 0.5) * gsd / 60
    shift = list(BANDS).index(band) % 3
    return np.where(x - 0.35 * y > 0.93 * size - shift, 0, dn).astype(np.uint16)


def _classes(bands: dict[str, np.ndarray]) -> np.ndarray:
    """Make a simple scene classification at 20 m: water, vegetation, bare, or no data."""
    red, infrared = (bands[b][::2, ::2].astype(float) - 1000 for b in ("B04", "B08"))
    green = (infrared - red) / np.maximum(infrared + red, 1)
    scl = np.where(infrared < 300, 6, np.where(green > 0.4, 4, 5))
    return np.where(bands["B05"] == 0, 0, scl).astype(np.uint8)


def _tiles(box: Box, count: int) -> Iterator[Box]:
    rows = np.linspace(box.row0, box.row1, count + 1).astype(int)
    cols = np.linspace(box.col0, box.col1, count + 1).astype(int)
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(cols):
            yield Box(int(top), int(bottom), int(left), int(right)).grow(_OVERLAP // 2) & box


def _write(file: Path, dn: np.ndarray, lattice: Lattice, box: Box, gsd: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        file,
        "w",
        driver="COG",
        width=dn.shape[1],
        height=dn.shape[0],
        count=1,
        dtype=dn.dtype,
        nodata=0,
        crs=f"EPSG:{lattice.epsg}",
        transform=Affine(*lattice.transform(box, gsd)),
        compress="deflate",
        predictor=2,
        blocksize=256,
        overviews="none",
    ) as dataset:
        dataset.write(dn, 1)


def write_scenes(
    folder: Path,
    bands: dict[str, np.ndarray],
    lattice: Lattice,
    box: Box,
    tiles: list[Box],
    when: datetime,
    platform: str = "sentinel-2a",
    baseline: str = "05.11",
    offset: float = _OFFSET,
) -> list[pystac.Item]:
    """Cut one picture into scenes and write them in the form of an archive.

    ``bands``: ESA name, or "SCL" → DN at native resolution over ``box``, 0 as nodata. ``tiles``: cells of each scene.
    """
    items = []
    for number, tile in enumerate(tiles):
        letter = "U" if lattice.epsg < 32700 else "H"
        mgrs = f"{lattice.epsg % 100:02d}{letter}{chr(65 + number // 20)}{chr(65 + number % 20)}"
        satellite = platform[-1].upper()
        degrees = degrees_around(lattice.epsg, lattice.bounds(tile))
        item = pystac.Item(
            id=f"S2{satellite}_{mgrs}_{when:%Y%m%d}_0_L2A",
            geometry=shapely.geometry.mapping(shapely.box(*degrees)),
            bbox=list(degrees),
            datetime=when,
            properties={
                "platform": platform,
                "constellation": "sentinel-2",
                "instruments": ["msi"],
                "eo:cloud_cover": 0.0,
                "s2:processing_baseline": baseline,
                "s2:datatake_id": f"GS2{satellite}_{when:%Y%m%dT%H%M%S}_046900_N{baseline}",
                "grid:code": f"MGRS-{mgrs}",
            },
        )
        ProjectionExtension.ext(item, add_if_missing=True).code = f"EPSG:{lattice.epsg}"
        for band, dn in bands.items():
            gsd = native_gsd(band)
            file = folder / "scenes" / item.id / f"{band}.tif"
            _write(file, dn[box.slices(tile, gsd)], lattice, tile, gsd)
            item.add_asset(band, _asset(item, file, band, lattice, tile, offset))
        items.append(item)
    return items


def _asset(
    item: pystac.Item, file: Path, band: str, lattice: Lattice, tile: Box, offset: float
) -> pystac.Asset:
    asset = pystac.Asset(str(file), media_type=pystac.MediaType.COG, roles=["data"])
    asset.set_owner(item)
    gsd = native_gsd(band)
    projection = ProjectionExtension.ext(asset, add_if_missing=True)
    projection.transform = list(lattice.transform(tile, gsd))
    projection.shape = list(tile.pixels(gsd))
    if band != "SCL":
        asset.common_metadata.gsd = gsd
        raster = RasterBand.create(nodata=0, scale=0.0001, offset=offset, spatial_resolution=gsd)
        RasterExtension.ext(asset, add_if_missing=True).bands = [raster]
    return asset


def write_catalog(folder: Path, items: list[pystac.Item]) -> Path:
    """Write ``items`` as a static catalog with relative links; return its ``catalog.json``."""
    catalog = pystac.Catalog("synthetic", "Synthetic Sentinel-2 scenes with known 10 m truth")
    extent = pystac.Extent.from_items(items)
    collection = pystac.Collection(
        COLLECTION, "Synthetic Level-2A scenes", extent, license="Apache-2.0"
    )
    catalog.add_child(collection)
    collection.add_items(items)
    catalog.normalize_hrefs(str(folder))
    catalog.make_all_asset_hrefs_relative()
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"
