"""Archives and cubes that are made once for all tests, and the object store as a test finds it."""

import socket
from pathlib import Path

import pytest
from s2sharp.cube.layout import Layout

from s2sharp_core.lattice import Box
from tests.web import Proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogs that fail are asked again at once."""
    monkeypatch.setattr("s2sharp.catalog.http.BACKOFF", 0.01)


@pytest.fixture
def s3(store: tuple[Proxy, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The object store, ready for this process with nothing wrong yet: s3://bucket is empty, and
    s3://kept is as the tests before left it."""
    from s2sharp.storage.files import files
    from s2sharp.storage.location import place

    proxy, environment = store
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(proxy, "trouble", lambda _method, _path: None)
    bucket = place("s3://bucket")
    if names := files(bucket):
        bucket.fs.rm([f"bucket/{name}" for name in names])  # a thousand at a time
    proxy.requests.clear()
    return proxy


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static catalog of a synthetic acquisition: 32 × 32 cells in 2 × 2 overlapping tiles.

    Of these, a run with shards of 16 cells makes six units; each that is more costs half a second in every test.
    """
    from s2sharp.demo.synthetic import simulate

    folder = tmp_path_factory.mktemp("archive")
    simulate(folder, cells=32, tiles=2, dates=1, seed=3)
    return folder


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `archive`, of 48 × 48 cells: larger than a tile of a map, with a column of shards more, and whole enough without a tile to be shown."""
    from s2sharp.demo.synthetic import simulate

    folder = tmp_path_factory.mktemp("large")
    simulate(folder, cells=48, tiles=2, dates=1, seed=3)
    return folder


@pytest.fixture(scope="session")
def cloudy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of one code under clouds, for mosaics."""
    from .mosaics import make_cloudy

    return make_cloudy(tmp_path_factory.mktemp("cloudy"))


@pytest.fixture(scope="session")
def border(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of two codes, for mosaics."""
    from .mosaics import make_border

    return make_border(tmp_path_factory.mktemp("border"))


@pytest.fixture(scope="module", params=[32633, 32733], ids=["north", "south"])
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Layout, dict[str, Path]]:
    """A cube whose area is no whole number of shards, tiles or overview pixels, and its COGs."""
    from s2sharp.publish.cogs import write_cogs

    from .published import make_cube

    out = tmp_path_factory.mktemp("published")
    layout = make_cube(out, request.param, Box(47_670, 47_801, 12_005, 12_114))
    return out, layout, write_cogs(out, layout, 0, "first")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: who asks it fails."""

    def refuse(*args: object, **_: object) -> None:
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
