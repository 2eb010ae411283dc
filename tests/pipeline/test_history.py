"""A cube as it was after each run can be opened again, and nothing half-done is ever among its snapshots."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr
from s2sharp.cli.app import app
from s2sharp.cube.create import finish, lay_out
from s2sharp.cube.history import commit, snapshots
from s2sharp.cube.layout import LAYERS, Layout
from s2sharp.cube.open import open_cube
from s2sharp.cube.write import write_shard
from s2sharp.demo.synthetic import COLLECTION
from s2sharp.storage import location as module
from s2sharp.storage.files import files, read_bytes, remove, write_bytes
from s2sharp.storage.location import Location, place
from typer.testing import CliRunner

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box
from tests.services import SECRET
from tests.web import Proxy

from .runs import config, run

LAYOUT = Layout(32633, Box(9000, 9016, 1000, 1016), 8, 24, ("2024-06-01T10:00:00",), ("B02",))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube that is complete: written once, and copied."""
    out = tmp_path_factory.mktemp("complete")
    lay_out(out / "cube.zarr", [LAYOUT], {LAYOUT.group: {}})
    for row in range(2):
        for col in range(2):
            fill(out, row, col, 1)
    finish(out / "cube.zarr", "complete")
    return out


@pytest.fixture
def out(request: pytest.FixtureRequest, complete: Path, tmp_path: Path) -> Location:
    """An OUT with a complete cube, in a folder unless `stores` ask for another one."""
    store = getattr(request, "param", "folder")
    if store == "s3":
        request.getfixturevalue("s3")
    out = place(tmp_path if store == "folder" else f"s3://bucket/{uuid4().hex}")
    for name in files(complete):
        write_bytes(out / name, (complete / name).read_bytes())
    return out


stores = pytest.mark.parametrize("out", ["folder", "s3"], indirect=True)
"""Where it matters how versions of files are told apart, and how a snapshot becomes visible."""


def fill(out: Location, row: int, col: int, seed: int) -> None:
    """Noise: Icechunk keeps what is small, as constant shards are, in the manifest."""
    rng, shape = np.random.default_rng((seed, row, col)), LAYOUT.cells(row, col).pixels(10)
    data = {band: rng.integers(1, 10_000, shape).astype("int16") for band in LAYOUT.bands}
    data |= {
        name: rng.integers(0, 255, shape).astype(dtype) for name, (dtype, _, _) in LAYERS.items()
    }
    write_shard(out / "cube.zarr", LAYOUT, 0, row, col, data)


@stores
def test_each_snapshot_opens_as_the_cube_was(out: Location) -> None:
    first = commit(out, "first")
    then = open_cube(out).compute()
    fill(out, 1, 0, 7)
    finish(out / "cube.zarr", "complete")
    second = commit(out, "second")
    assert [(s.id, s.message) for s in snapshots(out)] == [(second, "second"), (first, "first")]
    xr.testing.assert_identical(open_cube(out, snapshot=first).compute(), then)
    now = open_cube(out).compute()
    assert not now.B02.equals(then.B02)
    xr.testing.assert_identical(open_cube(out, snapshot=second).compute(), now)


@stores
def test_only_what_changed_is_kept_again(out: Location) -> None:
    commit(out, "first")
    before = files(out / "cube.icechunk" / "chunks")
    fill(out, 0, 1, 3)
    fill(out, 1, 1, 1)  # written again, but as it was
    finish(out / "cube.zarr", "complete")
    commit(out, "second")
    new = files(out / "cube.icechunk" / "chunks").keys() - before.keys()
    assert len(new) == len(LAYOUT.bands) + len(LAYERS)


def test_a_run_that_changed_nothing_makes_no_snapshot(out: Location) -> None:
    assert commit(out, "first")
    fill(out, 0, 0, 1)
    finish(out / "cube.zarr", "complete")
    assert commit(out, "second") is None
    assert len(list(snapshots(out))) == 1


def test_what_was_emptied_is_empty_in_the_next_snapshot_and_there_in_the_last(
    out: Location,
) -> None:
    first = commit(out, "first")
    for name in files(out / "cube.zarr"):
        if name.endswith("/c/0/0/0"):
            remove(out / "cube.zarr" / name)
    second = commit(out, "second")
    assert float(open_cube(out, snapshot=first).B02[0, 0, 0]) > 0
    assert np.isnan(float(open_cube(out, snapshot=second).B02[0, 0, 0]))


def test_without_the_notes_of_the_last_snapshot_the_next_is_still_right(out: Location) -> None:
    commit(out, "first")
    remove(out / "cube.icechunk.json")
    fill(out, 0, 0, 9)
    for name in files(out / "cube.zarr"):
        if name.endswith("/c/0/1/1"):
            remove(out / "cube.zarr" / name)
    second = commit(out, "second")
    xr.testing.assert_identical(open_cube(out, snapshot=second).compute(), open_cube(out).compute())


def test_a_commit_that_is_interrupted_shows_nothing_and_is_made_good(
    out: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = commit(out, "first")
    fill(out, 0, 0, 5)
    fill(out, 1, 1, 5)

    def killed(file: Location) -> bytes:
        if file.as_posix().endswith("/c/0/1/1"):
            raise KeyboardInterrupt
        return read_bytes(file)

    with monkeypatch.context() as patch:
        patch.setattr("s2sharp.cube.history.read_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            commit(out, "interrupted")
    assert [s.id for s in snapshots(out)] == [first]
    again = commit(out, "again")
    xr.testing.assert_identical(open_cube(out, snapshot=again).compute(), open_cube(out).compute())


def test_no_credential_is_kept(s3: Proxy) -> None:
    out = place(f"s3://bucket/{uuid4().hex}")
    lay_out(out / "cube.zarr", [LAYOUT], {LAYOUT.group: {}})
    fill(out, 0, 0, 1)
    finish(out / "cube.zarr", "complete")
    commit(out, "first")
    assert not [name for name in files(out) if SECRET.encode() in read_bytes(out / name)]
    assert not [path for _, path in s3.requests if SECRET in path]


def test_what_is_not_there_is_said(tmp_path: Path, out: Location) -> None:
    with pytest.raises(S2SharpError) as caught:
        open_cube(tmp_path / "nothing", snapshot="1CECHNKREP0F1RSTCMT0")
    assert caught.value.kind == "no-history"
    assert not (tmp_path / "nothing").exists()
    first = commit(out, "first")
    with pytest.raises(S2SharpError) as caught:
        open_cube(out, snapshot="none")
    assert caught.value.kind == "snapshot-missing"
    assert str(first) in caught.value.remedy


def test_a_place_that_icechunk_does_not_know_is_said() -> None:
    with pytest.raises(S2SharpError) as caught:
        commit(place("memory://out"), "first")
    assert caught.value.kind == "bad-config"
    assert "memory://" in caught.value.message


def test_a_store_that_fails_leaves_the_cube_and_the_history_as_they_were(
    s3: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module._PATIENCE, "retries", {"total_max_attempts": 1})
    out = place(f"s3://bucket/{uuid4().hex}")
    lay_out(out / "cube.zarr", [LAYOUT], {LAYOUT.group: {}})
    finish(out / "cube.zarr", "complete")
    first = commit(out, "first")
    fill(out, 0, 0, 1)
    s3.trouble = lambda method, path: 403 if method == "PUT" and "cube.icechunk" in path else None
    with pytest.raises(S2SharpError) as caught:
        commit(out, "second")
    assert caught.value.kind == "store-unwritable"
    s3.trouble = lambda _method, _path: None
    assert [s.id for s in snapshots(out)] == [first]


def test_runs_keep_a_snapshot_each_and_the_command_lists_them(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = config(archive, out, scheduler, shard=48, bands="B02,B05", history=True)
    _, outcome = run(settings)
    assert outcome.snapshot
    assert not outcome.failed
    _, again = run(settings)
    assert again.snapshot is None, "nothing has changed"
    listed = CliRunner().invoke(app, ["history", str(out)], env={"COLUMNS": "200"})
    assert listed.exit_code == 0
    assert listed.output.count("\n") == 1
    assert outcome.snapshot in listed.output
    assert "1 acquisitions of synthetic-s2-l2a, 2024, by bicubic" in listed.output
    xr.testing.assert_identical(
        open_cube(out, snapshot=outcome.snapshot).compute(), open_cube(out).compute()
    )


def test_a_place_without_snapshots_is_refused_before_a_run_begins(archive: Path) -> None:
    where = ["--catalog", str(archive / "catalog.json"), "--collection", COLLECTION]
    what = ["--bbox", "16.36", "48.71", "16.39", "48.74", "--datetime", "2024", "--history"]
    said = CliRunner().invoke(app, ["run", *where, *what, "--out", "memory://nowhere/out"])
    assert said.exit_code == 2
    assert "Snapshots cannot be kept at memory://" in " ".join(said.output.split())
