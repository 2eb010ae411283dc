"""What others make of a run's output with their own tools, and nothing of ours: GDAL, tile servers, odc-stac, rio-tiler."""

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import xarray as xr
import zarr
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pyproj import Transformer
from rio_tiler.experimental.zarr import ArrayReader
from s2sharp.cube.layout import FILL
from s2sharp.cube.open import open_cube
from titiler.core.factory import TilerFactory
from titiler.xarray.factory import TilerFactory as XarrayTilerFactory

from tests.pipeline.published import validate_offline
from tests.pipeline.runs import config, run

BANDS = ("B02", "B05", "B12")
EPSG = 32633


@pytest.fixture(scope="module")
def out(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one small run wrote."""
    folder = tmp_path_factory.mktemp("consumed")
    run(config(archive, folder, scheduler, bands=BANDS, publish=True))
    return folder


@pytest.fixture(scope="module")
def stored(out: Path) -> xr.Dataset:
    """The cube's numbers as plain xarray reads them, undecoded, over the area that was asked for."""
    asked = open_cube(out)
    raw = xr.open_zarr(out / "cube.zarr", group=str(EPSG), mask_and_scale=False)
    return raw.sel(x=asked.x, y=asked.y).load()


@pytest.fixture(scope="module")
def items(out: Path) -> list[pystac.Item]:
    collection = pystac.Collection.from_file(out / "stac" / "collection.json")
    return list(collection.get_items())


@pytest.fixture(scope="module")
def cogs(items: list[pystac.Item]) -> dict[str, str]:
    """Band → file, found through STAC as anybody would."""
    return {band: items[0].assets[band].get_absolute_href() for band in BANDS}


@pytest.fixture(scope="module")
def server() -> Iterator[TestClient]:
    """A tile server for COGs at /cog, and one for Zarr at /zarr."""
    app = FastAPI()
    app.include_router(TilerFactory(router_prefix="/cog").router, prefix="/cog")
    app.include_router(XarrayTilerFactory(router_prefix="/zarr").router, prefix="/zarr")
    with TestClient(app) as client:
        yield client


def somewhere(stored: xr.Dataset) -> tuple[int, int]:
    """Row and column of a pixel that has data and is like none of its neighbours."""
    pixels = stored.B02[0].values.astype(float)
    pixels[pixels == FILL] = np.nan
    unlike = np.minimum.reduce(
        [abs(pixels - np.roll(pixels, shift, axis)) for axis in (0, 1) for shift in (-1, 1)]
    )[1:-1, 1:-1]
    row, col = np.unravel_index(np.nanargmax(unlike), unlike.shape)
    return int(row) + 1, int(col) + 1


def test_gdals_own_programs_read_a_cog(cogs: dict[str, str], stored: xr.Dataset, tmp_path: Path):
    gdal = shutil.which("gdalinfo")
    assert gdal, "needs Debian's gdal-bin (apt-get install)"
    for band, file in cogs.items():
        said = json.loads(subprocess.check_output([gdal, "-json", file]))
        west, north = float(stored.x[0]) - 5, float(stored.y[0]) + 5
        assert said["geoTransform"] == [west, 10, 0, north, 0, -10]
        assert said["size"] == [stored.sizes["x"], stored.sizes["y"]]
        assert 'ID["EPSG",32633]' in said["coordinateSystem"]["wkt"]
        assert said["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
        (about,) = said["bands"]
        assert (about["noDataValue"], about["scale"], about["offset"]) == (FILL, 1e-4, 0)
        assert about["description"].startswith(band)
    # As a GIS exports it: unscaled to reflectance.
    plain = tmp_path / "plain.tif"
    unscale = ["gdal_translate", "-q", "-unscale", "-ot", "Float32", cogs["B12"], str(plain)]
    subprocess.run(unscale, check=True)
    with rasterio.open(plain) as file:
        pixels, dn = file.read(1), stored.B12[0].values
        np.testing.assert_allclose(pixels[dn != FILL], dn[dn != FILL] * 1e-4, rtol=1e-5)


def test_a_point_on_the_ground_has_the_satellites_value(
    archive: Path, cogs: dict[str, str], stored: xr.Dataset
):
    """Half a pixel off would be another value: GDAL finds the delivered one of 10 m at the same place."""
    row, col = somewhere(stored)
    place = [str(float(stored.x[col]) + 4), str(float(stored.y[row]) - 4)]

    def value(file: str) -> str:
        ask = ["gdallocationinfo", "-valonly", "-geoloc", file, *place]
        return subprocess.run(ask, check=False, capture_output=True, text=True).stdout.strip()

    delivered = {value(str(file)) for file in archive.glob("scenes/*/B02.tif")} - {""}
    assert {str(int(dn) - 1000) for dn in delivered} == {value(cogs["B02"])}


def test_odc_stac_loads_our_items_back_equal_to_the_cube(
    items: list[pystac.Item], stored: xr.Dataset
):
    """Told nothing but the bands: grid, type and nodata come from the items."""
    loaded = odc.stac.load(items, bands=BANDS, chunks={})
    assert loaded.odc.geobox.crs.epsg == EPSG
    assert tuple(loaded.odc.geobox.transform)[:6] == (
        *(10, 0, float(stored.x[0]) - 5),
        *(0, -10, float(stored.y[0]) + 5),
    )
    np.testing.assert_array_equal(loaded.x, stored.x)
    np.testing.assert_array_equal(loaded.y, stored.y)
    assert [str(t)[:19] for t in loaded.time.values] == [str(t)[:19] for t in stored.time.values]
    for band in BANDS:
        assert (loaded[band].dtype, loaded[band].odc.nodata) == (np.int16, FILL)
        np.testing.assert_array_equal(loaded[band], stored[band])
    assert (loaded.B12 == FILL).any()


def test_a_tile_server_renders_a_cog(server: TestClient, cogs: dict[str, str], stored: xr.Dataset):
    edges = bounds(stored)
    part = f"/cog/bbox/{edges}/{stored.sizes['x']}x{stored.sizes['y']}.npy"
    here = {"coord_crs": f"EPSG:{EPSG}", "dst_crs": f"EPSG:{EPSG}"}
    pixels, mask = np.load(io.BytesIO(ask(server, part, url=cogs["B12"], **here)))
    np.testing.assert_array_equal(pixels[mask > 0], stored.B12[0].values[mask > 0])
    np.testing.assert_array_equal(mask > 0, stored.B12[0] != FILL)
    picture = drawn(server, "/cog", stored, url=cogs["B12"], rescale="0,4000")
    assert picture.std() > 10
    longitude, latitude = degrees(stored, *somewhere(stored))
    said = json.loads(ask(server, f"/cog/point/{longitude},{latitude}", url=cogs["B02"]))
    assert said["values"] == [int(stored.B02[0][somewhere(stored)])]


def test_a_tile_server_renders_the_sharded_cube_itself(
    server: TestClient, out: Path, stored: xr.Dataset
):
    cube = {"url": str(out / "cube.zarr"), "group": str(EPSG), "variable": "B12"}
    said = json.loads(ask(server, "/zarr/info", **cube))
    assert said["crs"].endswith(f"/{EPSG}")
    picture = drawn(server, "/zarr", stored, **cube, bidx="1", rescale="0,0.4")
    assert picture.std() > 10
    longitude, latitude = degrees(stored, *somewhere(stored))
    where = f"/zarr/point/{longitude},{latitude}"
    said = json.loads(ask(server, where, **{**cube, "variable": "B02"}))
    assert said["values"] == pytest.approx([int(stored.B02[0][somewhere(stored)]) * 1e-4])


def test_conventions_alone_tell_a_reader_where_an_array_lies(out: Path, stored: xr.Dataset):
    """rio-tiler reads one array with zarr-python: no coordinates, no CF, only `proj:` and `spatial:`."""
    array = zarr.open_array(out / "cube.zarr", path=f"{EPSG}/B12", mode="r")
    reader = ArrayReader(array)
    longitude, latitude = degrees(stored, *somewhere(stored))
    assert reader.crs.to_epsg() == EPSG
    assert reader.transform[0] == 10
    found = reader.point(longitude, latitude)
    assert found.data[0] == int(stored.B12[0][somewhere(stored)])


def test_what_a_run_published_is_valid_stac(out: Path, items: list[pystac.Item]):
    for file in (out / "stac").rglob("*.json"):
        validate_offline(json.loads(file.read_text()))
    assert [item.id for item in items] == [
        p.stem for p in sorted((out / "stac" / "items").iterdir())
    ]
    assert all(
        Path(asset.get_absolute_href()).exists() for i in items for asset in i.assets.values()
    )


def bounds(stored: xr.Dataset) -> str:
    west, east = float(stored.x[0]) - 5, float(stored.x[-1]) + 5
    south, north = float(stored.y[-1]) - 5, float(stored.y[0]) + 5
    return f"{west},{south},{east},{north}"


def degrees(stored: xr.Dataset, row: int, col: int) -> tuple[float, float]:
    to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
    return to_degrees.transform(float(stored.x[col]), float(stored.y[row]))


def ask(server: TestClient, path: str, **parameters: str) -> bytes:
    answer = server.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.content


def drawn(server: TestClient, prefix: str, stored: xr.Dataset, **parameters: str) -> np.ndarray:
    """The tile of zoom 13 around the middle, as a picture."""
    longitude, latitude = degrees(stored, *(stored.sizes[axis] // 2 for axis in ("y", "x")))
    x = int((longitude + 180) / 360 * 2**13)
    y = int((1 - np.arcsinh(np.tan(np.radians(latitude))) / np.pi) / 2 * 2**13)
    png = ask(server, f"{prefix}/tiles/WebMercatorQuad/13/{x}/{y}.png", **parameters)
    with rasterio.MemoryFile(png) as memory, memory.open() as file:
        assert (file.driver, file.shape) == ("PNG", (256, 256))
        assert file.read(file.count).any(), "some of it is there"
        return file.read(1)
