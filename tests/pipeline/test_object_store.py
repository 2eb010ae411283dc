"""Whole runs to an object store: what they write is what a folder gets, and what breaks breaks alone."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import s2sharp.engine.dispatch
import s2sharp.storage.location
import xarray as xr
from distributed import LocalCluster
from rio_cogeo.cogeo import cog_validate
from s2sharp.cli.app import app
from s2sharp.cube.open import open_cube
from s2sharp.engine.ledger import Ledger
from s2sharp.execution.datatake_jobs import fit_unit
from s2sharp.execution.run import Run
from s2sharp.planning.make import make_plan
from s2sharp.storage.files import files, read_text
from s2sharp.storage.location import Location, place
from typer.testing import CliRunner

from s2sharp_core import S2SharpError
from tests.services import SECRET
from tests.web import Proxy

from .command import COMMAND
from .runs import EVERYWHERE, config, records, run, shards

# 32 cells meet two or three shards of 16 along an axis, as they lie on the lattice. Each request costs as much as a band's pixels.
SMALL = {"shard": 16, "bands": "B05"}


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run to a folder."""
    out = tmp_path_factory.mktemp("whole") / "out"
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert not outcome.failed
    return out


def units(out: Location) -> int:
    return sum("/x1_" in name for name in records(out))


def command(archive: Path, out: str, *more: str) -> list[str]:
    where = ["--catalog", str(archive / "catalog.json"), "--collection", "synthetic-s2-l2a"]
    area = ["--bbox", *map(str, EVERYWHERE), "--datetime", "2024"]
    how = ["--method", "bicubic", "--window", "16", "--shard", "16", "--bands", SMALL["bands"]]
    return ["run", *where, *area, *how, "--out", out, *more]


@pytest.fixture(scope="module")
def printed() -> list[str]:
    return []


@pytest.fixture
def remote(
    archive: Path,
    s3: Proxy,
    scheduler: str,
    printed: list[str],
    request: pytest.FixtureRequest,
) -> Location:
    """The same run as `whole`, to an object store, through the stage; made once."""
    request.getfixturevalue("foreseen")
    out = place("s3://kept/out")
    if not files(out):
        flags = command(archive, str(out), "--scheduler", scheduler, "--stage", "always")
        done = CliRunner().invoke(app, flags, env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        printed.append(done.output)
        staged = [path for method, path in s3.requests if method == "PUT" and "/stage/" in path]
        assert any("/B05/c/" in path for path in staged)
    return out


def test_the_shards_are_those_of_a_run_to_a_folder(remote: Location, whole: Path) -> None:
    assert shards(remote) == shards(whole)
    assert set(records(remote)) == set(records(whole))


def test_the_same_is_there_as_in_a_folder(remote: Location, whole: Path) -> None:
    # The page at the end is the command line's.
    assert set(files(remote)) - {"report.html"} == set(files(whole)) - {"report.html"}
    assert not any(name.startswith("stage/") for name in files(remote))


def test_the_cube_opens_by_its_url(remote: Location, whole: Path) -> None:
    for url in (str(remote), f"{remote}/cube.zarr", remote):
        cube = open_cube(url)
        assert cube.rio.crs.to_epsg() == 32633
    xr.testing.assert_identical(open_cube(remote).compute(), open_cube(whole).compute())
    x1 = open_cube(remote, level=1)
    assert x1.sizes["x"] * 2 == open_cube(remote).sizes["x"]


def test_cogs_are_valid_and_the_catalog_leads_to_them(
    remote: Location, whole: Path, tmp_path: Path
) -> None:
    collection = json.loads(read_text(remote / "stac" / "collection.json"))
    (link,) = (link["href"] for link in collection["links"] if link["rel"] == "item")
    assert not re.match(r"\w+://", link), "a self-contained catalog can be moved"
    item = remote / os.path.normpath(f"stac/{link}")
    document = json.loads(read_text(item))
    cog = tmp_path / "B05.tif"
    (name,) = (n for n in files(remote) if n.endswith("/B05.tif"))
    assert os.path.normpath(f"stac/items/{document['assets']['B05']['href']}") == name
    cog.write_bytes((remote / name).read_bytes())
    assert cog_validate(cog)[0]
    with rasterio.open(cog) as there, rasterio.open(whole / name) as here:
        assert (there.read() == here.read()).all()
    local = json.loads((whole / "stac" / link).read_text())
    for told in (document, local):
        for when in ("created", "updated"):
            told["properties"].pop(when)
    assert document == local
    assert (remote / document["assets"]["thumbnail"]["href"].removeprefix("../../")).exists()


def test_the_same_command_again_does_nothing(
    archive: Path, remote: Location, s3: Proxy, scheduler: str
) -> None:
    before = records(remote)
    s3.requests.clear()
    _, outcome = run(config(archive, remote, scheduler, publish=True, **SMALL))
    assert outcome.counts == {"skipped": units(remote)}
    assert records(remote) == before
    assert not [path for method, path in s3.requests if method == "PUT" and "/c/" in path]


def test_no_credential_is_written_or_printed(
    remote: Location, s3: Proxy, printed: list[str]
) -> None:
    secrets = (SECRET, os.environ["AWS_ACCESS_KEY_ID"])
    everything = {name: (remote / name).read_bytes() for name in files(remote)}
    assert len(everything) > 50
    for secret in secrets:
        assert not [name for name, content in everything.items() if secret.encode() in content]
        assert not [path for _, path in s3.requests if secret in path]
        assert secret not in "".join(printed)
    assert "s3://kept/out" in "".join(printed)


def test_credentials_in_the_address_are_refused_before_anything_starts(
    archive: Path, s3: Proxy
) -> None:
    done = CliRunner().invoke(app, command(archive, f"s3://AKIA:{SECRET}@bucket/out"))
    assert done.exit_code == 2
    assert SECRET not in done.output
    assert "AWS_SECRET_ACCESS_KEY" in done.output
    assert not s3.requests


def test_a_run_that_was_killed_is_continued_and_nothing_is_done_twice(
    archive: Path, whole: Path, s3: Proxy, scheduler: str
) -> None:
    out = place("s3://bucket/killed")
    flags = command(archive, str(out), "--no-publish", "--lease", "3", "--scheduler", scheduler)
    process = subprocess.Popen(
        [*COMMAND, *flags],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    while len(records(out)) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _wait_for_silence(s3)
    before = records(out)
    assert 2 <= len(before) < units(whole)

    s3.requests.clear()
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert outcome.counts["skipped"] == len(before)
    assert {name: records(out)[name] for name in before} == before
    recorded = [path for method, path in s3.requests if method == "PUT" and "/ledger/" in path]
    assert len(recorded) == len(set(recorded)) == len(records(out)) - len(before)
    assert shards(out) == shards(whole)


def _wait_for_silence(s3: Proxy) -> None:
    """Workers may finish the unit at hand, and begin no other one."""
    count = -1
    while count != len(s3.requests):
        count = len(s3.requests)
        time.sleep(2)


def test_refused_requests_now_and_then_cost_nothing(
    archive: Path, whole: Path, s3: Proxy, scheduler: str
) -> None:
    number = itertools.count(1)
    s3.trouble = lambda _method, _path: (
        (503 if n % 2 else 500) if (n := next(number)) % 29 == 0 else None
    )
    out = place("s3://bucket/refused")
    _, outcome = run(config(archive, out, scheduler, publish=True, **SMALL))
    assert not outcome.failed
    assert len(s3.requests) > 150
    s3.trouble = lambda _method, _path: None
    assert shards(out) == shards(whole)
    assert set(files(out)) == set(files(whole))


def test_silence_now_and_then_costs_its_time_alone(
    archive: Path, whole: Path, s3: Proxy, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(s2sharp.storage.location._PATIENCE, "read_timeout", 1)
    number = itertools.count(1)
    s3.trouble = lambda _method, _path: 1.5 if next(number) % 97 == 0 else None
    out = place("s3://bucket/silent")
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert not outcome.failed
    s3.trouble = lambda _method, _path: None
    assert shards(out) == shards(whole)


def test_what_cannot_be_written_for_good_fails_by_name_and_alone(
    archive: Path, whole: Path, s3: Proxy, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(s2sharp.storage.location._PATIENCE, "retries", {"total_max_attempts": 2})
    monkeypatch.setattr(s2sharp.engine.dispatch, "_BACKOFF", 0.1)  # it will not do better later
    out = place("s3://bucket/broken")
    s3.trouble = lambda method, path: (
        503 if method == "PUT" and path.endswith("/32633/B05/c/0/1/1") else None
    )
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    (failed,) = outcome.failed
    assert failed.kind == "store-unwritable"
    assert "/x1_" in failed.unit
    assert "s3://bucket/broken" in failed.message
    assert outcome.counts["ok"] == units(whole) - 1
    (told,) = (r for r in Ledger(out / "ledger").records() if r.status == "failed")
    assert replace(told, written="") == failed

    s3.trouble = lambda _method, _path: None
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert outcome.counts == {"skipped": units(whole) - 1, "ok": 1}
    assert shards(out) == shards(whole)


def test_any_store_that_fsspec_knows_will_do(archive: Path, whole: Path) -> None:
    out = place("memory://any/out")
    # Its workers are threads of this process: no other one has this memory.
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        _, outcome = run(config(archive, out, cluster.scheduler_address, publish=True, **SMALL))
    assert not outcome.failed
    assert shards(out) == shards(whole)
    assert set(files(out)) == set(files(whole))
    xr.testing.assert_identical(open_cube("memory://any/out").compute(), open_cube(whole).compute())


@pytest.mark.parametrize("out", ["s3://no-such-bucket/out", "s3://bucket/refused-at-once"])
def test_a_store_that_takes_nothing_ends_the_run_with_one_message(
    archive: Path, s3: Proxy, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.setitem(s2sharp.storage.location._PATIENCE, "retries", {"total_max_attempts": 2})
    s3.trouble = lambda method, path: 403 if method == "PUT" and "at-once" in path else None
    with pytest.raises(S2SharpError) as caught:
        run(config(archive, out))
    assert caught.value.kind == "store-unwritable"
    assert out in caught.value.message
    assert SECRET not in str(caught.value)


@pytest.mark.usefixtures("s3")
def test_what_is_fitted_lies_in_the_store_and_serves_elsewhere(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    fast = {"method": "ssc_cnn", "fit_steps": 2, "fit_windows": 1, "bands": "B04,B05"}
    fast |= {"fit_threads": 1, "window": 48, "shard": 48, "sensor": "default"}
    out = place("s3://bucket/fitted")
    _, outcome = run(config(archive, out, scheduler, **fast))
    assert not outcome.failed
    plan = make_plan(config(archive, tmp_path / "out", **fast)).freeze()
    assert fit_unit(Run(plan.out, plan.stamp, 0), plan.datatakes[0]).status == "ok"
    there, here = fitted(out), fitted(tmp_path / "out")
    assert there.keys() == here.keys()
    (weights,) = (name for name in here if name.endswith(".safetensors"))
    assert there[weights] == here[weights]
    folder = weights.split("/")[1]
    elsewhere = {**fast, "fit_steps": None, "fit_windows": None}
    again = config(
        archive, tmp_path / "again", scheduler, weights=f"{out}/fits/{folder}", **elsewhere
    )
    _, outcome = run(again)
    assert not outcome.failed
    assert shards(tmp_path / "again") == shards(out)


def fitted(out: Location) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in files(out) if name.startswith("fits/")}
