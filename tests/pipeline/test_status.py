"""Where a run stands, what a unit reads and writes, what is told, and what may go."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr
from s2sharp.cli.run import carry_out
from s2sharp.cli.run_folder_output import clean_up
from s2sharp.engine.events import Event, RunPlanned
from s2sharp.engine.lease import Lease
from s2sharp.engine.ledger import Ledger
from s2sharp.engine.listening import listeners
from s2sharp.execution.clean import clean, leftovers
from s2sharp.execution.execute import execute
from s2sharp.execution.status import status_of
from s2sharp.planning.config import RunConfig
from s2sharp.planning.explain import explain
from s2sharp.planning.make import make_plan

from s2sharp_core import S2SharpError

from .command import COMMAND
from .runs import config, records, run, shards
from .test_cli import call

UNITS = 6
"""Shards of 16 cells that hold something of the archive's 32 × 32."""

FEW = "B02,B11"
"""Enough where it is not the pixels that matter."""


def _flags(settings: RunConfig) -> list[str]:
    flags = ["--no-publish"]
    for name in [
        "catalog",
        "collection",
        "datetime",
        "out",
        "method",
        "window",
        "shard",
        "scheduler",
    ]:
        flags += [f"--{name}", str(getattr(settings, name))]
    return [*flags, "--bbox", *map(str, settings.bbox or ())]


def test_a_run_says_how_far_it_is_when_killed_and_when_done(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = config(archive, tmp_path / "out", scheduler)
    process = subprocess.Popen(
        [*COMMAND, "run", *_flags(settings)], start_new_session=True, stdout=subprocess.DEVNULL
    )
    while len(records(settings.out)) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    asked = ["status", str(settings.out)]
    name = f"Process {process.pid} on {socket.gethostname()}"
    os.kill(process.pid, signal.SIGSTOP)
    assert f"{name} is at work" in call(*asked)[1]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    status = status_of(settings.out)
    assert status.store == "writing"
    count = status.units["sharpen"]
    assert 2 <= count["ok"] < count.total()
    assert count["left"] == count.total() - count["ok"]

    code, text = call(*asked)
    assert code == 4
    assert "left: the same command does them" in text
    assert f"No process is at work: {name} has shown no sign of life" in text
    held = json.loads(call(*asked, "--json")[1])["holder"]
    assert (held["pid"], held["host"], held["alive"]) == (
        process.pid,
        socket.gethostname(),
        False,
    )
    run(settings)
    assert "No process is at work." in call(*asked)[1]
    code, text = call(*asked, "--json")
    assert code == 0, text
    facts = json.loads(text)
    assert (facts["cube"], facts["left"], facts["failed"]) == ("complete", 0, [])
    assert facts["holder"] is None
    assert facts["units"]["sharpen"] == {"ok": count.total()}


def test_the_area_of_a_run_is_known_when_its_file_is_gone(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    ring = [[16.3, 48.7], [16.4, 48.7], [16.3, 48.8], [16.3, 48.7]]
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    settings = config(archive, tmp_path / "out", scheduler, bands=FEW)
    settings = settings.model_copy(update={"bbox": None, "area": file})
    run(settings)
    file.rename(tmp_path / "moved.geojson")
    status = status_of(settings.out)
    assert status.left == 0
    assert status.units["sharpen"]["ok"] > 0
    before = records(settings.out)
    run(settings.model_copy(update={"area": tmp_path / "moved.geojson"}))
    assert records(settings.out) == before


def test_a_failed_unit_is_told_with_what_is_to_blame(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    broken = shutil.copytree(archive, tmp_path / "archive")
    (victim,) = broken.glob("scenes/*AD_*/B11.tif")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    settings = config(broken, tmp_path / "out", scheduler, bands=FEW, retries=0)
    _, outcome = run(settings)
    status = status_of(settings.out)
    assert status.store == "partial"
    assert status.left == len(status.failed) == len(outcome.failed) > 0
    for record in status.failed:
        assert record.kind == "asset-unreadable"
        assert "AD_" in record.item
        assert (record.band, record.attempt) == ("B11", 1)


def test_more_failures_than_allowed_stop_the_run_and_lose_nothing(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    broken = shutil.copytree(archive, tmp_path / "archive")
    for victim in broken.glob("scenes/*/B11.tif"):
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    settings = config(
        broken, tmp_path / "out", scheduler, bands=FEW, retries=0, max_failures=2, shard=8
    )
    plan, outcome = run(settings)
    assert outcome.stopped
    assert 3 <= len(outcome.failed) < len(list(plan.units()))
    assert status_of(settings.out).store == "partial"
    for victim in broken.glob("scenes/*/B11.tif"):
        shutil.copy(archive / victim.relative_to(broken), victim)
    _, outcome = run(settings)
    assert not outcome.stopped
    assert not status_of(settings.out).left


def test_a_unit_reads_the_windows_that_are_explained_and_writes_those_keys(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = config(archive, tmp_path / "out", scheduler, method="dsen2", bands="B02,B05")
    plan = make_plan(settings)
    about = explain(plan, "5")
    assert about == explain(plan, about.unit)
    run(settings)
    written = {str(path) for path in shards(settings.out)}
    # Layers that are zero everywhere store nothing.
    assert {key for key in about.writes if "/B" in key} <= written
    assert about.context == plan.margin
    for read in about.reads:
        with rasterio.open(read.href) as dataset:
            assert 0 <= read.rows[0] < read.rows[1] <= dataset.height
            assert 0 <= read.cols[0] < read.cols[1] <= dataset.width
    # Without a pixel of what it reads, the unit fails; without any other pixel, it does not.
    other = shutil.copytree(archive, tmp_path / "archive")
    for file in other.glob("scenes/*/B*.tif"):
        with rasterio.open(file) as dataset:
            profile, dn = dataset.profile, dataset.read(1)
        kept = np.zeros_like(dn)
        for read in about.reads:
            if Path(read.href).relative_to(archive) == file.relative_to(other):
                window = np.s_[read.rows[0] : read.rows[1], read.cols[0] : read.cols[1]]
                kept[window] = dn[window]
        profile.update(driver="GTiff")
        with rasterio.open(file, "w", **profile) as dataset:
            dataset.write(kept, 1)
    alone = config(other, tmp_path / "alone", scheduler, method="dsen2", bands="B02,B05")
    run(alone)
    ours, whole = shards(alone.out), shards(settings.out)
    assert all(ours[key] == whole[key] for key in about.writes if "/B" in key)
    # An overview is made of what the level below has at its place, and of nothing else.
    unit = next(plan.overviews(1))
    coarse = explain(plan, plan.name(unit))
    assert not coarse.reads
    assert {key for key in coarse.writes if "/B" in key} <= written
    below = {key for key in coarse.below if "/B05/" in key}
    assert below & written
    assert len(below) == 4
    with pytest.raises(S2SharpError) as caught:
        explain(plan, "0")
    assert caught.value.kind == "unit-unknown"


def test_what_is_published_is_explained(archive: Path, scheduler: str, tmp_path: Path) -> None:
    bands = ("B02", "B03", "B04", "B05")
    settings = config(archive, tmp_path / "out", scheduler, bands=",".join(bands), publish=True)
    plan, _ = run(settings)
    (acquisition,) = plan.acquisitions
    about = explain(plan, f"{acquisition.id}/published")
    assert about.place == settings.out
    assert all((tmp_path / "out" / name).is_file() for name in about.writes)
    assert {name for name in about.writes if name.endswith(".tif")} == {
        str(path.relative_to(settings.out)) for path in (tmp_path / "out" / "cogs").rglob("*.tif")
    }
    assert {name for name in about.writes if not name.endswith(".tif")} == {
        str(path.relative_to(settings.out)) for path in (tmp_path / "out" / "pictures").iterdir()
    }
    full = {name for name in shards(settings.out) if re.match(rf"\d+/({'|'.join(bands)})/", name)}
    assert full == {name for name in about.below if "/B" in name}


def test_cogs_are_packed_anew_when_they_are_to_be_packed_otherwise(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    """The cube stands; a record says what each step of publishing took."""
    out, ledger = tmp_path / "out", Ledger(tmp_path / "out" / "ledger")
    plan, first = run(config(archive, out, scheduler, bands="B02,B03,B04", publish=True))
    name = f"{plan.acquisitions[0].id}/published"
    record = ledger.latest(name)
    assert record is not None
    steps = {"cogs read", "cogs overviews", "cogs compress", "visual", "picture", "digests"}
    assert set(record.seconds) == steps
    assert set(record.files) == {"B02", "B03", "B04", "cloud", "valid", "visual"}
    packed = config(
        archive, out, scheduler, bands="B02,B03,B04", publish=True, cog_compression="zstd"
    )
    _, again = run(packed)
    assert again.counts["skipped"] == first.counts["ok"]
    for file in (out / "cogs").rglob("*.tif"):
        with rasterio.open(file) as cog:
            assert cog.compression.name == "zstd"
    after = ledger.latest(name)
    assert after is not None
    assert after.key != record.key
    run(packed)
    assert ledger.latest(name) == after, "written once more"


def test_clean_removes_leftovers_and_nothing_else(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = config(archive, tmp_path / "out", scheduler, bands=FEW)
    run(settings)
    out = settings.out
    cube, kept = shards(out), records(out)
    mine = out / "notes.txt"
    mine.write_text("kept")
    assert leftovers(out) == []
    (out / "stage" / "a.zarr").mkdir(parents=True)
    (out / "stage" / "a.zarr" / "c").write_bytes(b"pixels")
    draft = out / "ledger" / ".unit.key.ok.123.partial"
    draft.write_text("torn")
    area = out / ".area.geojson.123.partial"
    area.write_text("torn")
    (first, *_) = sorted((out / "ledger").rglob("x1_*.ok"))
    failed = first.with_suffix(".failed")
    shutil.copy(first, failed)
    code, text = call("clean", str(out), "--dry-run")
    assert code == 0
    assert text.count("would remove 1 ×") == 2
    assert text.count("would remove 2 × a draft") == 1
    assert draft.exists()
    clean(out, leftovers(out))
    assert not any(path.exists() for path in (out / "stage", draft, area, failed))
    assert (shards(out), records(out), mine.read_text()) == (cube, kept, "kept")
    with pytest.raises(S2SharpError) as caught:
        clean_up(tmp_path / "nothing", dry_run=False)
    assert caught.value.kind == "not-a-run"
    assert not (tmp_path / "nothing").exists()


def test_what_happens_is_told_as_json_and_to_prometheus(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    log = tmp_path / "events.jsonl"
    settings = config(
        archive, tmp_path / "out", scheduler, bands=FEW, events=str(log), metrics=_free_port()
    )
    plan = make_plan(settings)
    total = len(list(plan.units()))
    with listeners(settings) as told:

        def tell(event: Event) -> None:
            for listener in told:
                listener(event)

        tell(RunPlanned({"units": total}))
        execute(plan, tell)
        execute(plan, tell)
        page = urllib.request.urlopen(f"http://127.0.0.1:{settings.metrics}/metrics").read()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    units = [line for line in lines if line["phase"] == "sharpen"]
    assert [line["event"] for line in units] == ["unit"] * total + ["skipped"] * total
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert {line["status"] for line in units if line["event"] == "unit"} <= {"ok", "empty"}
    assert all(line["seconds"] for line in units if line["event"] == "unit")
    names = [
        {(line["unit"], line["key"]) for line in some} for some in (units[:total], units[total:])
    ]
    assert names[0] == names[1]
    assert len(names[0]) == total
    assert not any("written" in line for line in lines)
    text = page.decode()
    assert f"s2sharp_units_planned {total}.0" in text
    assert f's2sharp_units_total{{phase="sharpen",status="skipped"}} {total}.0' in text
    group = zarr.open_group(settings.out / "cube.zarr", mode="r")["32633"]
    assert f"s2sharp_valid_pixels_total {float(np.sum(group['valid'][...]))}" in text


def test_a_quiet_run_prints_its_events_and_nothing_else(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = config(archive, tmp_path / "out", scheduler, bands=FEW)
    command = [*COMMAND, "run", "--quiet", "--events", "-", "--bands", FEW, *_flags(settings)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    total = len([line for line in lines if line["phase"] == "sharpen"])
    assert total >= UNITS
    assert (lines[0]["phase"], lines[0]["units"]) == ("plan", total)
    assert (lines[-1]["phase"], lines[-1]["units"]) == ("done", {"ok": total})
    assert lines[-1]["failed"] == 0


def test_a_run_that_ends_in_an_error_tells_it_last(archive: Path, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    settings = config(archive, tmp_path / "out", events=str(log))
    with Lease.taken(tmp_path / "out"), pytest.raises(S2SharpError, match="Another run"):
        carry_out(settings)
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["phase"], last["event"], last["kind"]) == ("error", "progress", "busy")
    assert last["message"].startswith("Another run writes to")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_a_run_leaves_follows_the_umask(archive: Path, scheduler: str, tmp_path: Path) -> None:
    """Who may read a folder may know how far its run is: nothing in it is a secret."""
    before = os.umask(0o027)
    try:
        run(config(archive, tmp_path / "out", scheduler, bands=FEW))
    finally:
        os.umask(before)
    left = [path for path in (tmp_path / "out").rglob("*") if "cube.zarr" not in path.parts]
    assert {stat.S_IMODE(file.stat().st_mode) for file in left if file.is_file()} <= {0o640, 0o644}
    own = tmp_path / "out" / "run.json"
    assert stat.S_IMODE(own.stat().st_mode) == 0o640
