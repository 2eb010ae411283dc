"""What a mosaic shows: clear, whole spectra of the dates that are preferred."""

import json

import numpy as np
import pytest
import xarray as xr
from s2sharp import open_cube, open_mosaic
from s2sharp.cube.layout import encode
from s2sharp.mosaic.periods import by_preference, periods
from s2sharp.mosaic.sources import CubeDate
from scipy.ndimage import distance_transform_edt

from .cubes import BANDS, Shot, land, make_cube
from .mosaics import (
    EAST,
    MIDDLE,
    ONE,
    WEST,
    dn,
    ground,
    inner,
    make,
)

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
