"""Pictures cut into overlapping tiles in many ways: the cube must not show how."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import zarr
from pyproj import Transformer
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import COLLECTION, write_catalog, write_scenes
from s2sharp.planning.config import RunConfig, read_config

from s2sharp_core import BANDS as ALL
from s2sharp_core.lattice import Box, Lattice

WHEN = datetime(2024, 6, 1, 10, 10, 31, tzinfo=UTC)
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)


def random_tiles(box: Box, rng: np.random.Generator) -> list[Box]:
    """Two to nine tiles that cover `box`, with overlaps of 0 to 6 cells."""
    edges = []
    for first, last in ((box.row0, box.row1), (box.col0, box.col1)):
        inner = rng.choice(np.arange(first + 8, last - 8), size=rng.integers(1, 3), replace=False)
        edges.append([first, *sorted(int(i) for i in inner), last])
    rows, cols = edges
    tiles = [
        Box(r0, r1, c0, c1).grow(int(rng.integers(0, 4))) & box
        for r0, r1 in itertools.pairwise(rows)
        for c0, c1 in itertools.pairwise(cols)
    ]
    return [tiles[i] for i in rng.permutation(len(tiles))]


def random_area(
    lattice: Lattice, box: Box, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A part of `box` in degrees, a few cells smaller on each side."""
    inner = Box(
        box.row0 + int(rng.integers(2, 12)),
        box.row1 - int(rng.integers(2, 12)),
        box.col0 + int(rng.integers(2, 12)),
        box.col1 - int(rng.integers(2, 12)),
    )
    to_degrees = Transformer.from_crs(lattice.epsg, 4326, always_xy=True)
    return to_degrees.transform_bounds(*lattice.bounds(inner))


def write_cut(
    folder: Path, bands: dict[str, np.ndarray], lattice: Lattice, box: Box, tiles: list[Box]
) -> Path:
    items = write_scenes(folder, bands, lattice, box, tiles, WHEN, baseline="02.05", offset=0.0)
    return write_catalog(folder, items)


def settings(catalog: Path, out: Path, scheduler: str | None, **more: object) -> RunConfig:
    flags = {
        "catalog": str(catalog),
        "collection": COLLECTION,
        "bbox": EVERYWHERE,
        "datetime": "2024",
        "out": out,
        "publish": False,
        "scheduler": scheduler,
        **more,
    }
    return read_config(None, {k: v for k, v in flags.items() if v is not None})


def stored(out: Path, bands: tuple[str, ...]) -> tuple[dict[str, np.ndarray], float, float]:
    """int16 pictures of a cube's area, and the easting and northing of its upper-left pixel."""
    cube = open_cube(out).isel(time=0)
    pictures = {
        band: np.rint(cube[band].fillna(-3.2768).values * np.float32(10_000)).astype(np.int16)
        for band in bands
    }
    return pictures, float(cube.x[0]), float(cube.y[0])


def grid_of_tiles(box: Box, side: int, overlap: int) -> list[Box]:
    """Tiles of ``side`` cells a side that cover ``box``, its neighbours' cells in each as in MGRS tiles."""
    rows = range(box.row0, box.row1 - overlap, side - overlap)
    cols = range(box.col0, box.col1 - overlap, side - overlap)
    return [Box(r, r + side, c, c + side) & box for r in rows for c in cols]


@dataclass(frozen=True)
class Pass:
    """What one overpass saw of one code: DN of each band over ``box``."""

    lattice: Lattice
    box: Box
    when: datetime
    bands: dict[str, np.ndarray]


def write_region(folder: Path, passes: Sequence[Pass], side: int, overlap: int) -> Path:
    """The catalog of a region, each pass cut into tiles."""
    items = []
    for seen in passes:
        tiles = grid_of_tiles(seen.box, side, overlap)
        items += write_scenes(
            folder,
            seen.bands,
            seen.lattice,
            seen.box,
            tiles,
            seen.when,
            baseline="02.05",
            offset=0.0,
        )
    return write_catalog(folder, items)


def beyond_swath(dn: np.ndarray, band: str) -> np.ndarray:
    """No data right of a slanted line, which lies a little elsewhere in each band, as at a swath's edge."""
    gsd = ALL[band].gsd
    y, x = (np.mgrid[: dn.shape[0], : dn.shape[1]] + 0.5) * gsd / 60
    edge = 0.7 * dn.shape[1] * gsd / 60 + 0.2 * y - list(ALL).index(band) % 3
    return np.where(x > edge, 0, dn).astype(np.uint16)


@dataclass(frozen=True)
class Difference:
    """Of two cubes: values compared, those with data, those that differ, and by how much at most."""

    values: int = 0
    valid: int = 0
    differ: int = 0
    largest: int = 0

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(
            self.values + other.values,
            self.valid + other.valid,
            self.differ + other.differ,
            max(self.largest, other.largest),
        )


def difference(one: Path, other: Path, group: str) -> Difference:
    """Over all dates, bands and layers of a group, but for that of sources, as stored."""
    first, second = (zarr.open_group(out / "cube.zarr", mode="r")[group] for out in (one, other))
    names = [name for name, array in first.arrays() if array.ndim == 3 and name != "source"]
    total = Difference()
    for name in names:
        a, b = first[name][...], second[name][...]
        change = np.abs(a.astype(int) - b)
        valid = np.count_nonzero(a != first[name].fill_value)
        differ = np.count_nonzero(change)
        total += Difference(a.size, valid, differ, int(change.max()))
    return total
