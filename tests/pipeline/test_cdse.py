"""Files of the Copernicus Data Space are read with its own keys, from its own store, which nobody else is told of."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
from s2sharp.catalog.access import renewable
from s2sharp.catalog.search import search
from s2sharp.catalog.sources import Source
from s2sharp.demo.synthetic import write_catalog
from s2sharp.planning.make import make_plan
from s2sharp.planning.readers import stage_of
from s2sharp.scenes.read import Files
from s2sharp.storage.location import place
from s3fs import S3FileSystem

from s2sharp_core import S2SharpError
from tests.services import s3_server
from tests.web import Proxy, proxied

from .products import read, write_safe
from .runs import config
from .test_products import WORLD, archive, joined, same_pixels

KEY, SECRET = "CDSEKEY7EXAMPLE", "cdse+secret/EXAMPLEKEY"
KEYS = {"CDSE_S3_ACCESS_KEY": KEY, "CDSE_S3_SECRET_KEY": SECRET}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> pystac.Item:
    return archive(tmp_path_factory.mktemp("scene"), 32633, "05.11", -0.1, "2A")[0]


@pytest.fixture(scope="module")
def eodata(
    scene: pystac.Item, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Proxy, str, str]]:
    """A stand-in for CDSE's store with one product in it: the proxy before it, its URL, the product's address."""
    safe = write_safe(tmp_path_factory.mktemp("eodata"), scene, "2A", -1000)
    with (
        pytest.MonkeyPatch.context() as patch,
        s3_server() as server,
        proxied(server) as (proxy, url),
    ):
        patch.setenv("AWS_ENDPOINT_URL", server)
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        # fsspec keeps what it opened under the same address, whatever the environment says since.
        S3FileSystem.clear_instance_cache()
        bucket = place("s3://eodata")
        bucket.fs.mkdir("eodata")
        home = f"eodata/Sentinel-2/MSI/L2A/2024/06/01/{safe.name}"
        bucket.fs.put(str(safe), home, recursive=True)
        yield proxy, url, f"s3://{home}"
        S3FileSystem.clear_instance_cache()


@pytest.fixture
def address(eodata: tuple[Proxy, str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The product's address, with keys for its store, and others for all the rest."""
    proxy, url, home = eodata
    proxy.requests.clear()
    monkeypatch.setenv("CDSE_S3_ENDPOINT", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_S3_ENDPOINT", "127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-elses")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-another")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return home


def items(catalog: str) -> list[pystac.Item]:
    return list(search(catalog, "sentinel-2-l2a", WORLD, "2024"))


def test_products_are_read_from_the_store(
    address: str, eodata: tuple[Proxy, str, str], scene: pystac.Item
) -> None:
    found = items(address)
    assert found[0].assets["B02"].href.startswith("s3://eodata/Sentinel-2/")
    acquisition = joined(found, address)
    assert {source.sign for source in acquisition.scenes[0].sources} == {"cdse"}
    same_pixels(found, address, scene)
    asked = [path for _, path in eodata[0].requests]
    assert any("_B05_20m.jp2" in path for path in asked)


def test_a_folder_in_the_store_is_looked_through(address: str) -> None:
    assert len(items(address.rpartition("/")[0])) == 1


def test_what_a_catalog_names_there_is_staged_and_no_key_is_written(
    address: str, scene: pystac.Item, tmp_path: Path
) -> None:
    (item,) = items(address)
    item.set_self_href(None)
    item.collection_id = None
    write_catalog(tmp_path / "stac", [item])
    settings = config(tmp_path / "stac", tmp_path / "out", bbox=WORLD, bands="B02,B05", shard=64)
    plan = make_plan(settings).freeze()
    assert plan.staged
    stage = stage_of(plan, plan.acquisitions[0])
    stage.lay_out()
    for cells in stage.needed(stage.acquisition.box):
        stage.write(cells)
    for band in ("B02", "B05"):
        dn, _ = stage.mosaic(band, stage.acquisition.box)
        np.testing.assert_array_equal(dn, read(scene, band))
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text or KEY.encode() in text for text in texts)


def test_without_keys_it_is_said_where_to_get_some(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquisition = joined(items(address), address)
    for name in (*KEYS, "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name)
    with pytest.raises(S2SharpError, match="CDSE_S3_ACCESS_KEY") as error:
        Files(acquisition).mosaic("B02", acquisition.box)
    assert error.value.kind == "keys-missing"
    assert SECRET not in str(error.value)


def test_other_buckets_are_nobody_elses_business() -> None:
    def way(href: str, sign: str = "auto") -> str:
        return renewable(Source("B02", href, 1e-4, -0.1, 0, ""), None, sign).sign

    assert way("s3://eodata/Sentinel-2/x.jp2") == "cdse"
    assert way("s3://eodata/Sentinel-2/x.jp2", "none") == "none"
    assert way("s3://eodata-mine/x.tif") == "none"
    assert way("https://host/eodata/x.tif") == "none"
