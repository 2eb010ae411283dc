"""Runs: what is done is not done again, what breaks breaks alone, and what comes out is the same."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import s2sharp.engine.cluster
from distributed import Client
from s2sharp.cube.open import open_cube
from s2sharp.scenes.read import Files

from s2sharp_core import S2SharpError, load_sharpener, sharpen
from s2sharp_core.lattice import Lattice
from s2sharp_core.scene import make_scene

from .command import COMMAND
from .runs import config, records, run, shards
from .test_cli import call

UNITS = 6
"""32 cells meet two or three shards of 16 along an axis, as they lie on the lattice."""

NETS = {"method": "dsen2", "bands": "B02,B05,B11"}
"""One of the two nets, where it is not the pixels of all bands that matter."""


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run with nets."""
    out = tmp_path_factory.mktemp("whole") / "out"
    _, outcome = run(config(archive, out, scheduler, **NETS))
    assert not outcome.failed
    return out


def test_a_run_gives_what_sharpen_gives_on_the_joined_scenes(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    whole = tmp_path / "out"
    of_each = {"method": "dsen2", "precision": "float32", "bands": "B01,B02,B05,B12"}
    plan, _ = run(config(archive, whole, scheduler, **of_each))
    acquisition = plan.acquisitions[0]
    files = Files(acquisition)
    data = {}
    for band in plan.reads:
        dn, _ = files.mosaic(band, acquisition.box)
        data[band] = np.where(dn == 0, np.nan, (dn.astype(np.float32) - 1000) / 10_000)
    scene = make_scene(
        {b: y.astype(np.float32) for b, y in data.items()}, Lattice.of(32633), acquisition.box
    )
    # In float32: bfloat16 makes whole DN of the last digit by which the two scenes may differ.
    sharpener = load_sharpener("dsen2", precision="float32")
    expected = sharpen(scene, sharpener, bands=plan.config.bands, window=16)
    cube = open_cube(whole).isel(time=0).load()
    for band in plan.config.bands:
        known = np.isfinite(expected[band].values)
        if band == "B02":
            assert (np.isfinite(cube[band].values) == known).all()
        else:
            assert (np.isfinite(cube[band].values) == (cube["valid"].values == 1)).all()
        both = known & np.isfinite(cube[band].values)
        np.testing.assert_allclose(cube[band].values[both], expected[band].values[both], atol=6e-5)
    assert np.array_equal(cube.x, expected.x)
    assert np.array_equal(cube.y, expected.y)
    assert 0.5 < float(cube["valid"].mean()) < 1
    assert set(np.unique(cube["source"])) == {0, 1, 2, 3, 4}
    assert set(np.unique(cube["cloud"])) <= {0, 4, 5, 6}


def test_the_same_command_again_does_nothing(archive: Path, whole: Path, scheduler: str) -> None:
    before, stored = records(whole), shards(whole)
    _, outcome = run(config(archive, whole, scheduler, **NETS))
    assert outcome.counts == {"skipped": UNITS}
    assert records(whole) == before
    assert shards(whole) == stored


def test_with_and_without_the_stage_the_cube_is_the_same(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    # A budget of a few bytes evicts every shard as soon as nobody uses it.
    settings = config(
        archive, tmp_path / "out", scheduler, **NETS, stage="always", stage_budget=1e-6
    )
    plan, outcome = run(settings)
    assert plan.staged
    assert outcome.counts["ok"] == UNITS
    assert shards(tmp_path / "out") == shards(whole)
    assert not (tmp_path / "out" / "stage").exists()


@pytest.mark.usefixtures("foreseen")
def test_a_run_that_was_killed_is_continued_and_equals_an_undisturbed_one(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    """With its own workers; whose it is that go on makes no difference."""
    out = tmp_path / "out"
    settings = config(archive, out, **NETS)
    words = [
        "run",
        *("--catalog", settings.catalog, "--collection", settings.collection, "--out", str(out)),
        *("--bbox", *map(str, settings.bbox or ()), "--datetime", "2024", "--method", "dsen2"),
        *("--bands", NETS["bands"], "--window", "16", "--shard", "16", "--no-publish"),
    ]
    process = subprocess.Popen(
        [*COMMAND, *words, "--workers", "1"], start_new_session=True, stdout=subprocess.DEVNULL
    )
    while len(records(out)) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _wait_for_no_worker_of(out)
    before = records(out)
    assert 2 <= len(before) < UNITS

    code, text = call(*words, "--scheduler", scheduler)
    assert code == 0, text
    assert f"{len(before)} skipped" in text
    after = records(out)
    assert {name: after[name] for name in before} == before
    assert shards(out) == shards(whole)
    assert not list(out.rglob("*.partial"))


def _wait_for_no_worker_of(out: Path) -> None:
    """Dask's workers leave when their nanny is gone; they may finish the unit at hand."""
    deadline = time.monotonic() + 30
    count = -1
    while time.monotonic() < deadline:
        now = len(records(out))
        if now == count:
            return
        count = now
        time.sleep(1.5)


def test_a_corrupt_file_costs_its_own_units_and_they_alone_are_redone(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    broken = shutil.copytree(archive, tmp_path / "archive")
    (victim,) = broken.glob("scenes/*AD_*/B11.tif")
    content = victim.read_bytes()
    # The header stays whole; the pixels do not.
    victim.write_bytes(content[: len(content) // 3])
    out = tmp_path / "out"
    _, outcome = run(config(broken, out, scheduler, **NETS, retries=0))
    assert 0 < len(outcome.failed) < UNITS
    assert {record.kind for record in outcome.failed} == {"asset-unreadable"}
    assert all("AD_" in r.message and "B11" in r.message for r in outcome.failed)
    done = {name: when for name, when in records(out).items() if "/x1_" in name and ".ok" in name}
    assert len(done) == UNITS - len(outcome.failed)
    assert float(open_cube(out)["valid"].mean()) > 0.1

    victim.write_bytes(content)
    _, outcome = run(config(broken, out, scheduler, **NETS))
    assert outcome.counts["skipped"] == len(done)
    assert not outcome.failed
    assert {name: records(out)[name] for name in done} == done
    assert shards(out) == shards(whole)


def test_units_under_cloud_alone_are_skipped_and_say_so(
    scheduler: str, tmp_path: Path, archive: Path
) -> None:
    cloudy = shutil.copytree(archive, tmp_path / "archive")
    for file in cloudy.glob("scenes/*/SCL.tif"):
        with rasterio.open(file) as dataset:
            profile, scl = dataset.profile, dataset.read(1)
        profile.update(driver="GTiff")
        with rasterio.open(file, "w", **profile) as dataset:
            dataset.write(np.where(scl == 0, 0, 9).astype(np.uint8), 1)
    _, outcome = run(config(cloudy, tmp_path / "out", scheduler, bands="B02,B05"))
    assert set(outcome.counts) <= {"cloudy", "empty"}
    assert outcome.windows == 0
    cube = open_cube(tmp_path / "out")
    assert int(cube["cloud"].max()) == 9
    assert not np.isfinite(cube["B05"]).any()


def test_a_band_that_does_not_lie_on_the_others_is_told_with_its_shift(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    shifted = shutil.copytree(archive, tmp_path / "archive")
    for file in shifted.glob("scenes/*/B8A.tif"):
        with rasterio.open(file) as dataset:
            profile, dn = dataset.profile, dataset.read(1)
        profile.update(driver="GTiff")
        with rasterio.open(file, "w", **profile) as dataset:
            dataset.write(np.roll(dn, 2, axis=1), 1)
    _, outcome = run(
        config(shifted, tmp_path / "out", scheduler, method="dsen2", shard=48, window=48)
    )
    (warning,) = (text for text in outcome.warnings if "B8A" in text)
    assert "+40) m" in warning
    assert "S2A_20240601T101031_32633" in warning
    assert not any("B12" in text.split("—")[0] for text in outcome.warnings if "B8A" not in text)


def test_an_output_folder_of_another_run_is_refused(archive: Path, whole: Path) -> None:
    before = shards(whole)
    with pytest.raises(S2SharpError, match="method: dsen2 → bicubic") as caught:
        run(config(archive, whole, **{**NETS, "method": "bicubic"}))
    assert caught.value.kind == "other-run"
    assert shards(whole) == before


def test_a_folder_with_a_foreign_cube_is_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "cube.zarr").mkdir(parents=True)
    with pytest.raises(S2SharpError) as caught:
        run(config(archive, tmp_path / "out"))
    assert caught.value.kind == "other-run"


def test_only_the_bands_asked_for_are_delivered(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    plan, _ = run(config(archive, tmp_path / "out", scheduler, bands=("B03", "B05")))
    assert plan.reads == ("B03", "B05")
    cube = open_cube(tmp_path / "out")
    assert list(cube.data_vars) == ["B03", "B05", "valid", "cloud", "saturated", "source"]


def test_ten_metre_bands_alone_need_no_sharpener(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    plan, outcome = run(config(archive, tmp_path / "out", scheduler, bands=("B04",)))
    assert outcome.windows == 0
    cube = open_cube(tmp_path / "out")["B04"].values[0]
    dn, _ = Files(plan.acquisitions[0]).mosaic("B04", plan.layouts[0].area)
    expected = np.where(dn == 0, np.nan, (dn.astype(np.float32) - 1000) / 10_000)
    np.testing.assert_allclose(cube, expected, atol=1e-7)


def test_no_scheduler_at_the_address_is_said(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is looked for as long as one may take to start, which none does here.
    soon = lambda where, **more: Client(where, **{**more, "timeout": "1s"})  # noqa: E731
    monkeypatch.setattr(s2sharp.engine.cluster, "Client", soon)
    with pytest.raises(S2SharpError) as caught:
        run(config(archive, tmp_path / "out", "tcp://127.0.0.1:9"))
    assert caught.value.kind == "scheduler-unreachable"


def test_a_full_disk_fails_clearly_and_the_rest_is_done_when_there_is_room(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with_nets = config(archive, out, scheduler, **NETS, retries=0)
        _, outcome = run(with_nets)
        assert {record.kind for record in outcome.failed} == {"store-unwritable"}
        assert all("No space left" in record.message for record in outcome.failed)
        subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
        _, outcome = run(with_nets)
        assert not outcome.failed
        assert shards(out) == shards(whole)
        assert not list(out.rglob("*.partial"))
    finally:
        subprocess.run(["umount", str(out)], check=True)
