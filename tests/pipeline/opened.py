"""The item of a synthetic scene, and whether a scene that was opened has its pixels."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from s2sharp.demo.synthetic import write_catalog, write_scenes

from s2sharp_core import BANDS
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sensor.simulate import landscape, observe

WHEN = datetime(2024, 6, 1, 10, 10, 31, tzinfo=UTC)
COMMON = {band.name: band.common_name for band in BANDS.values()}
OFFSET = {"scale": 1e-4, "offset": -0.1}


def written(folder: Path, epsg: int) -> pystac.Item:
    """The item of one synthetic scene, in a catalog of this machine."""
    lattice = Lattice.of(epsg)
    corner = lattice.around((600_000, 5_400_000, 600_060, 5_400_060))
    box = Box(corner.row0, corner.row0 + 20, corner.col0, corner.col0 + 24)
    seen = observe(landscape(box.pixels(10), 5), seed=5)
    bands = {}
    for gsd, pictures in seen.items():
        for name, picture in zip(BY_GSD[gsd], pictures, strict=True):
            dn = np.clip(np.rint((picture + 0.1) * 10_000), 1, 65_534).astype(np.uint16)
            dn[: 120 // gsd, : 300 // gsd] = 0
            bands[name] = dn
    items = write_scenes(folder, bands, lattice, box, [box], WHEN, baseline="05.11", offset=-0.1)
    catalog = pystac.Catalog.from_file(str(write_catalog(folder, items)))
    return next(iter(catalog.get_items(recursive=True)))


def same(scene: xr.DataTree, item: pystac.Item) -> None:
    """The scene has the pixels of the item's files, where they lie."""
    for band, facts in BANDS.items():
        array = scene[f"r{facts.gsd}m/{band}"]
        with rasterio.open(item.assets[band].get_absolute_href()) as file:
            assert array.rio.transform() == file.transform
            assert array.rio.crs == file.crs
            dn = file.read(1).astype(np.float32)
        truth = np.where(dn == 0, np.float32(np.nan), (dn - 1000) * np.float32(1e-4))
        np.testing.assert_array_equal(array.values, truth)
        assert array.dtype == np.float32


def loaded_by_odc(item: pystac.Item) -> list[xr.Dataset]:
    """What odc-stac makes of it: DN, a Dataset for each resolution."""
    return [
        odc.stac.load([item], bands=BY_GSD[gsd], resolution=gsd, dtype="uint16") for gsd in GSDS
    ]
