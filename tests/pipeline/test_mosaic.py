"""Mosaics: clear, whole spectra, no line of our making, whatever the tiles, codes, grids and interruptions."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pystac
import pytest
import rasterio
import xarray as xr
import zarr
from distributed import Client
from pyproj import Transformer
from pystac.extensions.projection import ProjectionExtension
from rio_cogeo import cog_validate
from s2sharp import open_cube, open_mosaic
from s2sharp.cube.layout import FILL, encode
from s2sharp.engine.lease import Lease
from s2sharp.engine.ledger import Ledger
from s2sharp.mosaic.config import configure
from s2sharp.mosaic.cost import estimate, memory, parts
from s2sharp.mosaic.execute import MosaicOutcome, carry_out
from s2sharp.mosaic.make import make_plan
from s2sharp.mosaic.periods import by_preference, periods
from s2sharp.mosaic.plan import MosaicPlan
from s2sharp.mosaic.sources import CubeDate
from s2sharp.mosaic.status import mosaic_status
from s2sharp.mosaic.unit import TileJob, do_tile
from s2sharp.mosaic.verify import verify_mosaic
from s2sharp.storage.files import files, read_bytes, read_text, write_bytes
from s2sharp.storage.location import Location, place
from scipy.ndimage import distance_transform_edt

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box, Lattice

from .cubes import BANDS, Shot, land, lonlat, make_cube, name
from .runs import config as run_config
from .runs import run as run_cube
from .test_cli import call
from .test_publish import validate_offline

WEST, EAST = 32632, 32633
LON, LAT = 12.0, 48.0  # the border of two zones
MIDDLE = "2024-06-15T10:10:31"
ONE = {WEST: Lattice.of(WEST).around((701_460, 5_318_000, 703_500, 5_319_660))}


def around_border(west: float, east: float, half: float) -> dict[int, Box]:
    """Cells on both sides of 12° E: each code has `west` or `east` metres of its own, and 400 m beyond."""
    found = {}
    for epsg, (left, right) in {WEST: (west, 400.0), EAST: (400.0, east)}.items():
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(LON, LAT)
        found[epsg] = Lattice.of(epsg).around((x - left, y - half, x + right, y + half))
    return found


def near(lon: float, lat: float, metres: float, kind: int) -> Any:
    """A cloud (or what class is asked for) of a radius around a place."""

    def cloud(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        away = np.hypot((x - lon) * 111_320 * np.cos(np.radians(lat)), (y - lat) * 111_320)
        return np.where(away < metres, kind, 4)

    return cloud


def plan_of(out: Location, to: Location, **flags: Any) -> MosaicPlan:
    return make_plan(configure({"out": out, "to": to, "publish": False, "retries": 0, **flags}))


def execute(plan: MosaicPlan) -> MosaicOutcome:
    with Lease.taken(plan.folder) as lease:
        return carry_out(plan, lease)


def make(
    out: Location, to: Location, scheduler: str, **flags: Any
) -> tuple[MosaicPlan, MosaicOutcome]:
    plan = plan_of(out, to, scheduler=scheduler, **flags)
    outcome = execute(plan)
    assert not outcome.failed, outcome.failed[0].message
    return plan, outcome


def stored(to: Path) -> dict[str, bytes]:
    store = to / "mosaic.zarr"
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("c/*/*/*"))
        if path.is_file()
    }


def dn(mosaic: xr.Dataset, time: int = 0) -> np.ndarray:
    """(bands, h, w) in DN, FILL where there is none."""
    return np.stack([encode(mosaic[band].values[time]) for band in BANDS])


def refused(kind: str, out: Path, to: Path, **flags: Any) -> str:
    with pytest.raises(S2SharpError) as caught:
        estimate(plan_of(out, to, **flags))
    assert caught.value.kind == kind
    assert caught.value.remedy
    return caught.value.message


@pytest.fixture(scope="module")
def cloudy(tmp_path_factory) -> Path:
    """A cube of one code: four dates, the middle one with cloud and shadow, gaps in another."""
    lon, lat = lonlat(WEST, ONE[WEST])
    here, there = ((float(lon[at]), float(lat[at])) for at in ((60, 60), (150, 30)))
    east = float(np.quantile(lon, 0.8))
    shots = [
        Shot("2024-06-03T10:10:31", bias=3_000, cloud=near(*there, 60, 3)),
        Shot(MIDDLE, cloud=near(*here, 150, 9)),
        Shot("2024-06-20T10:10:31", bias=6_000, missing=lambda a, _: a > east),
        Shot("2024-07-02T10:10:31", bias=1_000, cloud=lambda a, _: np.full(a.shape, 8)),
    ]
    return make_cube(tmp_path_factory.mktemp("cloudy"), ONE, shots)


@pytest.fixture(scope="module")
def border(tmp_path_factory) -> Path:
    """A cube of two codes that meet at 12° E: three dates in two periods, with clouds and gaps."""
    shots = [
        Shot("2024-06-14T10:10:31", bias=40, cloud=near(LON - 0.004, LAT + 0.002, 90, 9)),
        Shot("2024-06-24T10:10:31", cloud=near(LON, LAT, 60, 10)),
        Shot("2024-07-19T10:10:31", gain=1.1, missing=lambda x, y: x + 3 * (y - LAT) > LON + 0.006),
    ]
    return make_cube(tmp_path_factory.mktemp("border"), around_border(3_600, 3_600, 900), shots)


# What a pixel shows


def test_best_shows_the_clearest_observation_then_the_one_closest_to_the_middle(
    cloudy, tmp_path, scheduler
):
    """All of the rule, written out on the cube's own pixels."""
    plan, _ = make(cloudy, tmp_path, scheduler, dilate=120)
    mosaic, cube = open_mosaic(tmp_path), open_cube(cloudy)
    june = cube.sel(time="2024-06")
    clear = []
    for date in range(3):
        cloud, valid = (june[layer].values[date] for layer in ("cloud", "valid"))
        hidden = np.isin(cloud, (3, 8, 9, 10))
        away = distance_transform_edt(~hidden) if hidden.any() else np.full(cloud.shape, 1e9)
        edge = distance_transform_edt(valid) if (valid == 0).any() else np.full(cloud.shape, 1e9)
        limit = np.where(edge <= 12, np.minimum(edge, 100), 100)
        clear.append(np.ceil(np.clip(away - 12, 0, limit)))
    order = [1, 2, 0]  # 15 June is the closest to the middle of June, then the 20th, then the 3rd
    shown = np.array(order)[np.argmax(np.stack(clear)[order], axis=0)]
    source = mosaic.source.values[0]
    np.testing.assert_array_equal(source, shown + 1)
    assert min((source == k).sum() for k in (1, 2, 3)) > 100
    expected = np.stack([encode(june[b].values) for b in BANDS])
    picked = np.take_along_axis(expected, shown[None, None], axis=1)[:, 0]
    np.testing.assert_array_equal(dn(mosaic), picked)
    assert (mosaic.valid.values[0] == 1).all()
    listed = mosaic.attrs["s2sharp"]["sources"]
    assert [s["id"] for s in listed] == [s.id for s in plan.sources]
    assert listed[1] == {"id": f"S2A_20240615T101031_{WEST}", "datetime": MIDDLE, "epsg": WEST}


def test_a_period_without_a_clear_pixel_is_empty_and_says_so(cloudy, tmp_path, scheduler):
    _, outcome = make(cloudy, tmp_path, scheduler, publish=True)
    july = open_mosaic(tmp_path).sel(time="2024-07-01")
    assert not july.valid.any()
    assert not july.source.any()
    assert np.isnan(july.B02).all()
    assert outcome.counts["empty"] == 1
    assert [p.name for p in (tmp_path / "cogs").iterdir()] == ["2024-06_-1039_137"]


def test_a_cube_without_classification_shows_what_is_valid(tmp_path, scheduler):
    shots = [Shot("2024-06-01T10:10:31", bias=100), Shot(MIDDLE)]
    make_cube(tmp_path / "cube", ONE, shots)
    make(tmp_path / "cube", tmp_path / "to", scheduler)
    mosaic = open_mosaic(tmp_path / "to")
    assert (mosaic.source == 2).all()
    np.testing.assert_array_equal(dn(mosaic), dn(open_cube(tmp_path / "cube"), 1))


@pytest.mark.parametrize("by", ["best", "medoid"])
def test_spectra_are_whole(border, tmp_path, scheduler, by):
    """Every band of a pixel is of the acquisition that `source` names: each date has a bias of its own."""
    make(border, tmp_path, scheduler, by=by, period="all", crs="EPSG:3035")
    mosaic = open_mosaic(tmp_path)
    number, values = mosaic.source.values[0], dn(mosaic).astype(float)
    sources = mosaic.attrs["s2sharp"]["sources"]
    lon, lat = ground(mosaic)
    inside = number > 0
    assert len(np.unique(number)) >= 4
    checked = 0
    for index in np.unique(number[inside]):
        date = sources[index - 1]["datetime"][:10]
        gain, bias = {"2024-06-14": (1, 40), "2024-07-19": (1.1, 0)}.get(date, (1, 0))
        mine = inner(number == index)
        checked += int(mine.sum())
        for values_of, band in zip(values, BANDS, strict=True):
            error = values_of - (gain * land(lon, lat, band) + bias)
            assert np.abs(error[mine]).max(initial=0) < 15
    assert checked > inside.sum() / 2


def ground(mosaic: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    to_degrees = Transformer.from_crs(mosaic.rio.crs, 4326, always_xy=True)
    return to_degrees.transform(*np.meshgrid(mosaic.x.values, mosaic.y.values))


def inner(mask: np.ndarray) -> np.ndarray:
    """Pixels that are far enough from a mask's edge not to be interpolated across a gap."""
    return mask & (distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > 3)


def clear_stack(cube: xr.Dataset, dilate: float) -> np.ndarray:
    """(time, bands, h, w) in DN of what is valid and not near cloud; NaN else."""
    stack = np.stack([encode(cube[b].values).astype(float) for b in BANDS], axis=1)
    for date in range(cube.sizes["time"]):
        cloud, valid = (cube[layer].values[date] for layer in ("cloud", "valid"))
        hidden = np.isin(cloud, (3, 8, 9, 10))
        away = distance_transform_edt(~hidden) if hidden.any() else np.full(cloud.shape, 1e9)
        stack[date][:, (valid == 0) | (away <= dilate / 10)] = np.nan
    return stack


def test_a_median_is_numpys(cloudy, tmp_path, scheduler):
    make(cloudy, tmp_path, scheduler, by="median", dilate=40)
    mosaic = open_mosaic(tmp_path).isel(time=0)
    stack = clear_stack(open_cube(cloudy).sel(time="2024-06"), 40)
    np.testing.assert_array_equal(mosaic["count"], np.isfinite(stack[:, 0]).sum(axis=0))
    assert set(np.unique(mosaic["count"])) == {2, 3}
    assert "source" not in mosaic
    for i, band in enumerate(BANDS):
        expected = np.rint(np.nanmedian(stack[:, i], axis=0))
        np.testing.assert_array_equal(encode(mosaic[band].values), expected)


def test_a_medoid_is_the_observation_most_like_the_others(cloudy, tmp_path, scheduler):
    make(cloudy, tmp_path, scheduler, by="medoid", dilate=40)
    mosaic = open_mosaic(tmp_path)
    stack = clear_stack(open_cube(cloudy).sel(time="2024-06"), 40)
    order = [1, 2, 0]
    sums = np.zeros((3, *stack.shape[2:]))
    for i, j in np.ndindex(3, 3):
        distance = np.sqrt(((stack[order[i]] - stack[order[j]]) ** 2).sum(axis=0))
        sums[i] += np.nan_to_num(distance)
    sums[np.isnan(stack[order, 0])] = np.inf
    expected = np.array(order)[np.argmin(sums, axis=0)] + 1
    np.testing.assert_array_equal(mosaic.source.values[0], expected)
    assert (expected == 1).sum() > 1_000  # of three, the one between the other two
    picked = np.take_along_axis(stack, expected[None, None] - 1, axis=0)[0]
    np.testing.assert_array_equal(dn(mosaic), picked)


# No line of our making


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
    make(border, tmp_path / "a", scheduler, tile=512, **how)
    make(border, tmp_path / "b", scheduler, tile=1536, memory=0.5, **how)
    bbox = (LON - 0.03, LAT - 0.006, LON + 0.02, LAT + 0.008)
    make(border, tmp_path / "c", scheduler, tile=512, bbox=bbox, **how)
    one, other, part = (open_mosaic(tmp_path / x).load() for x in "abc")
    assert one.valid.any()
    xr.testing.assert_equal(one, other)
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


@pytest.mark.parametrize("flags", [{}, {"crs": "EPSG:3035"}], ids=["copied", "warped"])
def test_the_border_of_two_codes_is_no_line(tmp_path, scheduler, flags):
    make_cube(tmp_path / "cube", around_border(1_600, 1_600, 1_000), [Shot(MIDDLE)])
    make(tmp_path / "cube", tmp_path / "to", scheduler, **flags)
    mosaic = open_mosaic(tmp_path / "to")
    source = mosaic.source.values[0]
    assert set(np.unique(source)) == {0, 1, 2}
    for values in dn(mosaic):
        across, parallel = lines(values, source)
        assert len(parallel) == 100
        assert across <= 1.2 * np.median(parallel)


@pytest.mark.parametrize("crs", [None, "EPSG:3035"])
def test_codes_meet_where_their_zones_do(tmp_path, scheduler, crs):
    """Whatever the area, and not where one ends: what was sharpened there saw nothing beyond."""
    make_cube(tmp_path / "cube", around_border(1_000, 1_000, 600), [Shot(MIDDLE)])
    make(tmp_path / "cube", tmp_path / "to", scheduler, crs=crs)
    mosaic = open_mosaic(tmp_path / "to")
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
def test_pixels_lie_where_the_grid_says(tmp_path, scheduler, crs, resolution, most):
    """Of a known land, on any grid: half a pixel off would be an error of fifty DN."""
    make_cube(tmp_path / "cube", around_border(900, 900, 500), [Shot(MIDDLE)], bands=BANDS[:1])
    make(tmp_path / "cube", tmp_path / "to", scheduler, crs=crs, resolution=resolution)
    mosaic = open_mosaic(tmp_path / "to")
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


# What it is made from


def test_what_acquisitions_differ_by_is_measured_and_told(border, tmp_path, scheduler):
    plan, outcome = make(border, tmp_path, scheduler, period="all")
    told = json.loads((tmp_path / "differences.json").read_text())
    assert told["bands"] == list(BANDS)
    found = {(p["first"], p["second"]): p for p in told["pairs"]}
    assert len(found) == len(outcome.pairs) > 6
    for epsg in (WEST, EAST):
        pair = found[f"S2A_20240624T101031_{epsg}", f"S2A_20240614T101031_{epsg}"]
        assert pair["differ_in"] == "dates"
        assert pair["days"] == 10
        assert pair["samples"] > 1_000
        assert pair["median"] == dict.fromkeys(BANDS, 40.0)
    codes = [p for p in told["pairs"] if p["differ_in"] == "codes"]
    assert len(codes) == 3
    for pair in codes:
        assert (
            max(map(abs, pair["median"].values())) < 25
        )  # the same land, sampled where grids differ
    assert {p["differ_in"] for p in told["pairs"]} == {"codes", "dates"}
    assert plan.sources[0].take == "S2A_20240614T101031"


def test_periods_hold_every_acquisition_once():
    times = (
        "2023-12-31T23:59:59",
        "2024-02-29T12:00:00",
        "2024-03-01T00:00:00",
        "2024-12-31T01:00:00",
    )
    sources = [CubeDate(f"T{i}_{WEST}", t, WEST, i) for i, t in enumerate(times)]
    expected = {
        "month": ["2023-12", "2024-02", "2024-03", "2024-12"],
        "year": ["2023", "2024"],
        "16D": ["2023-12-19", "2024-02-18", "2024-12-18"],
        "30D": ["2023-12-27", "2024-01-31", "2024-03-01", "2024-12-26"],
        "all": ["all"],
    }
    for kind, names in expected.items():
        found = periods(kind, sources)
        assert [p.name for p in found] == names
        assert [sum(p.holds(s) for p in found) for s in sources] == [1] * 4
    last = periods("30D", sources)[-1]
    assert last.end == "2025-01-01T00:00:00"  # the last of a year is shorter


def test_datatakes_close_to_the_middle_come_first_with_all_their_codes():
    sources = [
        CubeDate("B_32632", "2024-06-10T10:00:00", WEST, 0),
        CubeDate("B_32633", "2024-06-10T10:00:20", EAST, 0),
        CubeDate("A_32633", "2024-06-22T10:00:00", EAST, 1),
        CubeDate("C_32632", "2024-06-14T10:00:00", WEST, 1),
        CubeDate("D_32632", "2024-07-14T10:00:00", WEST, 2),
    ]
    (june, _) = periods("month", sources)
    takes = by_preference(june, sources)
    assert [[s.id for s in take] for take in takes] == [
        ["C_32632"],
        ["B_32632", "B_32633"],
        ["A_32633"],
    ]


# The store, and what lies beside it


@pytest.fixture(scope="module")
def published(border, tmp_path_factory, scheduler) -> Path:
    to = tmp_path_factory.mktemp("published")
    make(border, to, scheduler, publish=True, tile=512)
    return to


def test_others_open_it_without_us(published):
    ours = open_mosaic(published).load()
    plain = xr.open_zarr(published / "mosaic.zarr", decode_coords="all")
    assert set(plain.data_vars) == {*BANDS, "valid", "source"}
    assert plain.rio.crs.to_epsg() == plain.B02.odc.geobox.crs.epsg == WEST
    assert plain.B02.odc.geobox.resolution.x == 10
    np.testing.assert_array_equal(plain.time.values, np.array(["2024-06", "2024-07"], "M8[ns]"))
    bounds = np.array([["2024-06", "2024-07"], ["2024-07", "2024-08"]], "M8[ns]")
    np.testing.assert_array_equal(plain.time_bnds.values, bounds)
    same = plain.sel(x=ours.x, y=ours.y)
    for band in BANDS:
        np.testing.assert_allclose(same[band], ours[band], rtol=1e-6)
        assert ours[band].dtype == np.float32
    assert ours.B02.rio.crs.to_epsg() == WEST
    root = zarr.open_group(published / "mosaic.zarr", mode="r")
    assert root.attrs["s2sharp"]["status"] == "complete"
    assert root.metadata.consolidated_metadata is not None


def test_overviews_show_the_same_ground_more_coarsely(published):
    fine, coarse = open_mosaic(published).load(), open_mosaic(published, level=1).load()
    assert coarse.rio.resolution() == (20, -20)
    again = fine.rio.reproject_match(coarse.isel(time=0))  # nearest
    both = (again.valid.values == 1) & (coarse.valid.values == 1)
    assert both.mean() > 0.5
    assert abs(again.B02.values - coarse.B02.values)[both].mean() < 0.03


def test_a_box_crops_before_anything_is_read(published):
    whole = open_mosaic(published)
    part = open_mosaic(published, bbox=(LON - 0.01, LAT - 0.003, LON + 0.01, LAT + 0.003))
    assert 0 < part.x.size < whole.x.size
    xr.testing.assert_equal(part, whole.sel(x=part.x, y=part.y))
    with pytest.raises(S2SharpError) as caught:
        open_mosaic(published, bbox=(0, 0, 1, 1))
    assert caught.value.kind == "outside"


def test_cogs_of_the_tiles_are_valid_and_hold_the_stores_pixels(published):
    mosaic = open_mosaic(published).load()
    files = sorted((published / "cogs").rglob("*.tif"))
    folders = {file.parent for file in files}
    assert len(folders) >= 4
    for file in files:
        assert cog_validate(file, strict=True, quiet=True) == (True, [], [])
    covered = 0
    for folder in folders:
        period = folder.name[:7]
        for variable in (*BANDS, "source"):
            with rasterio.open(folder / f"{variable}.tif") as cog:
                left, bottom, right, top = cog.bounds
                assert cog.crs.to_epsg() == WEST
                part = mosaic[variable].sel(
                    time=f"{period}-01", x=slice(left, right), y=slice(top, bottom)
                )
                pixels = part.values if variable == "source" else encode(part.values)
                np.testing.assert_array_equal(cog.read(1), pixels)
        covered += int((mosaic.valid.sel(time=f"{period}-01", x=part.x, y=part.y) == 1).sum())
    assert covered == int(mosaic.valid.sum())


def test_the_catalogue_is_valid_stac(published):
    collection = pystac.Collection.from_file(published / "stac" / "collection.json")
    items = list(collection.get_items())
    assert {i.id for i in items} == {f.name for f in (published / "cogs").iterdir()}
    for item in items:
        validate_offline(item.to_dict())
        period = item.id[:7]
        assert item.properties["start_datetime"].startswith(f"{period}-01T00:00:00")
        assert item.properties["end_datetime"][:10] in {"2024-06-30", "2024-07-31"}
        assert ProjectionExtension.ext(item).code == f"EPSG:{WEST}"
        assert item.properties["s2sharp:sources"]
        for asset in (*BANDS, "source", "mosaic"):
            assert (Path(item.assets[asset].get_absolute_href())).exists()
    validate_offline(collection.to_dict())


# Continued


def test_the_same_command_again_does_nothing(border, published, scheduler):
    before, records = stored(published), ledger(published)
    _, outcome = make(border, published, scheduler, publish=True, tile=512)
    assert set(outcome.counts) == {"skipped"}
    assert (stored(published), ledger(published)) == (before, records)


def test_what_lies_around_its_pixels_is_made_again(border, published, tmp_path, scheduler):
    to = shutil.copytree(published, tmp_path / "to")
    store = to / "mosaic.zarr"
    (store / "time" / "c" / "0").unlink()
    (store / "x2" / "valid" / "zarr.json").write_bytes(b"\xff")
    (store / "zarr.json").write_bytes(b"")
    about = store / "B05" / "zarr.json"
    about.write_text(about.read_text().replace("0.0001", "0.0007"))
    count, (broken,) = verify_mosaic(to)
    assert count > 0
    assert [what.partition(" ")[0] for what in broken.what] == [
        "B05/zarr.json",
        "time/c/0",
        "x2/valid/zarr.json",
        "zarr.json",
    ]
    _, outcome = make(border, to, scheduler, publish=True, tile=512)
    assert not outcome.failed
    assert verify_mosaic(to)[1] == []
    assert stored(to) == stored(published)
    assert open_mosaic(to).load().identical(open_mosaic(published).load())


def ledger(to: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for path in (to / "ledger").rglob("*.*")
        if path.is_file()
    }


def test_a_mosaic_that_was_killed_is_continued(border, tmp_path, scheduler):
    flags = {"tile": 512, "period": "16D", "crs": "EPSG:3035"}
    make(border, tmp_path / "undisturbed", scheduler, **flags)
    to = tmp_path / "killed"
    words = ["mosaic", str(border), "--to", str(to), "--scheduler", scheduler, "--no-publish"]
    words += [w for k, v in flags.items() for w in (f"--{k}", str(v))]
    command = subprocess.Popen(
        [sys.executable, "-m", "s2sharp.cli.app", *words], stdout=subprocess.PIPE
    )
    while not list(to.glob("ledger/*/x1_*.ok")):
        assert command.poll() is None, command.stdout.read()
        time.sleep(0.02)
    command.kill()
    command.wait()
    with Client(scheduler) as client:
        while any(client.processing().values()):  # the tile that is at work
            time.sleep(0.05)
    done = {path: at for path, at in ledger(to).items() if "x1_" in path}
    tiles = sum(1 for _ in plan_of(border, to, **flags).tiles())
    assert 0 < len(done) < tiles
    _, outcome = make(border, to, scheduler, **flags)
    assert outcome.counts["skipped"] == len(done)
    after = ledger(to)
    assert {path: after[path] for path in done} == done
    assert stored(to) == stored(tmp_path / "undisturbed")
    xr.testing.assert_equal(open_mosaic(to).load(), open_mosaic(tmp_path / "undisturbed").load())
    assert not [p for p in to.rglob(".*") if p.is_file()]


def test_what_the_cube_has_got_since_is_taken_in_and_nothing_else_is_redone(tmp_path, scheduler):
    shots = [Shot(MIDDLE), Shot("2024-07-11T10:10:31", bias=200)]
    make_cube(tmp_path / "a", ONE, shots)
    make_cube(
        tmp_path / "b",
        ONE,
        [*shots, Shot("2024-05-12T10:10:31", bias=400), Shot("2024-06-14T10:10:31")],
    )
    out, to = tmp_path / "cube", tmp_path / "to"
    out.symlink_to(tmp_path / "a")
    make(out, to, scheduler)
    before = stored(to)
    seen = open_mosaic(to)  # by a reader who has it open meanwhile
    out.unlink()
    out.symlink_to(tmp_path / "b")
    _, outcome = make(out, to, scheduler)
    assert outcome.counts == {"ok": 2, "skipped": 1}  # May is new, June has another date; not July
    after = stored(to)
    assert {name: after[name] for name in before if "c/1/" in name} == {
        name: content for name, content in before.items() if "c/1/" in name
    }
    mosaic = open_mosaic(to)
    assert [str(t)[:7] for t in mosaic.time.values] == ["2024-05", "2024-06", "2024-07"]
    fresh = tmp_path / "fresh"
    make(tmp_path / "b", fresh, scheduler)
    for variable in (*BANDS, "valid"):
        np.testing.assert_array_equal(mosaic[variable], open_mosaic(fresh)[variable])
    names = [s["id"] for s in mosaic.attrs["s2sharp"]["sources"]]
    assert names[:2] == [name(shot, WEST) for shot in shots]
    assert (mosaic.source.sel(time="2024-07-01") == 2).all()
    assert seen.sizes["time"] == 2


def test_it_follows_a_run_unit_by_unit(archive, tmp_path, scheduler):
    """Of a real run, whose ledger tells where there are pixels, and which have been made anew."""
    out, to = tmp_path / "out", tmp_path / "to"
    settings = run_config(archive, out, scheduler, bands="B02,B05,B11")
    run_cube(settings)
    _, outcome = make(out, to, scheduler)
    cube, mosaic = open_cube(out).load(), open_mosaic(to).load()
    good = (cube.valid == 1).values
    np.testing.assert_array_equal(mosaic.valid.values == 1, good)
    for band in BANDS:
        np.testing.assert_array_equal(mosaic[band].values[good], cube[band].values[good])
    _, outcome = make(out, to, scheduler)
    assert outcome.counts == {"skipped": 1}
    # A unit that is made anew under another key is taken in.
    record = next((out / "ledger").glob("*/x1_*.ok"))
    unit, key, status = record.name.rsplit(".", 2)
    record.rename(record.with_name(f"{unit}.{key[::-1]}.{status}"))
    _, outcome = make(out, to, scheduler)
    assert outcome.counts == {"ok": 1}


def test_cube_and_mosaic_may_lie_in_an_object_store(cloudy, tmp_path, s3, s3_scheduler, scheduler):
    out, to = place("s3://bucket/mosaics/cloudy"), place("s3://bucket/mosaics/mosaic")
    for file in files(cloudy):
        write_bytes(out / file, (cloudy / file).read_bytes())
    flags = {"tile": 512, "publish": True, "period": "all"}
    make(out, to, s3_scheduler, **flags)
    make(cloudy, tmp_path, scheduler, **flags)
    assert set(files(to)) == set(files(tmp_path))
    xr.testing.assert_equal(open_mosaic(str(to)).load(), open_mosaic(tmp_path).load())
    remote = pystac.Collection.from_dict(json.loads(read_text(to / "stac" / "collection.json")))
    assert len(remote.get_item_links()) == len(list((tmp_path / "cogs").iterdir()))
    cog = sorted(file for file in files(to) if file.endswith("B05.tif"))[0]
    assert read_bytes(to / cog) == (tmp_path / cog).read_bytes()
    s3.requests.clear()
    _, outcome = make(out, to, s3_scheduler, **flags)
    assert set(outcome.counts) == {"skipped"}


@pytest.mark.parametrize("kind", ["mosaic", "run"])
def test_what_killed_writers_left_behind_goes(border, published, tmp_path, scheduler, kind):
    """With the next run; and before, when it is asked for."""
    to = shutil.copytree(published, tmp_path / "to")
    before = files(to)
    drafts = ("ledger/2024-06/.x1_0_0.k.ok.1.partial", "differences/.2024-06.json.1.partial")
    drafts += ("stac/items/.2024-06_1_1.json.1.partial", "cogs/.x.1.partial")
    for draft in drafts:
        (to / draft).write_text("torn")
    (to / "notes.partial").write_text("kept")
    if kind == "run":
        make(border, to, scheduler, publish=True, tile=512)
    else:
        for draft in (".mosaic.json.1.partial", ".differences.json.1.partial"):
            (to / draft).write_text("torn")
        (to / "cogs" / ".partial-x").mkdir()
        (to / "cogs" / ".partial-x" / "raw.tif").write_text("torn")
        (to / "mosaic.zarr" / "c.1.partial").write_text("torn")
        code, text = call("clean", str(to))
        assert code == 0, text
        assert "removed 8 × a draft" in text
    now = files(to)
    assert [n for n in now if ".partial" in n] == ["notes.partial"]
    assert {n for n in before if not n.startswith("lease/")} <= now.keys()


# Bad input


def test_a_tile_of_a_plan_that_is_no_more_leaves_no_record(border, tmp_path):
    plan = plan_of(border, tmp_path).freeze()
    tile = next(plan.tiles())
    name, key = plan.name(tile), plan.key(tile)
    job = TileJob(tmp_path, "another", "mosaic", tile, (), name, key)
    record = do_tile(job, 3)
    assert (record.unit, record.status, record.kind, record.attempt) == (
        name,
        "failed",
        "other-run",
        3,
    )
    assert not list(Ledger(tmp_path / "ledger").records())


def test_a_shard_that_cannot_be_read_costs_its_tile(border, tmp_path, scheduler):
    out, to = shutil.copytree(border, tmp_path / "cube"), tmp_path / "to"
    victim = sorted((out / "cube.zarr" / str(WEST) / "B05" / "c" / "0" / "0").iterdir())[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    plan = plan_of(out, to, tile=512, scheduler=scheduler)
    outcome = execute(plan)
    failed = {record.unit for record in outcome.failed}
    assert any("/x1_" in unit for unit in failed)
    assert f"B05 of S2A_20240614T101031_{WEST}" in outcome.failed[0].message
    assert outcome.counts["ok"] > outcome.counts["failed"] > 0
    assert open_mosaic(to).attrs["s2sharp"]["status"] == "partial"
    found = mosaic_status(to)
    assert {record.unit for record in found.failed} == failed
    assert found.left == len(failed)
    # Only so many may fail; and what happens is told as it is of a run.
    log = tmp_path / "events.jsonl"
    words = ["mosaic", str(out), "--to", str(to), "--tile", "512", "--scheduler", scheduler]
    words += ["--no-publish", "--retries", "0", "--max-failures", "0", "--events", str(log)]
    code, text = call(*words)
    assert code == 4, text
    assert "more than 0 tiles failed (--max-failures), and the rest was not begun" in text
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (lines[0]["phase"], lines[-1]["phase"]) == ("plan", "done")
    assert "cluster" in [line["phase"] for line in lines]
    assert lines[-1]["stopped"]
    done = outcome.counts["ok"] + outcome.counts["empty"]
    assert lines[-1]["units"] == {"skipped": done, "failed": 1}
    skipped = {line["unit"] for line in lines if line["event"] == "skipped"}
    assert skipped == {r.unit for r in Ledger(to / "ledger").records() if "/x1_" in r.unit} - failed
    victim.write_bytes(whole)
    _, outcome = make(out, to, scheduler, tile=512)
    make(border, tmp_path / "whole", scheduler, tile=512)
    assert stored(to) == stored(tmp_path / "whole")
    assert not [r for r in Ledger(to / "ledger").records() if r.status == "failed"]
    code, text = call("status", str(to), str(tmp_path / "whole"), "--json")
    assert code == 0
    assert [(one["mosaic"], one["left"]) for one in json.loads(text[text.index("[") :])] == [
        ("complete", 0)
    ] * 2
    assert "is complete" in call("status", str(to))[1]


def test_bad_input_is_refused_by_name(border, tmp_path):
    to = tmp_path / "to"
    assert str(tmp_path) in refused("not-a-cube", tmp_path / "nothing", to)
    assert "EPSG:999999" in refused("bad-config", border, to, crs="EPSG:999999")
    assert "two axes" in refused("bad-config", border, to, crs="EPSG:4978")
    assert "degree" in refused("bad-config", border, to, crs="EPSG:4326")
    assert "B12" in refused("bad-config", border, to, bands="B02,B12")
    assert "B99" in refused("bad-config", border, to, bands="B99")
    assert "512" in refused("bad-config", border, to, tile=1000)
    assert "16D" in refused("bad-config", border, to, period="fortnight")
    assert "median" in refused("bad-config", border, to, by="median", feather=50)
    assert "angles" in refused(
        "bad-config", border, to, crs="EPSG:4326", resolution=1e-4, feather=50
    )
    assert "5120" in refused("bad-config", border, to, feather=9_000)
    assert "meet" in refused("outside", border, to, bbox=(0, 0, 1, 1))
    assert "another folder" in refused("bad-config", border, border)
    assert not to.exists()


def test_another_mosaic_is_not_written_over(border, published, tmp_path):
    before = stored(published)
    said = refused("other-run", border, published, tile=512, by="median")
    assert "by: best → median" in said
    said = refused("other-run", border, published, tile=512, bbox=(LON - 0.01, 47, LON, 49))
    assert "bbox" in said
    said = refused("other-run", cube_of_other_dates(tmp_path), published, tile=512)
    assert "acquisitions that the cube lacks" in said or "area" in said
    assert stored(published) == before


def cube_of_other_dates(folder: Path) -> Path:
    return make_cube(
        folder / "other", around_border(3_600, 3_600, 900), [Shot("2020-01-01T10:00:00")]
    )


def test_a_grid_that_is_too_large_is_shown_before_it_is_made(border, tmp_path):
    code, text = call(
        "mosaic", str(border), "--to", str(tmp_path / "to"), "--resolution", "0.1", "--plan"
    )
    assert code == 0, text
    assert re.search(r"\d{5} × \d{5} px of 0.1 m", text)
    assert re.search(r"Writes .* GB", text)
    assert not (tmp_path / "to").exists()


def test_a_mosaic_of_days_or_terabytes_has_to_be_confirmed(border, tmp_path, monkeypatch):
    to = tmp_path / "to"
    monkeypatch.setattr("s2sharp.planning.cost._BIG", 1e3)
    code, text = call("mosaic", str(border), "--to", str(to))
    assert (code, to.exists()) == (2, False)
    assert "This mosaic would write about" in text
    assert "--yes" in text
    assert call("mosaic", str(border), "--to", str(to), "--yes", "--no-publish")[0] == 0


# The command


def test_the_command_teaches_and_tells(border, tmp_path, scheduler):
    code, text = call("mosaic", "--help")
    assert code == 0
    for word in ("--period", "--by", "median", "source", "EPSG:3035", "--feather", "--plan"):
        assert word in text
    code, text = call(
        *["mosaic", str(border), "--to", str(tmp_path / "to"), "--scheduler", scheduler],
        *["--crs", "EPSG:3035", "--tile", "1024"],
    )
    assert code == 0, text
    for fact in ("EPSG:3035", "predicted", "2 ok", "two dates of one orbit", "open_mosaic("):
        assert fact in text
    page = tmp_path / "to" / "report.html"
    assert str(page) in text
    assert "data:image/png" in page.read_text()
    code, text = call("mosaic", str(tmp_path), "--to", str(tmp_path / "to"))
    assert code == 1
    assert "no cube" in text
    code, text = call("mosaic", str(border), "--to", str(tmp_path / "to"), "--by", "magic")
    assert code == 2
    assert "by" in text
