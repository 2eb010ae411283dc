"""Mosaics have no line of our making, and their pixels lie where the grid says: whatever the tiles, codes and grids."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer
from s2sharp import open_mosaic
from s2sharp.cube.layout import FILL, encode
from s2sharp.mosaic.cost import memory, parts

from s2sharp_core.lattice import Box, Lattice

from .cubes import Shot, land, lonlat, make_cube
from .mosaics import (
    LAT,
    LON,
    MIDDLE,
    ONE,
    WEST,
    around_border,
    dn,
    ground,
    inner,
    make,
    near,
    plan_of,
    refused,
)


@pytest.mark.parametrize(
    "how",
    [
        {"by": "best"},
        {"by": "best", "feather": 300, "period": "all"},
        {"by": "medoid", "period": "all"},
        {"by": "median", "period": "all", "crs": "EPSG:3035", "resolution": 20},
    ],
    ids=["best", "feathered", "medoid", "median"],
)
def test_the_same_place_has_the_same_values_whatever_the_tiles_and_the_area(
    border, tmp_path, scheduler, how
):
    make(border, tmp_path / "whole", scheduler, tile=512, **how)
    bbox = (LON - 0.03, LAT - 0.006, LON + 0.02, LAT + 0.008)
    make(border, tmp_path / "part", scheduler, tile=1536, memory=0.5, bbox=bbox, **how)
    one, part = (open_mosaic(tmp_path / x).load() for x in ("whole", "part"))
    assert part.valid.any()
    assert 0.2 < part.x.size * part.y.size / (one.x.size * one.y.size) < 0.7
    xr.testing.assert_equal(part, one.sel(x=part.x, y=part.y))


def test_a_tile_is_gone_through_in_parts_that_fit(border, tmp_path):
    plan = plan_of(border, tmp_path, by="medoid", period="all", tile=2048, memory=4)
    box = plan.area.snap(2048)
    wide = parts(plan, box, 3)
    just = 1e-9 * memory(plan, Box(0, 512, 0, 1024), 3)
    narrow = parts(plan_of(border, tmp_path, by="medoid", tile=2048, memory=just), box, 3)
    assert {p.shape for p in wide} == {(512, 2048)}
    assert {p.shape for p in narrow} == {(512, 1024)}
    for some in (wide, narrow):
        assert sum(np.prod(p.shape) for p in some) == 2048**2
    said = refused("memory-exceeded", border, tmp_path, by="medoid", memory=0.05)
    assert "0.05 GB" in said


def lines(values: np.ndarray, source: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean |Δ| from a pixel to its right neighbour: across the border of codes, and along 100 parallel lines."""
    there = (source[:, 1:] > 0) & (source[:, :-1] > 0)
    change = np.abs(np.diff(values.astype(float), axis=1))
    rows, cols = np.nonzero(there & (source[:, 1:] != source[:, :-1]))
    parallel = []
    for shift in (*range(-59, -9), *range(10, 60)):
        at = np.clip(cols + shift, 0, change.shape[1] - 1)
        held = there[rows, at] & (at == cols + shift)
        assert held.mean() > 0.9
        parallel.append(change[rows[held], at[held]].mean())
    return float(change[rows, cols].mean()), np.array(parallel)


@pytest.fixture(scope="module")
def painted(tmp_path_factory, scheduler) -> Callable[..., xr.Dataset]:
    """Mosaics of one clear date at the border of two codes, each made once."""
    folder = tmp_path_factory.mktemp("painted")
    made: dict[tuple[str | None, float | None], xr.Dataset] = {}
    cube = make_cube(folder / "cube", around_border(1_600, 1_600, 600), [Shot(MIDDLE)])

    def mosaic(crs: str | None, resolution: float | None = None) -> xr.Dataset:
        if (crs, resolution) not in made:
            to = folder / str(len(made))
            make(cube, to, scheduler, crs=crs, resolution=resolution)
            made[crs, resolution] = open_mosaic(to)
        return made[crs, resolution]

    return mosaic


@pytest.mark.parametrize("crs", [None, "EPSG:3035"], ids=["copied", "warped"])
def test_the_border_of_two_codes_is_no_line(painted, crs):
    mosaic = painted(crs)
    source = mosaic.source.values[0]
    assert set(np.unique(source)) == {0, 1, 2}
    for values in dn(mosaic):
        across, parallel = lines(values, source)
        assert len(parallel) == 100
        assert across <= 1.2 * np.median(parallel)


@pytest.mark.parametrize("crs", [None, "EPSG:3035"])
def test_codes_meet_where_their_zones_do(painted, crs):
    """Whatever the area, and not where one ends: what was sharpened there saw nothing beyond."""
    mosaic = painted(crs)
    source, (lon, lat) = mosaic.source.values[0], ground(mosaic)
    both = (source > 0) & (np.abs(lat - LAT) < 0.004)  # the areas are turned against each other
    assert (source[both & (lon < LON - 2e-4)] == 1).all()
    assert (source[both & (lon > LON + 2e-4)] == 2).all()
    assert min((source == 1).sum(), (source == 2).sum()) > 2_000


def test_codes_meet_at_the_equator(tmp_path, scheduler):
    areas = {}
    for epsg, (below, above) in {32633: (400, 900), 32733: (900, 400)}.items():
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(15.0, 0.0)
        areas[epsg] = Lattice.of(epsg).around((x, y - below, x + 900, y + above))
    make_cube(tmp_path / "cube", areas, [Shot(MIDDLE)])
    make(tmp_path / "cube", tmp_path / "to", scheduler)
    mosaic = open_mosaic(tmp_path / "to")
    source, (_, lat) = mosaic.source.values[0], ground(mosaic)
    assert (source[lat > 1e-4] == 1).all()
    assert (source[lat < -1e-4] == 2).all()
    assert np.abs(dn(mosaic)[0] - land(*ground(mosaic), "B02")).max() < 3


def test_codes_are_no_patchwork_around_a_cloud(tmp_path, scheduler):
    """Which of two grids puts a cloud a pixel farther away is chance."""
    shot = Shot(MIDDLE, cloud=near(LON + 0.001, LAT, 60, 9))
    make_cube(tmp_path / "cube", around_border(1_000, 1_000, 600), [shot])
    make(tmp_path / "cube", tmp_path / "to", scheduler)
    source = open_mosaic(tmp_path / "to").source.values[0][20:-20]
    assert (source == 0).any()
    borders = (source[:, 1:] != source[:, :-1]) & (source[:, 1:] > 0) & (source[:, :-1] > 0)
    assert (borders.sum(axis=1) > 1).mean() < 0.05  # but at the rim of what it hides
    assert borders.any(axis=1).mean() > 0.5


@pytest.mark.parametrize(
    ("crs", "resolution", "most"),
    [
        (None, None, 6),
        ("EPSG:3035", None, 6),
        ("EPSG:4326", 0.0001, 6),
        ("ESRI:54009", 10, 6),
        ("EPSG:3857", 15, 6),
        # Averaged over its own pixels: what is seen is smoother than the land.
        ("EPSG:3035", 30, 60),
    ],
)
def test_pixels_lie_where_the_grid_says(painted, crs, resolution, most):
    """Of a known land, on any grid: half a pixel off would be an error of fifty DN."""
    mosaic = painted(crs, resolution)
    step = resolution or 10
    assert mosaic.rio.resolution() == pytest.approx((step, -step))
    corner = mosaic.rio.transform().c / step, mosaic.rio.transform().f / step
    np.testing.assert_allclose(corner, np.rint(corner), atol=1e-6)
    values = encode(mosaic.B02.values[0])
    error = values - land(*ground(mosaic), "B02")
    there = inner(values != FILL)
    assert there.mean() > 0.3
    assert np.sqrt((error[there] ** 2).mean()) < most


def test_feathering_blends_over_so_many_metres_and_only_there(tmp_path, scheduler):
    edge = float(lonlat(WEST, ONE[WEST])[0][:, 195].mean())
    shots = [
        Shot(MIDDLE, gain=0, bias=1_000, cloud=lambda x, _: np.where(x > edge, 9, 4)),
        Shot("2024-06-02T10:10:31", gain=0, bias=2_000),
    ]
    make_cube(tmp_path / "cube", ONE, shots)
    make(tmp_path / "cube", tmp_path / "hard", scheduler)
    make(tmp_path / "cube", tmp_path / "soft", scheduler, feather=150)
    hard, soft = (open_mosaic(tmp_path / x).load() for x in ("hard", "soft"))
    xr.testing.assert_equal(hard.source, soft.source)
    assert set(np.unique(dn(hard))) == {1_000, 2_000}
    row = dn(soft)[0][80].astype(int)
    seam = int(np.flatnonzero(np.diff(dn(hard)[0][80]))[0])
    assert (row[: seam - 16] == 1_000).all()
    assert (row[seam + 17 :] == 2_000).all()
    blend = row[seam - 14 : seam + 16]
    assert (np.diff(blend) > 0).all()
    assert np.abs(np.diff(blend) - 1_000 / 31).max() < 12
