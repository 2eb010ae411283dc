"""One picture, cut into overlapping tiles in random ways: the cube must not show how."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pyproj import Transformer
from s2sharp.config import RunConfig, read_config
from s2sharp.cube import open_cube
from s2sharp.synthetic import COLLECTION, write_catalogue, write_scenes

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
    return write_catalogue(folder, items)


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
