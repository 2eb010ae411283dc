"""Servers of the tests themselves: they answer as real ones do."""

import urllib.request

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from tests.web import http_server


def test_gdal_reads_a_window_of_a_cog_from_the_test_server(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 10_000, (2048, 2048)).astype("uint16")
    profile = {"driver": "COG", "width": 2048, "height": 2048, "count": 1, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32633", "transform": from_origin(399960, 5400000, 10, 10)}
    with rasterio.open(tmp_path / "B02.tif", "w", blocksize=256, **profile) as cog:
        cog.write(pixels, 1)
    with (
        http_server(tmp_path) as url,
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", VSI_CACHE=False),
        rasterio.open(f"{url}/B02.tif") as cog,
    ):
        window = cog.read(1, window=Window(300, 700, 64, 32))
    assert np.array_equal(window, pixels[700:732, 300:364])


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")],
)
def test_the_test_server_answers_ranges(tmp_path, asked, answer):
    (tmp_path / "file").write_bytes(b"0123456789")
    with http_server(tmp_path) as url:
        request = urllib.request.Request(f"{url}/file", headers={"Range": asked})
        with urllib.request.urlopen(request) as response:
            assert (response.status, response.read()) == (206, answer)
