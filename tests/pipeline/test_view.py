"""A cube on a map in the browser: tiles that show what the cube holds, and nothing else of the machine."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest
import xarray as xr
from fastapi.testclient import TestClient
from pyproj import Transformer
from rasterio.io import MemoryFile
from s2sharp import open_cube, open_mosaic
from s2sharp.cli.app import app
from s2sharp.publish.stretch import TRUE_COLOUR, tones
from s2sharp.view.server import app_of
from typer.testing import CliRunner

from tests.browser import browser

from .runs import config, run

NAME = "S2A_20240601T101031_32633"


@pytest.fixture(scope="module")
def out(large: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view") / "out"
    run(config(large, folder, scheduler))
    return folder


@pytest.fixture(scope="module")
def address(out: Path) -> Iterator[str]:
    """Where `s2sharp view` says that it listens."""
    command = [sys.executable, "-m", "s2sharp.cli.app", "view", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().split()[0]
    process.terminate()
    process.wait(20)


def _tile(address: str, lon: float, lat: float, zoom: int, bands: str) -> np.ndarray:
    """The tile around a place: RGBA (4, 256, 256)."""
    x = int((lon / 360 + 0.5) * 2**zoom)
    y = int((0.5 - np.arcsinh(np.tan(np.radians(lat))) / (2 * np.pi)) * 2**zoom)
    path = f"cube/tiles/WebMercatorQuad/{zoom}/{x}/{y}.png?acquisition={NAME}&{bands}"
    with urlopen(address + path) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        with MemoryFile(answer.read()) as memory, memory.open() as file:
            return file.read()


def _middle(of: Path | xr.Dataset) -> tuple[float, float]:
    """The middle of a cube or a mosaic: longitude, latitude of a pixel's centre."""
    cube = open_cube(of) if isinstance(of, Path) else of
    place = float(cube.x[cube.sizes["x"] // 2]), float(cube.y[cube.sizes["y"] // 2])
    return Transformer.from_crs(32633, 4326, always_xy=True).transform(*place)


def test_tiles_show_what_the_cube_holds_near_and_far(address: str, out: Path) -> None:
    lon, lat = _middle(out)
    cube = open_cube(out).isel(time=0)
    for zoom, bands in ((14, ("B04", "B03", "B02")), (11, ("B12", "B8A", "B05"))):
        asked = "&".join(f"band={band}&rescale=0,0.6" for band in bands)
        tile = _tile(address, lon, lat, zoom, asked).astype(float)
        seen = tile[3] == 255
        assert seen.mean() > (0.9 if zoom == 14 else 0.02)
        assert tile[:3, seen].std(axis=1).min() > 5
        if zoom == 11:  # an overview: means of pixels, over all of the cube
            means = [float(cube[band].where(cube["valid"] == 1).mean()) for band in bands]
            np.testing.assert_allclose(
                tile[:3, seen].mean(axis=1), np.array(means) / 0.6 * 255, atol=12
            )
    with urlopen(f"{address}cube/point/{lon},{lat}?acquisition={NAME}&band=B12") as answer:
        (value,) = json.load(answer)["values"]
    height, width = cube.sizes["y"], cube.sizes["x"]
    near = cube["B12"].isel(
        y=slice(height // 2 - 1, height // 2 + 2), x=slice(width // 2 - 1, width // 2 + 2)
    )
    assert float(abs(near - value).min()) < 1e-6


def test_the_map_is_stretched_as_pictures_are(address: str, out: Path) -> None:
    """By the same function of the same limits; each band filling its own range would be neon."""
    lon, lat = _middle(out)
    for bands in (("B12", "B8A", "B04"), ("B04", "B03", "B02")):
        asked = "&".join(f"band={band}" for band in bands)
        with urlopen(f"{address}stretch.json?acquisition={NAME}&{asked}") as answer:
            limits = json.load(answer)
        assert (limits[0] == limits[1] == limits[2]) == (bands == TRUE_COLOUR)
        ends = "".join(f"&stretch={low},{high}" for low, high in limits)
        raw = "".join(f"&rescale={low},{high}" for low, high in limits)
        gentle, plain = (_tile(address, lon, lat, 14, asked + how) for how in (ends, raw))
        seen = (gentle[3] == 255) & (plain[3] == 255)
        assert seen.mean() > 0.9
        shown = tones(bands, list(plain[:3] / 255.0), [(0.0, 1.0)] * 3)
        np.testing.assert_allclose(gentle[:3, seen], 255 * shown[:, seen], atol=8)
        vivid = [np.ptp(tile[:3, seen].astype(int), axis=0).mean() for tile in (gentle, plain)]
        assert (vivid[0] < 0.8 * vivid[1]) == (bands != TRUE_COLOUR)


@pytest.mark.parametrize(
    "first", ["", "stretch=0&", "stretch=1,0&", "stretch=0,nan&", "stretch=a,b&"]
)
def test_a_stretch_that_is_none_is_refused(address: str, first: str) -> None:
    with pytest.raises(HTTPError, match="400"):
        _tile(address, 16.4, 48.7, 14, f"band=B05&band=B06&{first}stretch=0,1")


@pytest.mark.parametrize(
    "path",
    [
        "/run.json",
        "/../run.json",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/cube/..%2f..%2frun.json",
        "/cube.zarr/zarr.json",
        "/cube/point/16.4,48.7?acquisition=../../out&band=B12",
        f"/cube/point/16.4,48.7?acquisition={NAME}&band=../run.json",
    ],
)
def test_no_path_leads_to_files(address: str, path: str) -> None:
    assert _status(address, path) == 404


def _status(address: str, path: str, host: str | None = None) -> int:
    where = urlsplit(address).netloc
    connection = http.client.HTTPConnection(where, timeout=30)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or where)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_this_machine_is_answered_and_only_under_its_own_name(address: str) -> None:
    port = urlsplit(address).port
    assert _status(address, "/layers.json") == 200
    assert _status(address, "/layers.json", f"elsewhere.example:{port}") == 400
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.parametrize(("width", "height"), [(700, 500), (390, 800)])
def test_people_pan_and_zoom_in_a_real_browser(address: str, width: int, height: int) -> None:
    ready = "document.getElementById('map').dataset.state === 'ready' && tiles.size > 0"
    with browser() as open_page:
        page = open_page(address, width, height)
        page.until(ready)
        middle = width / 2, height / 2
        before = _brightness(page.picture())
        assert before.std() > 20
        page.drag((width / 2 - 100, height / 2), (width / 2 + 50, height / 2))
        page.until(ready)
        after = _brightness(page.picture())
        # The same picture, 150 px farther to the right.
        inner = np.s_[height // 2 - 60 : height // 2 + 60]
        moved, still = after[inner, 200 : width - 80], before[inner, 50 : width - 230]
        assert np.corrcoef(moved.ravel(), still.ravel())[0, 1] > 0.95
        page.value("document.querySelector('#zoom button').click()")
        page.value("bands.value = 'B12', bands.dispatchEvent(new Event('change'))")
        page.until(ready + " && [...tiles.keys()].every((url) => url.includes('band=B12'))")
        page.drag(middle, middle)
        page.until("value.textContent.includes('B12')")
        assert page.problems == []
        assert all(url.startswith((address, "data:")) for url in page.requests)
        report = open_page(f"{address}report.html", width, height)
        assert report.value("document.querySelectorAll('.compare').length") > 0
        assert report.problems == []


def _brightness(png: bytes) -> np.ndarray:
    with MemoryFile(png) as memory, memory.open() as file:
        return file.read()[:3].mean(axis=0)


def test_a_pixel_is_shown_as_it_was_delivered_and_as_it_was_sharpened(
    address: str, out: Path
) -> None:
    lon, lat = _middle(out)
    with urlopen(f"{address}spectrum.json?acquisition={NAME}&lon={lon}&lat={lat}") as answer:
        found = json.load(answer)
    assert found["why"] == ""
    bands = {band["name"]: band for band in found["bands"]}
    assert list(bands) == sorted(bands, key=lambda name: bands[name]["wavelength"])
    assert bands["B04"]["delivered"] == pytest.approx(bands["B04"]["sharpened"], abs=1e-4)
    # Of a native pixel of 20 m, the four that were made of it keep the mean.
    assert bands["B12"]["delivered"] == pytest.approx(bands["B12"]["sharpened"], abs=0.1)
    asked = "band=B12&rescale=0,0.6"
    before = _tile(address, lon, lat, 15, asked + "&delivered=true").astype(int)
    after = _tile(address, lon, lat, 15, asked).astype(int)
    seen = (before[-1] == 255) & (after[-1] == 255)
    assert seen.mean() > 0.9
    steps = [(abs(np.diff(tile[0], axis=1)) > 0).mean() for tile in (before, after)]
    assert steps[0] < 0.75 * steps[1]  # pixels twice as wide
    assert abs(before[0][seen].mean() - after[0][seen].mean()) < 4


def test_native_files_that_are_out_of_reach_are_told_and_the_cube_is_still_shown(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    scenes = shutil.copytree(archive, tmp_path / "archive")
    for item in scenes.rglob("*.json"):
        item.write_text(item.read_text().replace(str(archive), str(scenes)))
    run(config(scenes, out, scheduler, bands="B02,B05,B12"))
    shutil.rmtree(scenes)
    lon, lat = _middle(out)
    shown = TestClient(app_of(out), base_url="http://localhost")
    found = shown.get(f"/spectrum.json?acquisition={NAME}&lon={lon}&lat={lat}").json()
    assert found["why"]
    assert {band["delivered"] for band in found["bands"]} == {None}
    assert all(band["sharpened"] is not None for band in found["bands"])


def test_people_swipe_between_delivered_and_sharpened(address: str) -> None:
    ready = "document.getElementById('map').dataset.state === 'ready' && tiles.size > 0"
    with browser() as open_page:
        page = open_page(address, 390, 800)
        page.until(ready)
        page.value("zoomTo(15, map.clientWidth / 2, map.clientHeight / 2)")
        page.value("bands.value = 'B12', bands.dispatchEvent(new Event('change'))")
        page.until(
            ready + " && [...tiles.keys()].some((url) => /B12.*delivered/.test(url)) && !asking"
        )
        half = _brightness(page.picture())
        page.drag((195, 0.36 * 800), (385, 0.36 * 800))
        page.until("+share.value > 95")
        whole = _brightness(page.picture())
        inside = np.s_[120:240]
        assert np.array_equal(half[inside, 20:170], whole[inside, 20:170])
        assert not np.array_equal(half[inside, 220:370], whole[inside, 220:370])
        # A finger moves the line wherever it takes hold of it, and the map beside it.
        page.value("share.value = 50, share.dispatchEvent(new Event('input'))")
        where = page.value("at.x")
        page.swipe((195, 640), (320, 600))
        assert page.value("+share.value") == pytest.approx(100 * 320 / 390, abs=1)
        assert page.value("at.x") == where
        page.swipe((100, 640), (160, 600))
        assert page.value("+share.value") == pytest.approx(100 * 320 / 390, abs=1)
        assert page.value("at.x") < where
        # What lies at 10 m has nothing to compare, and the page says so.
        page.value("bands.value = 'B04', bands.dispatchEvent(new Event('change'))")
        page.until(ready + " && swipe.hidden && closer.textContent.includes('10 m')")
        page.drag((195, 600), (195, 600))
        page.until("document.querySelectorAll('#spectrum td').length > 20")
        assert page.problems == []


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["view", str(tmp_path)])
    assert said.exit_code == 1
    assert "not-a-run" in said.output


@pytest.mark.parametrize(
    "more",
    [
        *("tilesize=8000", "tilesize=0", "tilesize=x", "buffer=20000", "padding=9999"),
        *("expression=b1*9**9**9", "band=B05", "band=B04&band=B03&band=B02", "bidx=1"),
        *("rescale=0,1&" * 4, "colormap_name=" + "a" * 2000),
    ],
)
def test_a_request_that_costs_too_much_is_refused_before_anything_is_read(
    address: str, more: str
) -> None:
    tile = f"cube/tiles/WebMercatorQuad/12/2234/1420.png?acquisition={NAME}&band=B05&{more}"
    with pytest.raises(HTTPError, match="400"):
        urlopen(address + tile)


def test_a_page_of_another_site_gets_nothing_of_the_map(address: str) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    with pytest.raises(HTTPError, match="400"):
        urlopen(Request(f"{address}layers.json", headers=elsewhere))
    with urlopen(Request(address, headers=elsewhere)) as page:
        assert page.status == 200
    with urlopen(
        Request(f"{address}layers.json", headers={"Sec-Fetch-Site": "same-origin"})
    ) as own:
        assert own.status == 200


def test_a_mosaic_is_looked_at_as_a_cube_is(out: Path, scheduler: str, tmp_path: Path) -> None:
    to = tmp_path / "mosaic"
    done = CliRunner().invoke(
        app, ["mosaic", str(out), "--to", str(to), "--scheduler", scheduler, "--no-publish"]
    )
    assert done.exit_code == 0, done.output
    shown = TestClient(app_of(to), base_url="http://localhost")
    layers = shown.get("/layers.json").json()
    assert not layers["delivered"]
    ((period,),) = [take["acquisitions"] for take in layers["takes"]]
    seen = open_mosaic(to).isel(time=0)
    lon, lat = _middle(seen)
    asked = f"acquisition={period['id']}"
    found = shown.get(f"/spectrum.json?{asked}&lon={lon}&lat={lat}").json()["bands"]
    assert len(found) == 12
    for band in found:
        here = seen[band["name"]].isel(y=seen.sizes["y"] // 2, x=seen.sizes["x"] // 2)
        assert float(here) == pytest.approx(band["sharpened"], abs=1e-6)
    n = 2**14
    x, y = (
        int((lon / 360 + 0.5) * n),
        int((0.5 - np.arcsinh(np.tan(np.radians(lat))) / (2 * np.pi)) * n),
    )
    tile = shown.get(f"/cube/tiles/WebMercatorQuad/14/{x}/{y}.png?{asked}&band=B12&rescale=0,0.6")
    assert tile.status_code == 200
    assert _brightness(tile.content).std() > 5
    assert shown.get("/stretch.json?acquisition=../run.json&band=B12").status_code == 404
    page = shown.get("/report.html").text
    assert period["id"] in page
    assert "data:image/png" in page
    assert NAME in page
