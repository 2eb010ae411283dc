"""Whose keys are used for what, and how large a block of a file may be."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numcodecs
import numpy as np
import pystac
import pytest
import rasterio
from rasterio.transform import from_origin
from s2sharp.catalog import gdal_credentials
from s2sharp.catalog.access import FREE, OWN, PAID, Access, keyed
from s2sharp.catalog.chunk_limits import MAX_BLOCK
from s2sharp.catalog.eopf import _group, opened
from s2sharp.catalog.faults import BrokenError
from s2sharp.catalog.sources import Source, sources
from s2sharp.planning.config import read_config
from s2sharp.scenes.raster import reading

from s2sharp_core import S2SharpError

from . import items

FILE = Source("B02", "s3://theirs/B02.tif", 1e-4, -0.1, 0, "item metadata")
LOCAL = "/data/catalog.json"


def write(file: Path, shape: tuple[int, int], **options: object) -> Path:
    """A sparse GeoTIFF."""
    about = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    place = from_origin(600_000, 5_400_000, 10, 10)
    size = {"height": shape[0], "width": shape[1], "transform": place}
    with rasterio.open(file, "w", **(about | size | options)) as made:
        if shape[0] < 1000:
            made.write(np.full(shape, 7, "uint16"), 1)
    return file


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str]]]:
    """An S3 store of one file: (path, who signed, who pays) of each request; and no keys in the environment."""
    data = write(tmp_path / "B02.tif", (20, 20)).read_bytes()
    asked: list[tuple[str, str, str]] = []

    class Store(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            signed = self.headers.get("Authorization") or ""
            who = signed.partition("Credential=")[2].partition("/")[0]
            asked.append((self.path, who, self.headers.get("x-amz-request-payer") or ""))
            refused = self.path.startswith("/private") and not who
            self.send_response(403 if refused else 200)
            body = b"<Error><Code>AccessDenied</Code></Error>" if refused else data
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_HTTPS", "NO")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    gdal_credentials._chain.cache_clear()
    yield asked
    gdal_credentials._chain.cache_clear()
    server.shutdown()
    server.server_close()


def read(source: Source) -> int:
    return int(
        reading(source, "item", None, lambda file: file.read(slice(0, 1), slice(0, 1)))[0, 0]
    )


def own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize("href", ["s3://theirs/B02.tif", "S3://theirs/B02.tif"])
def test_a_bucket_that_nobody_named_is_read_without_keys(
    store: list, monkeypatch: pytest.MonkeyPatch, href: str
) -> None:
    own_keys(monkeypatch)
    monkeypatch.setenv("AWS_REQUEST_PAYER", "")
    source = keyed(replace(FILE, href=href), None, LOCAL, FREE)
    try:
        assert read(source) == 7
    except S2SharpError:
        assert href.startswith("S3")
    assert {(who, pays) for _, who, pays in store} <= {("", "")}


def test_a_refusal_says_how_a_bucket_is_named(store: list, monkeypatch: pytest.MonkeyPatch) -> None:
    own_keys(monkeypatch)
    with pytest.raises(S2SharpError) as caught:
        read(replace(FILE, href="s3://private/B02.tif"))
    assert "--s3-bucket private" in caught.value.remedy
    named = Access(buckets=frozenset({"private"}))
    assert read(keyed(replace(FILE, href="s3://private/B02.tif"), None, LOCAL, named)) == 7
    assert store[-1][1:] == ("AKIAMINE", "")


@pytest.mark.parametrize("way", ["environment", "profile", "process"])
def test_keys_are_found_wherever_aws_tools_find_them(
    store: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """A process stands for what roles, SSO and web identities have in common: keys that somebody else gives."""
    if way == "environment":
        own_keys(monkeypatch)
    else:
        monkeypatch.setenv("AWS_PROFILE", "work")
    if way == "profile":
        (tmp_path / "credentials").write_text(
            "[work]\naws_access_key_id = AKIAMINE\naws_secret_access_key = secret\n"
        )
    given = {"Version": 1, "AccessKeyId": "AKIAMINE", "SecretAccessKey": "secret"}
    (tmp_path / "keys.json").write_text(json.dumps(given | {"SessionToken": "token"}))
    process = f"credential_process = cat {tmp_path}/keys.json\n" if way == "process" else ""
    (tmp_path / "config").write_text(f"[profile work]\nregion = eu-central-1\n{process}")
    paid = Access(buckets=frozenset({"theirs"}), pays=True)
    assert read(keyed(FILE, None, LOCAL, paid)) == 7
    assert {(who, pays) for _, who, pays in store} == {("AKIAMINE", "requester")}


def test_where_there_are_no_keys_nothing_is_signed(store: list) -> None:
    assert read(replace(FILE, sign=OWN)) == 7
    assert {who for _, who, _ in store} == {""}


def test_keys_that_cannot_be_had_are_told(store: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(S2SharpError, match="ProfileNotFound") as caught:
        read(replace(FILE, sign=OWN))
    assert caught.value.kind == "keys-missing"
    assert not store


@pytest.mark.parametrize(
    ("access", "catalog", "way"),
    [
        (FREE, LOCAL, "none"),
        (FREE, "https://theirs.s3.amazonaws.com/catalog.json", "none"),
        (FREE, "s3://theirs/products", OWN),
        (FREE, "s3://mine/products", "none"),
        (Access(buckets=frozenset({"theirs"})), LOCAL, OWN),
        (Access(buckets=frozenset({"mine"})), LOCAL, "none"),
        (Access(pays=True), LOCAL, PAID),
        (Access(buckets=frozenset({"mine"}), pays=True), LOCAL, "none"),
        (Access(buckets=frozenset({"theirs"}), pays=True), LOCAL, PAID),
        (Access(sign="none", buckets=frozenset({"theirs"})), LOCAL, "none"),
    ],
)
def test_keys_go_to_the_catalogs_own_bucket_and_those_that_are_named(
    access: Access, catalog: str, way: str
) -> None:
    assert keyed(FILE, None, catalog, access).sign == way


def test_no_item_can_ask_for_the_operators_keys() -> None:
    document = items.earth_search()
    for asset in document["assets"].values():
        asset |= {"href": "s3://theirs/x.tif", "auth:refs": [OWN]}
    (source,) = sources(pystac.Item.from_dict(document), ["B02"]).values()
    assert source.sign == "none"


def test_the_configuration_says_which_buckets_and_who_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"out": tmp_path, "bbox": (1, 1, 2, 2), "datetime": "2024"}
    monkeypatch.delenv("AWS_REQUEST_PAYER", raising=False)
    assert read_config(None, asked).access == FREE
    named = read_config(None, {**asked, "s3_bucket": ["s3://b/", "a"], "requester_pays": True})
    assert named.access == Access(buckets=frozenset({"a", "b"}), pays=True)
    monkeypatch.setenv("S2SHARP_S3_BUCKET", "a b")
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    assert read_config(None, asked).access == named.access


# Blocks


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (
            (24_000, 24_000),
            {"tiled": True, "blockxsize": 24_000, "blockysize": 24_000, "compress": "deflate"},
        ),
        ((9_000, 9_000), {"blockysize": 9_000, "compress": "deflate"}),
        (
            (6_000, 6_000),
            {"blockysize": 6_000, "count": 4, "interleave": "pixel", "compress": "deflate"},
        ),
    ],
)
def test_a_file_of_huge_blocks_is_refused_by_name(
    tmp_path: Path, shape: tuple[int, int], options: dict
) -> None:
    file = write(tmp_path / "x.tif", shape, SPARSE_OK="TRUE", **options)
    # A file of several bands is no band, whatever its blocks.
    why = rf"blocks of {shape[0]} × {shape[0]} px|it holds 4 bands, not one"
    with pytest.raises(S2SharpError, match=why) as caught:
        read(replace(FILE, href=str(file)))
    assert caught.value.kind == "asset-unreadable"


def zarr_of(folder: Path, chunk: bytes, chunks: int, packed: dict | None) -> str:
    about = {"zarr_format": 2, "shape": [20, 20], "chunks": [chunks] * 2, "dtype": "<u2"}
    about |= {"fill_value": 0, "order": "C", "filters": None, "compressor": packed}
    array = folder / "x.zarr" / "b02"
    array.mkdir(parents=True)
    (array.parent / ".zgroup").write_text('{"zarr_format": 2}')
    (array / ".zarray").write_text(json.dumps(about))
    transform = {"proj:transform": [10, 0, 600_000, 0, -10, 5_400_000]}
    (array / ".zattrs").write_text(json.dumps(transform))
    (array / "0.0").write_bytes(chunk)
    _group.cache_clear()
    return str(array)


def test_an_array_of_huge_chunks_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BrokenError, match="chunks of 9000 × 9000 px"):
        opened(zarr_of(tmp_path, b"", 9000, None))


@pytest.mark.parametrize("codec", ["zstd", "blosc", "zlib", "gzip"])
def test_a_chunk_that_unpacks_to_more_than_it_should_is_refused(tmp_path: Path, codec: str) -> None:
    packer = numcodecs.get_codec({"id": codec})
    for name, size, fine in (("good", 800, True), ("bomb", MAX_BLOCK + 4096, False)):
        content = np.full(size // 2, 7, "<u2")
        href = zarr_of(tmp_path / name, bytes(packer.encode(content)), 20, packer.get_config())
        array = opened(href)
        if fine:
            assert (array.read(slice(0, 20), slice(0, 20)) == 7).all()
            continue
        with pytest.raises(BrokenError, match="more than 128 MB"):
            array.read(slice(0, 20), slice(0, 20))


def test_a_pipe_is_no_file_of_pixels(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "B02.tif")
    with pytest.raises(S2SharpError, match="not a regular file"):
        read(replace(FILE, href=str(tmp_path / "B02.tif")))
    array = Path(zarr_of(tmp_path, b"", 20, None))
    (array / "0.0").unlink()
    os.mkfifo(array / "0.0")
    with pytest.raises(BrokenError, match="not a regular file"):
        opened(str(array)).read(slice(0, 20), slice(0, 20))
