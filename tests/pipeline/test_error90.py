"""A run with --error90 has a half-width beside every sharpened band: in the cube, its overviews, COGs and STAC items."""

from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
import zarr
from s2sharp.cube.open import open_cube
from s2sharp.planning.make import make_plan
from s2sharp.planning.resume import resume

from s2sharp_core import S2SharpError

from .runs import config, run

CODE = "32633"
SMALL = {"bands": "B02,B05,B09", "error90": True}
LAYERS = ("B05_error90", "B09_error90")


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("error90") / "out"
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert not outcome.failed
    return out


def test_a_half_width_is_there_where_something_was_sharpened_in_the_bands_own_unit(
    whole: Path,
) -> None:
    cube = open_cube(whole).isel(time=0).load()
    assert {name for name in cube.data_vars if name.endswith("_error90")} == set(LAYERS)
    valid = cube["valid"].values == 1
    for name in LAYERS:
        assert cube[name].dtype == np.float32
        assert (np.isfinite(cube[name].values) == valid).all()
        # From 1 DN to a third of reflectance, the scale of errors.
        assert 1e-4 <= np.nanmin(cube[name]) < np.nanmax(cube[name]) < 0.33
    raw = zarr.open_group(whole / "cube.zarr", mode="r")[CODE]["B05_error90"]
    assert raw.dtype == np.uint16
    # Without our code, too.
    other = xr.open_zarr(whole / "cube.zarr", group=CODE)
    np.testing.assert_allclose(
        other["B05_error90"].isel(time=0).sel(x=cube.x, y=cube.y), cube["B05_error90"], atol=1e-6
    )


def test_it_has_no_seams(whole: Path, archive: Path, scheduler: str, tmp_path: Path) -> None:
    west, south, east, north = open_cube(whole).rio.transform_bounds("EPSG:4326")
    part = (west + 0.3 * (east - west), south, east, south + 0.6 * (north - south))
    run(config(archive, tmp_path / "part", scheduler, bbox=part, shard=32, **SMALL))
    one, other = open_cube(whole).isel(time=0), open_cube(tmp_path / "part").isel(time=0)
    same = one.sel(x=other.x, y=other.y).load()
    for name in (*LAYERS, "B05", "B09"):
        np.testing.assert_array_equal(same[name].values, other[name].values)


def test_overviews_show_the_root_mean_square_of_what_is_there(whole: Path) -> None:
    group = zarr.open_group(whole / "cube.zarr", mode="r")[CODE]
    fine, coarse = (np.asarray(group[name][0]) for name in ("B05_error90", "x2/B05_error90"))
    rows, cols = (n // 2 * 2 for n in fine.shape)
    quads = fine[:rows, :cols].reshape(rows // 2, 2, cols // 2, 2).astype(float)
    there = (quads > 0).sum(axis=(1, 3))
    expected = np.sqrt((quads**2).sum(axis=(1, 3)) / np.maximum(there, 1))
    assert (coarse[coarse > 0] >= fine[fine > 0].min()).all()
    np.testing.assert_allclose(coarse[: rows // 2, : cols // 2], expected, atol=0.51)


def test_its_cogs_are_the_cube_and_stac_says_what_they_are(whole: Path) -> None:
    item = pystac.Item.from_file(str(next((whole / "stac" / "items").glob("*.json"))))
    cube = zarr.open_group(whole / "cube.zarr", mode="r")[CODE]
    for name in LAYERS:
        asset = item.assets[name]
        assert "uncertainty" in asset.roles
        assert asset.extra_fields["raster:bands"][0]["scale"] == 1e-4
        with rasterio.open(asset.get_absolute_href()) as file:
            assert (file.dtypes[0], file.nodata, file.scales[0]) == ("uint16", 0, 1e-4)
            pixels = file.read(1)
        assert np.isin(pixels, np.asarray(cube[name][0])).all()
        assert pixels.max() > 0


def test_a_run_with_it_is_another_run(whole: Path, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(S2SharpError, match="error90: True → False"):
        resume(config(archive, whole, bands="B02,B05,B09"))
    plans = [
        make_plan(config(archive, tmp_path, **{**SMALL, "error90": asked}))
        for asked in (True, False)
    ]
    keys = [{plan.key(unit) for unit in plan.units()} for plan in plans]
    assert not keys[0] & keys[1]


def test_bands_that_are_measured_have_none(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(S2SharpError, match="nothing to judge"):
        config(archive, tmp_path, bands="B02,B03", error90=True)
