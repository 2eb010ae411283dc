"""Files that are not what their items say, or come from a server that stumbles."""

import json
import shutil
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import s2sharp.catalog.http
import s2sharp.catalog.signing
import s2sharp.scenes.raster
from s2sharp.catalog.signing import signed
from s2sharp.scenes.acquisition import Acquisition
from s2sharp.scenes.read import Files, load_block

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box
from tests.web import http_server

from ..core.scenes import NORTH
from .pictures import WHEN, gsd_of, join, noise, overwrite, scenes
from .test_load import ALL, BOX, INNER, THREE, href, mosaic

# Files that are not what their items say


def failure(acquisition: Acquisition, band: str, kind: str) -> str:
    with pytest.raises(S2SharpError) as caught:
        mosaic(acquisition, band, INNER)
    assert caught.value.kind == kind
    said = str(caught.value)
    assert acquisition.scenes[0].id in said
    assert f"band {band}" in said
    assert caught.value.remedy
    return said


@pytest.mark.parametrize("band", ["B02", "B05", "B01", "SCL"])
def test_metadata_that_contradict_the_file_are_told(tmp_path, band):
    picture = noise(BOX, *ALL)
    (item,) = scenes(tmp_path, picture, BOX)
    acquisition = join([item])
    gsd, dn = gsd_of(band), picture[band]
    stated = NORTH.transform(BOX, gsd)
    moved = (*stated[:2], stated[2] + gsd, *stated[3:])
    half = (2.0 * gsd, 0.0, stated[2], 0.0, -2.0 * gsd, stated[5])
    for about in (
        (dn, NORTH.epsg, moved),
        (dn[:-1], NORTH.epsg, stated),
        (dn[::2, ::2], NORTH.epsg, half),
        (dn, NORTH.epsg + 1, stated),
        (dn, 3857, stated),
        (dn, None, stated),
    ):
        overwrite(href(item, band), *about, driver="GTiff")
        said = failure(acquisition, band, "metadata-contradicts-file")
        assert "32633" in said
    overwrite(href(item, band), dn, NORTH.epsg, stated)
    np.testing.assert_array_equal(mosaic(acquisition, band, BOX), dn)


def test_a_missing_file_is_told(tmp_path):
    (item,) = scenes(tmp_path, noise(BOX, *THREE), BOX)
    acquisition = join([item])
    href(item, "B05").unlink()
    assert str(href(item, "B05")) in failure(acquisition, "B05", "asset-unreadable")
    assert mosaic(acquisition, "B02", INNER).all()
    with pytest.raises(S2SharpError, match="B05"):
        load_block(Files(acquisition), acquisition, THREE, INNER, 1)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_truncated_file_is_told(tmp_path, share):
    (item,) = scenes(tmp_path, noise(BOX, "B02"), BOX)
    acquisition = join([item])
    content = href(item, "B02").read_bytes()
    href(item, "B02").write_bytes(content[: int(share * len(content))])
    with pytest.raises(S2SharpError) as caught:
        mosaic(acquisition, "B02", BOX)
    assert caught.value.kind == "asset-unreadable"
    assert "B02" in caught.value.message


@pytest.mark.parametrize("disguise", ["vrt", "html", "text"])
def test_what_only_calls_itself_a_tiff_is_refused(tmp_path, disguise):
    """A VRT would lead GDAL to any file of this machine."""
    picture = noise(BOX, "B02")
    (item,) = scenes(tmp_path, picture, BOX)
    acquisition = join([item])
    secret = tmp_path / "secret.tif"
    shutil.copy(href(item, "B02"), secret)
    href(item, "B02").write_text(
        {
            "vrt": f"""<VRTDataset rasterXSize="180" rasterYSize="180">
              <SRS>EPSG:32633</SRS>
              <GeoTransform>{", ".join(map(str, NORTH.transform(BOX, 10)))}</GeoTransform>
              <VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
              <SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand>
              </SimpleSource></VRTRasterBand></VRTDataset>""",
            "html": "<html>Please log in</html>",
            "text": "II*",
        }[disguise]
    )
    failure(acquisition, "B02", "asset-unreadable")


# Over HTTP, as from a real archive


SECRET = "sv=2024&sig=T0PS3CRET"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """GDAL waits a second and more between its attempts; not here. Nor is an old signature known."""
    monkeypatch.setattr(s2sharp.catalog.signing, "_known", {})
    monkeypatch.setattr(s2sharp.catalog.http, "BACKOFF", 0.01)
    monkeypatch.setitem(s2sharp.scenes.raster._GDAL, "GDAL_HTTP_RETRY_DELAY", "0.01")


def online(folder: Path, url: str, picture: dict[str, np.ndarray]) -> Acquisition:
    (item,) = scenes(folder, picture, BOX)
    for asset in item.assets.values():
        asset.href = f"{url}/{Path(asset.href).relative_to(folder)}?{SECRET}"
    item.set_self_href(f"{url}/item.json")
    (folder / "item.json").write_text(json.dumps(item.to_dict(transform_hrefs=False)))
    return join([item], f"{url}/catalog.json")


def test_pixels_come_over_http_as_they_are_stored(tmp_path):
    picture = noise(BOX, *ALL)
    asked = []
    with http_server(tmp_path, lambda _, path: asked.append(path)) as url:
        acquisition = online(tmp_path, url, picture)
        for band in ALL:
            np.testing.assert_array_equal(mosaic(acquisition, band, BOX), picture[band])
    # The signature has to reach the server, and no sidecar file is looked for.
    files = [path for path in asked if path != "/item.json"]
    assert {path.partition("?")[2] for path in files} == {SECRET}
    assert {Path(path.partition("?")[0]).name for path in files} == {f"{b}.tif" for b in ALL}


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_an_answer_that_is_no_file_is_told_without_secrets(tmp_path, status):
    with http_server(tmp_path, lambda _, path: status if "B05" in path else None) as url:
        acquisition = online(tmp_path, url, noise(BOX, *THREE))
        said = failure(acquisition, "B05", "asset-unreadable")
        assert f"{url}/scenes/{acquisition.scenes[0].id}/B05.tif" in said
        assert str(status) in said
        assert "sig" not in said
        assert "T0PS3CRET" not in said
        assert mosaic(acquisition, "B02", INNER).all()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_trouble_of_the_server_is_waited_out(tmp_path, status):
    picture = noise(BOX, "B02")
    with http_server(tmp_path, lambda number, _: status if number <= 2 else None) as url:
        np.testing.assert_array_equal(
            mosaic(online(tmp_path, url, picture), "B02", BOX), picture["B02"]
        )


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_worker_that_lives_on_sees_the_file_that_came_later(tmp_path, status):
    picture, wrong = noise(BOX, "B02"), [status]
    with http_server(tmp_path, lambda _, path: wrong[0] if "tif" in path else None) as url:
        acquisition = online(tmp_path, url, picture)
        failure(acquisition, "B02", "asset-unreadable")
        wrong[0] = None
        np.testing.assert_array_equal(mosaic(acquisition, "B02", BOX), picture["B02"])


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    old, new = noise(BOX, "B02", seed=1), noise(BOX, "B02", seed=2)
    with http_server(tmp_path) as url:
        acquisition = online(tmp_path, url, old)
        mosaic(acquisition, "B02", BOX)
        scenes(tmp_path, new, BOX)
        np.testing.assert_array_equal(mosaic(acquisition, "B02", BOX), new["B02"])


def test_a_server_that_is_gone_is_told(tmp_path):
    with http_server(tmp_path) as url:
        acquisition = online(tmp_path, url, noise(BOX, "B02"))
        scene = acquisition.scenes[0]
        assert signed(scene.sources[0], scene.href).endswith(SECRET)
    said = failure(acquisition, "B02", "asset-unreadable")
    assert "T0PS3CRET" not in said
    # Nor can it be asked for a signature.
    s2sharp.catalog.signing._known.clear()
    said = failure(acquisition, "B02", "signing-failed")
    assert "did not answer" in said


def test_reading_warns_of_nothing_and_leaves_nothing_behind(tmp_path):
    (item,) = scenes(tmp_path, noise(BOX, *ALL), BOX, when=WHEN)
    before = sorted(tmp_path.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        acquisition = join([item])
        load_block(Files(acquisition), acquisition, THREE, BOX, 2)
    assert sorted(tmp_path.rglob("*")) == before


class _Server:
    """A reader whose bands are there only when two of them are asked for at once; ``broken``: those that are not."""

    waits = True

    def __init__(self, files: Files, broken: str = "") -> None:
        self.files, self.broken = files, broken
        self.meeting = threading.Barrier(2, timeout=20)
        self.under_way = 0

    def mosaic(self, band: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
        self.under_way += 1
        try:
            self.meeting.wait()
            if band == self.broken:
                raise S2SharpError("asset-unreadable", "Broken.", "Mend it.")
            time.sleep(0.2)
            return self.files.mosaic(band, box)
        finally:
            self.under_way -= 1


def test_bands_of_a_server_are_read_at_once_and_come_as_one_by_one(tmp_path):
    four = ("B02", "B03", "B05", "B01")
    acquisition = join(scenes(tmp_path, noise(BOX, *four, gaps=0.05), BOX))
    files = Files(acquisition)
    assert not files.waits
    alone = load_block(files, acquisition, four, INNER, 1)
    together = load_block(_Server(files), acquisition, four, INNER, 1)
    for band in four:
        np.testing.assert_array_equal(alone.data[band], together.data[band])
    np.testing.assert_array_equal(alone.source, together.source)
    broken = _Server(files, "B03")
    with pytest.raises(S2SharpError, match="Broken"):
        load_block(broken, acquisition, four, INNER, 1)
    assert not broken.under_way  # no file is in use by a read that nobody waits for
