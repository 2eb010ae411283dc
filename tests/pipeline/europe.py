"""A year of Europe as a catalog would list it: real tiles, orbits and cadence, and not one file behind it."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from pyproj import Transformer
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet

from .items import COG, GSD, Document

COLLECTION = "europe-l2a"
BOX = (-12.0, 36.0, 48.0, 71.0)
ZONES = range(29, 39)
ARCHIVE = "https://archive.example/sentinel-2"

ORBITS = 143
"""In a cycle of ten days; then a satellite is back over the same track."""

TRACK = 122, 4.0, 10.3
"""A relative orbit, where its descending half crosses the equator (°E), and at what hour (UTC)."""

SWATH = 145_000
"""Metres from the track to the edge of what is seen."""


@dataclass(frozen=True)
class Tile:
    name: str
    epsg: int
    left: int
    top: int
    outline: shapely.Polygon


@functools.cache
def tiles() -> tuple[Tile, ...]:
    """The MGRS tiles of zones 29 to 38 from 36° to 71° north, each in its own zone only."""
    found = []
    for zone, row, column in itertools.product(ZONES, range(39, 80), range(1, 9)):
        left, top = column * 100_000 // 60 * 60, -(-(row + 1) * 100_000 // 60) * 60
        to_degrees = Transformer.from_crs(32600 + zone, 4326, always_xy=True)
        x = left + np.array([0, 109_800, 109_800, 0])
        y = top - np.array([0, 0, 109_800, 109_800])
        outline = shapely.Polygon(np.column_stack(to_degrees.transform(x, y)))
        middle = outline.centroid
        if abs(middle.x - zone * 6 + 183) < 3.2 and BOX[1] < middle.y < BOX[3]:
            band = "CDEFGHJKLMNPQRSTUVWX"[int(middle.y + 80) // 8]
            square = "ABCDEFGHJKLMNPQRSTUVWXYZ"[(zone - 1) % 3 * 8 + column - 1]
            square += "ABCDEFGHJKLMNPQRSTUV"[(row + 5 * (zone % 2 == 0)) % 20]
            found.append(Tile(f"{zone}{band}{square}", 32600 + zone, left, top, outline))
    return tuple(found)


@functools.cache
def swath(orbit: int) -> shapely.Polygon:
    """What a relative orbit sees between 34° and 73° north on its way south, in degrees."""
    latitude = np.linspace(73, 34, 40)
    tilt = np.radians(98.62)
    angle = np.arcsin(np.sin(np.radians(latitude)) / np.sin(tilt))
    reference, crossing, _ = TRACK
    # Eastwards of the crossing: the orbit's tilt, and how far the Earth has still to turn.
    east = np.degrees(np.arctan(-np.cos(tilt) * np.tan(angle))) + _minutes(latitude) / 4
    longitude = (crossing - (orbit - reference) * 3600 / ORBITS + 180) % 360 - 180 + east
    half = SWATH / (111_320 * np.cos(np.radians(latitude)))
    edges = [np.column_stack([longitude + side * half, latitude]) for side in (-1, 1)]
    return shapely.Polygon(np.concatenate([edges[0], edges[1][::-1]]))


def _minutes(latitude: float | np.ndarray) -> np.ndarray:
    """From a latitude to the equator."""
    return np.degrees(np.arcsin(np.sin(np.radians(latitude)) / np.sin(np.radians(98.62)))) / 3.575


@functools.cache
def seen(orbit: int) -> tuple[tuple[Tile, shapely.Polygon], ...]:
    """The tiles that a relative orbit sees, and what of each."""
    pairs = ((tile, tile.outline & swath(orbit)) for tile in tiles())
    return tuple((tile, part) for tile, part in pairs if part.geom_type == "Polygon" and part.area)


def takes(year: int) -> list[tuple[datetime, str, int]]:
    """(crossing of the equator, platform, relative orbit) of the year's datatakes that see Europe."""
    reference, _, hour = TRACK
    start = datetime(year, 1, 1, tzinfo=UTC)
    found = [
        (start + timedelta(days=10 * cycle + shift, hours=hours), platform, orbit)
        for orbit in range(1, ORBITS + 1)
        if seen(orbit)
        for hours in [(hour + (orbit - reference) * 240 / ORBITS) % 240]
        for platform, shift in (("a", 0), ("b", 5))
        for cycle in range(-1, 37)
    ]
    return sorted(take for take in found if take[0].year == year)


def documents(count: int, year: int = 2024) -> Iterator[Document]:
    """``count`` items of whole datatakes spread over the year; one in twenty was processed twice."""
    all_takes = takes(year)
    items = (
        _item(tile, part, *all_takes[n], baseline)
        for n in np.random.default_rng(0).permutation(len(all_takes))
        for number, (tile, part) in enumerate(seen(all_takes[n][2]))
        for baseline in (("05.09", "05.10") if (n + number) % 20 == 0 else ("05.10",))
    )
    return itertools.islice(items, count)


def _item(
    tile: Tile, part: shapely.Polygon, crossing: datetime, platform: str, orbit: int, baseline: str
) -> Document:
    begin = f"{crossing - timedelta(minutes=22):%Y%m%dT%H%M%S}"
    name = f"S2{platform.upper()}_MSIL2A_{begin}_N{baseline.replace('.', '')}_R{orbit:03d}_T{tile.name}"
    middle = part.centroid
    when = crossing - timedelta(minutes=float(_minutes(middle.y)))
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": COLLECTION,
        "geometry": shapely.geometry.mapping(part),
        "bbox": list(part.bounds),
        "links": [{"rel": "self", "href": f"{ARCHIVE}/{name}.json"}],
        "properties": {
            "datetime": f"{when:%Y-%m-%dT%H:%M:%S.%fZ}",
            "platform": f"sentinel-2{platform}",
            "instruments": ["msi"],
            "eo:cloud_cover": float(crossing.toordinal() * 7 % 100),
            "proj:epsg": tile.epsg,
            "grid:code": f"MGRS-{tile.name}",
            "s2:processing_baseline": baseline,
            "s2:datatake_id": f"GS2{platform.upper()}_{begin}_044444_N{baseline}",
            "sat:relative_orbit": orbit,
        },
        "assets": {
            band: {
                "href": f"{ARCHIVE}/{name}/{band}.tif",
                "type": COG,
                "gsd": gsd,
                "proj:shape": [109_800 // gsd, 109_800 // gsd],
                "proj:transform": [gsd, 0, tile.left, 0, -gsd, tile.top],
                "eo:bands": [{"name": band}],
                "raster:bands": [
                    {"nodata": 0, "data_type": "uint16", "scale": 1e-4, "offset": -0.1}
                ],
                "roles": ["data"],
            }
            for band, gsd in (GSD | {"SCL": 20}).items()
        },
    }


def write(path: Path, count: int, rows: int = 4096) -> None:
    """As others would write it: stac-geoparquet in row groups of ``rows`` items."""
    items = documents(count)
    parts = iter(lambda: list(itertools.islice(items, rows)), [])
    batches = (batch for part in parts for batch in parse_stac_items_to_arrow(part))
    first = next(batches)
    reader = pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))
    to_parquet(reader, path)
