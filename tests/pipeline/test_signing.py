"""Signed addresses end while a run goes on: they are renewed, by the minute, and never written down."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import s2sharp.catalog.http
import s2sharp.catalog.signing
import s2sharp.scenes.raster
from s2sharp.catalog.search import search
from s2sharp.catalog.signing import signed
from s2sharp.catalog.sources import Source
from s2sharp.demo.synthetic import COLLECTION, simulate
from s2sharp.scenes.acquisition import Acquisition, group
from s2sharp.scenes.item_files import write_items
from s2sharp.scenes.read import Files

from s2sharp_core import S2SharpError
from tests.web import http_server

from ..core.scenes import box_at
from .pictures import noise, scenes
from .runs import config, run

BOX = box_at(20, 20)
THREE = ("B01", "B02", "B05")
WORLD = (-180.0, -90.0, 180.0, 90.0)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(s2sharp.catalog.signing, "_known", {})
    monkeypatch.setattr(s2sharp.catalog.http, "BACKOFF", 0.01)
    monkeypatch.setitem(s2sharp.scenes.raster._GDAL, "GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.delenv("PC_SDK_SAS_URL", raising=False)


@dataclass
class Archive:
    """A folder behind signatures: by tokens for a container, as Azure and Planetary Computer have it, or by items.

    Items lie in ``stac/`` and may be had by everybody; files in ``account/container/`` only with a signature that has
    not ended and was not withdrawn.
    """

    life: float
    url: str = ""
    given: list[str] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    refused: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def sign(self) -> tuple[str, str]:
        """A new signature, and until when it can be used."""
        with self.lock:
            end = datetime.now(UTC) + timedelta(seconds=self.life)
            self.given.append(f"T0PS3CRET{len(self.given):04d}")
            until = f"{end:%Y-%m-%dT%H:%M:%S.%fZ}"
            return f"se={until.replace(':', '%3A')}&sp=rl&sig={self.given[-1]}", until

    def accepts(self, query: str) -> bool:
        said = {name: values[0] for name, values in parse_qs(query).items()}
        known = said.get("sig") in self.given and said["sig"] not in self.withdrawn
        return known and datetime.fromisoformat(said["se"]) > datetime.now(UTC)

    def answer(self, _number: int, path: str) -> int | bytes | None:
        parts = urlsplit(path)
        if parts.path == "/api/sas/v1/token/account/container":
            token, end = self.sign()
            return json.dumps({"msft:expiry": end, "token": token}).encode()
        if parts.path.startswith("/api/"):
            return 404
        if parts.path.startswith("/account/container/") and not self.accepts(parts.query):
            self.refused += 1
            return 403
        return None


@pytest.fixture
def archive(tmp_path) -> Iterator[Archive]:
    """A synthetic archive over HTTP: 24 × 24 cells in 2 × 2 tiles, its files in a container."""
    folder = tmp_path / "site"
    simulate(folder / "account" / "container", cells=24, tiles=2, seed=3)
    archive = Archive(life=1.0)
    with http_server(folder, archive.answer) as url:
        archive.url = url
        yield archive


def catalog(archive: Archive, folder: Path) -> list[pystac.Item]:
    """The items, as a web site of its own would give them: absolute addresses without a signature."""
    source = folder / "site" / "account" / "container" / "catalog.json"
    found = []
    for item in search(str(source), COLLECTION, WORLD, "2024"):
        for asset in item.assets.values():
            place = Path(asset.get_absolute_href()).relative_to(folder / "site")
            asset.href = f"{archive.url}/{place}"
        item.clear_links()
        item.set_self_href(f"{archive.url}/stac/{item.id}.json")
        found.append(item)
    return found


def publish(archive: Archive, folder: Path, items: list[pystac.Item]) -> str:
    """Write the items as a static catalog of the web site; returns its address."""
    site = folder / "site" / "stac"
    site.mkdir(exist_ok=True)
    links = []
    for item in items:
        (site / f"{item.id}.json").write_text(json.dumps(item.to_dict(transform_hrefs=False)))
        links.append({"rel": "item", "href": f"./{item.id}.json"})
    about = {"type": "Collection", "id": COLLECTION, "stac_version": "1.0.0", "description": "x"}
    about |= {"license": "other", "extent": {"spatial": {"bbox": [WORLD]}}, "links": links}
    about["extent"]["temporal"] = {"interval": [["2024-01-01T00:00:00Z", None]]}
    (site / "collection.json").write_text(json.dumps(about))
    return f"{archive.url}/stac/collection.json"


def secrets_in(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and (b"T0PS3CRET" in file.read_bytes() or b"sig=" in file.read_bytes())
    ]


# Planetary Computer's way


def test_a_run_that_outlives_its_tokens_reads_on(tmp_path, archive, monkeypatch, capfd):
    monkeypatch.setenv("PC_SDK_SAS_URL", f"{archive.url}/api/sas/v1/token")
    collection = publish(archive, tmp_path, catalog(archive, tmp_path))
    out = tmp_path / "out"
    settings = config(
        tmp_path, out, catalog=collection, collection=COLLECTION, workers=1, shard=8, bands=THREE
    )
    plan, outcome = run(settings)
    assert not outcome.failed
    assert outcome.counts["ok"] > 4
    assert {s.sign for a in plan.acquisitions for x in a.scenes for s in x.sources} == {
        "planetary-computer"
    }
    # A token lives for a second, and is renewed before it ends: nothing was refused.
    assert 2 <= len(archive.given) <= 3 + 2 * outcome.seconds
    assert archive.refused == 0
    assert secrets_in(out) == []
    said = capfd.readouterr()
    assert "T0PS3CRET" not in said.out + said.err


@pytest.fixture
def acquisition(tmp_path, archive, monkeypatch) -> Acquisition:
    monkeypatch.setenv("PC_SDK_SAS_URL", f"{archive.url}/api/sas/v1/token")
    items = catalog(archive, tmp_path)
    (acquisition,), refused, _ = group(items, THREE, f"{archive.url}/stac/collection.json")
    assert not refused
    return acquisition


def test_a_token_serves_a_whole_container_until_shortly_before_its_end(archive, acquisition):
    archive.life = 1000
    files = [(s, scene.href) for scene in acquisition.scenes for s in scene.sources]
    addresses = [signed(*file) for file in files]
    assert len(archive.given) == 1
    assert all(archive.accepts(urlsplit(href).query) for href in addresses)
    s2sharp.catalog.signing._known.clear()
    archive.life = 0.4
    first = signed(*files[0])
    assert signed(*files[0]) == first
    time.sleep(0.31)
    # It would be good for a little longer.
    assert signed(*files[0]) != first
    assert archive.given[2:] == archive.given[-1:]


def test_threads_that_need_a_token_at_once_fetch_one(archive, acquisition):
    archive.life = 1000
    files = [(s, scene.href) for scene in acquisition.scenes for s in scene.sources] * 4
    found = []
    threads = [threading.Thread(target=lambda f=f: found.append(signed(*f))) for f in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(files)
    assert len(archive.given) == 1


def test_a_token_that_was_withdrawn_is_renewed_once(archive, acquisition):
    archive.life = 1000
    expected, _ = Files(acquisition).mosaic("B02", acquisition.box)
    archive.withdrawn |= set(archive.given)
    again, _ = Files(acquisition).mosaic("B02", acquisition.box)
    np.testing.assert_array_equal(again, expected)
    assert len(archive.given) == 2
    assert archive.refused > 0


def test_a_server_that_refuses_whatever_the_token_is_told_without_it(archive, acquisition):
    archive.life = -1
    with pytest.raises(S2SharpError) as caught:
        Files(acquisition).mosaic("B02", acquisition.box)
    assert caught.value.kind == "asset-unreadable"
    assert "band B02" in str(caught.value)
    assert "403" in str(caught.value)
    assert "T0PS3CRET" not in str(caught.value)
    assert "sig" not in str(caught.value)
    assert len(archive.given) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (404, "answered 404"),
        (500, "answered 500"),
        (b"[]", "not a JSON object"),
        (b"{}", "no token"),
    ],
)
def test_a_token_server_that_gives_none_is_told(tmp_path, acquisition, monkeypatch, answer, said):
    with http_server(tmp_path, lambda *_: answer) as url:
        source = acquisition.scenes[0].sources[0]
        source = Source(
            **{n: getattr(source, n) for n in source.__slots__} | {"href": f"{url}/a/b/c.tif"}
        )
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{url}/token")
        with pytest.raises(S2SharpError) as caught:
            signed(source, acquisition.scenes[0].href)
    assert caught.value.kind == "signing-failed"
    assert (caught.value.item, caught.value.band) == (acquisition.scenes[0].id, source.band)
    assert said in caught.value.message
    assert f"band {source.band}" in caught.value.message
    assert f"{url}/token/a/b" in caught.value.message


def test_a_subscription_key_goes_to_the_token_server_alone(archive, acquisition, monkeypatch):
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "hunter2")
    asked = []
    read = s2sharp.catalog.signing.read_json

    def watched(io: Any, href: str) -> dict[str, Any]:
        asked.append((href, io.session.headers.get("Ocp-Apim-Subscription-Key")))
        return read(io, href)

    monkeypatch.setattr(s2sharp.catalog.signing, "read_json", watched)
    href = signed(acquisition.scenes[0].sources[0], acquisition.scenes[0].href)
    assert asked == [(f"{archive.url}/api/sas/v1/token/account/container", "hunter2")]
    assert "hunter2" not in href


# Archives that sign what they serve


def by_items(archive: Archive, tmp_path: Path) -> list[pystac.Item]:
    """Items whose addresses are signed anew each time that the site is asked for one."""
    items = catalog(archive, tmp_path)
    documents = {f"/stac/{item.id}.json": item.to_dict(transform_hrefs=False) for item in items}
    plain = archive.answer

    def answer(number: int, path: str) -> int | bytes | None:
        if path not in documents:
            return plain(number, path)
        query, _ = archive.sign()
        document = json.loads(json.dumps(documents[path]))
        for asset in document["assets"].values():
            asset["href"] += f"?{query}"
        return json.dumps(document).encode()

    archive.answer = answer
    return items


@pytest.fixture
def site(tmp_path) -> Iterator[tuple[Archive, str]]:
    """A web site that signs what it serves, and the address of its collection."""
    folder = tmp_path / "site"
    simulate(folder / "account" / "container", cells=24, tiles=2, seed=3)
    archive = Archive(life=1.0)
    with http_server(folder, lambda *asked: archive.answer(*asked)) as url:
        archive.url = url
        yield archive, publish(archive, tmp_path, by_items(archive, tmp_path))


def test_a_run_that_outlives_the_items_signatures_reads_on(tmp_path, site, capfd):
    archive, collection = site
    out = tmp_path / "out"
    settings = config(
        tmp_path, out, catalog=collection, collection=COLLECTION, workers=1, shard=8, bands=THREE
    )
    plan, outcome = run(settings)
    assert not outcome.failed
    assert {s.sign for a in plan.acquisitions for x in a.scenes for s in x.sources} == {"item"}
    # Four were given with the items that the search found.
    assert len(archive.given) > 4
    assert archive.refused == 0
    assert secrets_in(out) == []
    said = capfd.readouterr()
    assert "T0PS3CRET" not in said.out + said.err


def test_what_is_frozen_of_signed_items_can_still_be_read(tmp_path, site):
    archive, collection = site
    found = search(collection, COLLECTION, WORLD, "2024")
    written = write_items(tmp_path / "items.parquet", found, THREE, collection)
    said = str(pq.read_table(tmp_path / "items.parquet").to_pylist())
    assert "/account/container/scenes/" in said
    assert "sig=" not in said
    frozen = search(str(tmp_path / "items.parquet"), COLLECTION, WORLD, "2024")
    again = group(frozen, THREE, collection)
    assert again == written
    archive.withdrawn |= set(archive.given)
    (acquisition,), *_ = again
    dn, _ = Files(acquisition).mosaic("B02", acquisition.box)
    assert dn.any()


def test_an_item_that_no_longer_names_a_file_is_told(site):
    archive, collection = site
    (acquisition,), *_ = group(search(collection, COLLECTION, WORLD, "2024"), THREE, collection)
    scene = acquisition.scenes[0]
    s2sharp.catalog.signing._known.clear()
    archive.answer = lambda *_: json.dumps({"type": "Feature"}).encode()
    with pytest.raises(S2SharpError, match="no longer a STAC item") as caught:
        signed(scene.sources[0], scene.href)
    assert caught.value.kind == "signing-failed"
    document = pystac.Item("x", None, None, datetime(2024, 1, 1, tzinfo=UTC), {}).to_dict()
    archive.answer = lambda *_: json.dumps(document).encode()
    with pytest.raises(S2SharpError, match="no longer names") as caught:
        signed(scene.sources[0], scene.href)
    assert scene.sources[0].href in caught.value.message
    assert caught.value.kind == "asset-moved", (
        "it is not tried again: nothing comes back by waiting"
    )


def test_a_remote_item_cannot_sign_the_way_to_a_local_file(site):
    archive, collection = site
    (acquisition,), *_ = group(search(collection, COLLECTION, WORLD, "2024"), THREE, collection)
    scene = acquisition.scenes[0]
    document = pystac.Item("x", None, None, datetime(2024, 1, 1, tzinfo=UTC), {}).to_dict()
    document["assets"] = {
        "B01": {"href": "/etc/passwd?sig=x"},
        "B02": {"href": "file:///etc/passwd"},
    }
    archive.answer = lambda *_: json.dumps(document).encode()
    with pytest.raises(S2SharpError, match="no longer names"):
        signed(scene.sources[0], scene.href, anew=True)


# Which way is taken


def test_an_unsigned_archive_is_asked_for_nothing_but_its_files(tmp_path):
    asked = []
    picture = noise(BOX, *THREE)
    (item,) = scenes(tmp_path, picture, BOX)
    with http_server(tmp_path, lambda _, path: asked.append(path)) as url:
        for asset in item.assets.values():
            asset.href = f"{url}/{Path(asset.href).relative_to(tmp_path)}"
        item.set_self_href(f"{url}/item.json")
        (acquisition,), *_ = group([item], THREE, f"{url}/catalog.json")
        dn, _ = Files(acquisition).mosaic("B02", BOX)
    np.testing.assert_array_equal(dn, picture["B02"])
    assert {Path(path).name for path in asked} == {"B02.tif"}
