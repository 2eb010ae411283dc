"""Sharpening whatever can be opened, and going on with what comes of it."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import s2sharp
import xarray as xr

import s2sharp_core.sharpening
from s2sharp_core.bands import BY_GSD

from .opened import OFFSET, loaded_by_odc, written
from .products import write_safe


@pytest.fixture(scope="module", params=[32633, 32756], ids=["north", "south"])
def item(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    return written(tmp_path_factory.mktemp("scene"), request.param)


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    return written(tmp_path_factory.mktemp("north"), 32633)


@pytest.fixture(scope="module")
def loaded(north: pystac.Item) -> list[xr.Dataset]:
    return loaded_by_odc(north)


def test_sharpen_takes_all_of_them_alike(
    north: pystac.Item, loaded: list[xr.Dataset], tmp_path: Path
) -> None:
    safe = write_safe(tmp_path, north, "2A", -1000)
    scene = s2sharp.open_scene(north).load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = s2sharp_core.sharpen(scene, "bicubic")
        for what in (scene, north, safe, s2sharp.open_scene(loaded, **OFFSET)):
            xr.testing.assert_equal(s2sharp.sharpen(what, "bicubic").compute(), truth)
        xr.testing.assert_equal(s2sharp.sharpen(loaded, "bicubic", **OFFSET).compute(), truth)
        for known in (scene, north):
            with pytest.raises(s2sharp.S2SharpError, match="their own scale and offset"):
                s2sharp.sharpen(known, "bicubic", **OFFSET)


def test_a_lazy_result_goes_into_a_zarr_as_it_is(
    item: pystac.Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks begin where windows do; chunks where the scene does, the same for all bands."""
    monkeypatch.setattr(s2sharp_core.sharpening, "_LAZY", 8)  # several blocks in a small scene
    scene = s2sharp.open_scene(item)
    bands = s2sharp.sharpen(scene, "bicubic", bands="red 20m", window=8)
    assert set(bands) == {"B04", *BY_GSD[20]}
    assert bands.attrs == scene.attrs
    assert bands.attrs["datetime"] == "2024-06-01T10:10:31"
    for name, sizes in bands.chunks.items():
        assert set(sizes[:-1]) == {48}, name
    bands.to_zarr(tmp_path / "bands.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "bands.zarr", consolidated=False) as back:
        np.testing.assert_array_equal(back.B05.values, bands.B05.values)


def test_an_index_says_which_band_is_near_the_one_that_it_lacks(item: pystac.Item) -> None:
    bands = s2sharp.sharpen(item, "bicubic", bands=["b8a", "swir16"])
    with pytest.raises(s2sharp.S2SharpError, match=r"index\('NDMI', N='B8A'\)"):
        bands.s2sharp.index("NDMI")
    with pytest.raises(s2sharp.S2SharpError) as error:
        bands[["B8A"]].s2sharp.index("NDMI", N="B8A")
    assert "beside" not in error.value.remedy


def test_what_was_sharpened_can_do_what_a_cube_can(item: pystac.Item, tmp_path: Path) -> None:
    bands = s2sharp.sharpen(item, "bicubic", bands=["B04", "B08", "B11"])
    for call in ("index", "rgb", "to_cog"):
        assert call in repr(bands.s2sharp)
        assert call in dir(bands.s2sharp)
    made = bands.s2sharp.index("NDMI").compute()
    truth = ((bands.B08 - bands.B11) / (bands.B08 + bands.B11)).compute()
    np.testing.assert_allclose(made.values, truth.values, rtol=1e-5, equal_nan=True)
    files = bands.s2sharp.to_cog(tmp_path / "cogs")
    assert {file.name for file in (tmp_path / "cogs").iterdir()} == {f"{b}.tif" for b in bands}
    with rasterio.open(files[-1]) as file:
        assert file.transform == bands.rio.transform()
        np.testing.assert_allclose(
            file.read(1, masked=True).filled(0) * 1e-4, bands.B11.fillna(0), atol=6e-5
        )
    with pytest.raises(s2sharp.S2SharpError, match="only a cube has it"):
        bands.s2sharp.clear()
    with pytest.raises(s2sharp.S2SharpError, match="does not name its run"):
        bands.s2sharp.before()


def test_bands_that_a_method_reads_beside_are_told_apart_from_those_asked_for(
    loaded: list[xr.Dataset],
) -> None:
    scene = s2sharp.open_scene([loaded[0], loaded[1][["B11", "B12"]]], **OFFSET)
    with pytest.raises(s2sharp.S2SharpError, match="B8A, which s2net-m reads to sharpen B11") as it:
        s2sharp.sharpen(scene, bands=["B11"])
    assert "another method" in it.value.remedy
    assert s2sharp.sharpen(scene, "bicubic", bands=["B11"]).B11.notnull().any()


def test_who_only_sharpens_has_the_accessor(north: pystac.Item) -> None:
    program = (
        "import sys, s2sharp; b = s2sharp.sharpen(sys.argv[1], 'bicubic', bands=['B08', 'B11']); "
        "print(b.s2sharp.index('NDMI').name)"
    )
    words = [sys.executable, "-c", program, north.get_self_href()]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "NDMI", said.stderr
