"""What a cube can do once it is open, and the formats that take it."""

import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import s2sharp
import xarray as xr
from s2sharp.demo.synthetic import COLLECTION, simulate, write_catalog
from s2sharp.publish.stretch import limits_of, tones

from s2sharp_core import BANDS
from s2sharp_core.bands import HIDING
from s2sharp_core.lattice import Box, Lattice

from .cubes import Shot, make_cube
from .pictures import noise, scenes

EPSG = 32633


def area(cells: int = 60) -> Box:
    corner = Lattice.of(EPSG).around((600_000, 5_400_000, 600_060, 5_400_060))
    return Box(corner.row0, corner.row0 + cells, corner.col0, corner.col0 + cells)


def classes(lon: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Vegetation, with a cloud of medium probability in the west and a shadow in the middle."""
    side = (lon - lon.min()) / np.ptp(lon)
    return np.select([side < 0.3, side < 0.5], [8, 3], 4)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dates = [f"2024-0{month}-01T10:10:31" for month in (5, 6, 7)]
    shots = [Shot(date, cloud=classes) for date in dates]
    return make_cube(tmp_path_factory.mktemp("cube"), {EPSG: area()}, shots)


@pytest.fixture(scope="module")
def run_of(
    tmp_path_factory: pytest.TempPathFactory, scheduler: str
) -> tuple[Path, Path, xr.Dataset]:
    """A small run over a synthetic catalog."""
    folder = tmp_path_factory.mktemp("run")
    catalog, _ = simulate(folder / "archive", cells=12, tiles=1)
    cube = s2sharp.run(
        bbox=(10, 40, 20, 55),
        datetime="2024",
        out=folder / "out",
        catalog=str(catalog),
        collection=COLLECTION,
        method="bicubic",
        publish=False,
        scheduler=scheduler,
    )
    return folder / "archive", folder / "out", cube


def test_a_part_of_a_cube_is_opened_by_bands_and_time(out: Path) -> None:
    part = s2sharp.open_cube(out, bands=["B05"], time="2024-06/..")
    assert [str(t)[:7] for t in part.time.values] == ["2024-06", "2024-07"]
    assert {name for name in part.data_vars if name in BANDS} == {"B05"}
    assert {"valid", "cloud"} <= set(part.data_vars)
    whole = s2sharp.open_cube(out)
    xr.testing.assert_equal(part.B05.load(), whole.B05[1:].load())
    with pytest.raises(s2sharp.S2SharpError, match="has no B12"):
        s2sharp.open_cube(out, bands=["B12"])
    with pytest.raises(s2sharp.S2SharpError, match="nothing between"):
        s2sharp.open_cube(out, time="2023")


def test_an_area_hides_what_is_outside(out: Path, tmp_path: Path) -> None:
    cube = s2sharp.open_cube(out)
    west, south, east, north = cube.rio.transform_bounds(4326)
    x0, x1, y0, y1 = west, (west + east) / 2, south, (south + north) / 2
    triangle = [[x0, y0], [x1, y0], [x0, y1], [x0, y0]]
    file = tmp_path / "area.geojson"
    file.write_text(f'{{"type": "Polygon", "coordinates": [{triangle}]}}')
    part = s2sharp.open_cube(out, area=file)
    assert part.sizes["x"] < 0.6 * cube.sizes["x"]
    share = float((part.valid == 1).mean())
    assert 0.4 < share < 0.6
    assert float(np.isnan(part.B02).mean()) == pytest.approx(1 - share, abs=0.01)
    assert part.valid.dtype == cube.valid.dtype
    with pytest.raises(s2sharp.S2SharpError, match="one of them"):
        s2sharp.open_cube(out, area=file, bbox=(1, 2, 3, 4))


def test_bands_say_what_they_are(out: Path) -> None:
    band = s2sharp.open_cube(out).B11
    assert band.attrs["common_name"] == "swir16"
    assert band.attrs["wavelength"] == BANDS["B11"].wavelength
    assert band.attrs["long_name"] == "B11 reflectance"


def test_a_cube_goes_to_netcdf_and_comes_back(out: Path, tmp_path: Path) -> None:
    cube = s2sharp.open_cube(out)
    cube.to_netcdf(tmp_path / "cube.nc")
    back = xr.open_dataset(tmp_path / "cube.nc", decode_coords="all")
    assert back.rio.crs == cube.rio.crs
    np.testing.assert_array_equal(back.B05.values, cube.B05.values)
    np.testing.assert_array_equal(back.time.values, cube.time.values)


def test_what_a_cube_was_made_from_is_still_read_like_a_mapping(out: Path) -> None:
    facts = s2sharp.open_cube(out).attrs["s2sharp"]
    assert len(facts["area"]) == 4
    assert pickle.loads(pickle.dumps(facts))["area"] == dict(facts)["area"]
    assert facts.startswith("{")


def test_clear_keeps_the_ground_that_is_seen(out: Path) -> None:
    cube = s2sharp.open_cube(out).load()
    clear = cube.s2sharp.clear()
    hidden = cube.cloud.isin([int(kind) for kind in HIDING])
    assert hidden.any()
    assert np.isnan(clear.B02.where(hidden, drop=True)).all()
    seen = (cube.valid == 1) & ~hidden
    xr.testing.assert_equal(clear.B02.where(seen), cube.B02.where(seen))
    xr.testing.assert_identical(clear.cloud, cube.cloud)
    assert clear.B02.attrs == cube.B02.attrs
    dense = cube.s2sharp.clear("dense")
    assert int(np.isnan(dense.B02).sum()) < int(np.isnan(clear.B02).sum())
    with pytest.raises(s2sharp.S2SharpError, match="no mask 'cloud'"):
        cube.s2sharp.clear("cloud")


def test_a_cube_without_classes_is_not_called_clear(tmp_path: Path) -> None:
    cube = s2sharp.open_cube(make_cube(tmp_path, {EPSG: area()}, [Shot("2024-06-01T10:10:31")]))
    with pytest.raises(s2sharp.S2SharpError, match="no scene classification"):
        cube.s2sharp.clear()


def test_an_index_is_its_formula(run_of: tuple[Path, Path, xr.Dataset]) -> None:
    cube = run_of[2].load()
    made = cube.s2sharp.index("NDMI")
    truth = (cube.B08 - cube.B11) / (cube.B08 + cube.B11)
    np.testing.assert_allclose(made.values, truth.values, rtol=1e-5, equal_nan=True)
    assert made.dtype == np.float32
    assert made.rio.crs == cube.rio.crs
    narrow = cube.s2sharp.index("NDMI", N="B8A")
    truth = (cube.B8A - cube.B11) / (cube.B8A + cube.B11)
    np.testing.assert_allclose(narrow.values, truth.values, rtol=1e-5, equal_nan=True)
    savi = cube.s2sharp.index("SAVI", L=0.5)
    truth = 1.5 * (cube.B08 - cube.B04) / (cube.B08 + cube.B04 + 0.5)
    np.testing.assert_allclose(savi.values, truth.values, rtol=1e-5, equal_nan=True)
    with pytest.raises(s2sharp.S2SharpError, match="Perhaps NDMI"):
        cube.s2sharp.index("ndmi")
    with pytest.raises(s2sharp.S2SharpError, match="B11"):
        cube.drop_vars("B11").s2sharp.index("NDMI")


def test_a_picture_is_bytes_stretched_alike_over_all_dates(out: Path) -> None:
    cube = s2sharp.open_cube(out)
    image = cube.s2sharp.rgb(("B11", "B05", "B02"))
    assert image.dtype == np.uint8
    assert image.dims == ("time", "band", "y", "x")
    assert image.rio.crs == cube.rio.crs
    # Dates show the same land, so their pictures are the same.
    np.testing.assert_array_equal(image[0], image[1])
    assert image.min() >= 1
    one = cube.isel(time=0).where(cube.x > cube.x.mean()).s2sharp.rgb(("B11", "B05", "B02"))
    assert one.dims == ("band", "y", "x")
    assert (one.isel(x=0) == 0).all()
    fixed = cube.s2sharp.rgb(("B11", "B05", "B02"), stretch=(0, 0.5))
    assert fixed.chunks is not None
    with pytest.raises(s2sharp.S2SharpError, match="does not rise"):
        cube.s2sharp.rgb(("B11", "B05", "B02"), stretch=(0.5, 0))
    with pytest.raises(s2sharp.S2SharpError, match="has no B12"):
        cube.s2sharp.rgb("swir")
    with pytest.raises(s2sharp.S2SharpError, match="Choose from true"):
        cube.s2sharp.rgb("swirl")


def test_a_picture_has_the_stretch_of_all_pictures(run_of: tuple[Path, Path, xr.Dataset]) -> None:
    """Nothing is shown twice as vivid in Python as in the report; clouds do not darken the rest."""
    cube = run_of[2].isel(time=0).load()
    for bands in (("B04", "B03", "B02"), ("B12", "B8A", "B04")):
        image = cube.s2sharp.rgb(bands).values
        arrays = [cube[band].values for band in bands]
        clear = cube["valid"].values == 1
        clear &= ~np.isin(cube["cloud"].values, HIDING)
        shown = tones(bands, arrays, limits_of(bands, [x[clear] for x in arrays]))
        seen = np.isfinite(shown[0])
        assert (image[:, ~seen] == 0).all()
        np.testing.assert_allclose(image[:, seen], 1 + 254 * shown[:, seen], atol=0.51)
    white = cube.copy()
    white["B04"] = cube["B04"].where(cube.x > cube.x[5], 1.5)
    white["cloud"] = cube["cloud"].where(cube.x > cube.x[5], 9)
    dim = white.s2sharp.rgb("true").isel(x=slice(6, None))
    assert float(dim.mean()) > 0.9 * float(cube.s2sharp.rgb("true").isel(x=slice(6, None)).mean())


def test_cogs_of_a_part_hold_its_pixels(out: Path, tmp_path: Path) -> None:
    cube = s2sharp.open_cube(out, bands=["B05"]).isel(x=slice(7, 200), y=slice(3, 150))
    files = cube.s2sharp.to_cog(tmp_path)
    assert tmp_path / "20240601T101031" / "B05.tif" in files
    with rasterio.open(tmp_path / "20240601T101031" / "B05.tif") as file:
        assert file.transform == cube.rio.transform(recalc=True)
        assert file.crs == cube.rio.crs
        values = np.where(file.read(1) == file.nodata, np.nan, file.read(1) * file.scales[0])
    np.testing.assert_allclose(values, cube.B05[1].values, atol=1e-7)
    again = cube.isel(time=0).s2sharp.to_cog(tmp_path)
    assert {file.parent.name for file in again} == {"20240501T101031"}


def test_before_has_the_native_bands_as_they_were_delivered(
    run_of: tuple[Path, Path, xr.Dataset],
) -> None:
    archive, _, cube = run_of
    scene = cube.isel(time=0).s2sharp.before()
    assert scene["r20m/B11"].chunks is not None
    for band, about in BANDS.items():
        (file,) = archive.rglob(f"scenes/*/{band}.tif")
        with rasterio.open(file) as raster:
            dn = raster.read(1).astype(np.float32)
            assert scene[f"r{about.gsd}m/{band}"].rio.transform() == raster.transform
        truth = np.where(dn == 0, np.float32(np.nan), (dn - 1000) * np.float32(1e-4))
        np.testing.assert_array_equal(scene[f"r{about.gsd}m/{band}"].values, truth)
    part = cube.isel(time=0, x=slice(0, 30), y=slice(0, 30)).s2sharp.clear().s2sharp.before()
    assert part["r10m/B02"].shape == (30, 30)


def test_before_says_how_where_the_run_is_not_known(
    run_of: tuple[Path, Path, xr.Dataset], tmp_path: Path
) -> None:
    _, out, cube = run_of
    with pytest.raises(s2sharp.S2SharpError, match=r"open_cube\(OUT\)"):
        cube.isel(time=0).drop_encoding().s2sharp.before()
    with pytest.raises(s2sharp.S2SharpError, match=r"isel\(time=0\)"):
        xr.concat([cube, cube], "time").s2sharp.before()
    shutil.copytree(out / "cube.zarr", tmp_path / "cube.zarr")
    with pytest.raises(s2sharp.S2SharpError, match=r"run\.json"):
        s2sharp.open_cube(tmp_path).isel(time=0).s2sharp.before()


def test_before_does_not_guess_which_of_two_pictures_of_one_instant_is_meant(
    tmp_path: Path, scheduler: str
) -> None:
    """As two satellites have them in a catalog that knows no more than the day."""
    box, when = area(6), datetime(2024, 6, 1, tzinfo=UTC)
    items = [
        item
        for seed, platform in enumerate(("sentinel-2a", "sentinel-2b"))
        for item in scenes(
            tmp_path, noise(box, *BANDS, seed=seed), box, when=when, platform=platform
        )
    ]
    cube = s2sharp.run(
        bbox=(10, 40, 20, 55),
        datetime="2024",
        out=tmp_path / "out",
        catalog=str(write_catalog(tmp_path, items)),
        collection=COLLECTION,
        method="bicubic",
        publish=False,
        scheduler=scheduler,
    )
    assert cube.sizes["time"] == 2
    with pytest.raises(
        s2sharp.S2SharpError, match=r"2 acquisitions .* have the time 2024-06-01T00:00:00"
    ):
        cube.isel(time=1).s2sharp.before()


def test_the_root_leads_to_the_groups(out: Path) -> None:
    root = xr.open_zarr(out / "cube.zarr")
    assert "Open a group: 32633." in root.attrs["description"]
    levels = [level["asset"] for level in root.attrs["multiscales"]["layout"]]
    assert levels[0] == "32633"
    for n, level in enumerate(levels):
        there = xr.open_zarr(out / "cube.zarr", group=level)
        assert abs(float(there.x[1] - there.x[0])) == 10 * 2**n
    groups = xr.open_groups(out / "cube.zarr", engine="zarr")
    assert {f"/{level}" for level in levels} < set(groups)


def test_the_root_of_several_codes_leads_to_all_of_them(tmp_path: Path) -> None:
    west = Lattice.of(32632).around((600_000, 5_400_000, 600_060, 5_400_060))
    other = Box(west.row0, west.row0 + 20, west.col0, west.col0 + 20)
    make_cube(tmp_path, {EPSG: area(20), 32632: other}, [Shot("2024-06-01T10:10:31")])
    root = xr.open_zarr(tmp_path / "cube.zarr")
    assert "Open a group: 32632, 32633." in root.attrs["description"]
    assert "multiscales" not in root.attrs
