"""Small pictures with known pixels, as the files and items that an archive would deliver."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from rasterio.transform import Affine
from s2sharp.catalog.sources import sources
from s2sharp.demo.synthetic import write_scenes
from s2sharp.scenes.acquisition import Acquisition, group

from s2sharp_core import BANDS
from s2sharp_core.lattice import Box, Lattice
from tests.core.scenes import NORTH, SOUTH, box_at

__all__ = ["BOTH", "NORTH", "SOUTH", "WHEN", "box_at", "join", "noise", "overwrite", "scenes"]

WHEN = datetime(2024, 6, 1, 10, 10, 31, tzinfo=UTC)
BOTH = (NORTH, SOUTH)


def gsd_of(band: str) -> int:
    return BANDS[band].gsd if band in BANDS else 20


def noise(box: Box, *bands: str, seed: int = 0, gaps: float = 0.0) -> dict[str, np.ndarray]:
    """DN without any structure, so that no pixel can stand in for another; a share of 0, no data."""
    rng = np.random.default_rng([seed, *box.shape])
    picture = {}
    for band in bands:
        shape = box.pixels(gsd_of(band))
        dn = rng.integers(1, 12, shape) if band == "SCL" else rng.integers(1, 20_000, shape)
        dn[rng.random(shape) < gaps] = 0
        picture[band] = dn.astype(np.uint8 if band == "SCL" else np.uint16)
    return picture


def scenes(
    folder: Path,
    picture: dict[str, np.ndarray],
    box: Box,
    *tiles: Box,
    lattice: Lattice = NORTH,
    name: str = "",
    **about: Any,
) -> list[pystac.Item]:
    """Items of one overpass, each with its COGs; `name` is the MGRS tile of a single one."""
    when = about.pop("when", WHEN)
    items = write_scenes(folder, picture, lattice, box, list(tiles) or [box], when, **about)
    if name:
        (item,) = items
        item.id = item.id.replace(item.properties["grid:code"].removeprefix("MGRS-"), name)
        item.properties["grid:code"] = f"MGRS-{name}"
    return items


def join(items: list[pystac.Item], catalog: str = "/catalog.json") -> Acquisition:
    """The one acquisition that the items make, of all bands that their first has."""
    bands = [band for band in BANDS if band in items[0].assets]
    (acquisition,), refused, _ = group(items, bands, catalog)
    assert not refused
    assert all(scene.scl or not sources(items[0], ["SCL"]) for scene in acquisition.scenes)
    return acquisition


def overwrite(
    file: Path, dn: np.ndarray, epsg: int | None, transform: tuple[float, ...], driver: str = "COG"
) -> None:
    """Put another raster where an item's file is."""
    about: dict[str, Any] = {"REVERSIBLE": "YES", "QUALITY": 100} if driver[:3] == "JP2" else {}
    with rasterio.open(
        file,
        "w",
        driver=driver,
        width=dn.shape[1],
        height=dn.shape[0],
        count=1,
        dtype=dn.dtype,
        crs=f"EPSG:{epsg}" if epsg else None,
        transform=Affine(*transform),
        **about,
    ) as dataset:
        dataset.write(dn, 1)
