"""Units in a worker: of two threads, one sharpens while the other writes; of two runs, neither knows of the other."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from s2sharp.engine import worker
from s2sharp.execution import datatake_jobs
from s2sharp.execution import read_ahead as before
from s2sharp.execution import unit as work
from s2sharp.execution.datatake_jobs import fit_unit, measure_unit
from s2sharp.execution.execute import _laid_out
from s2sharp.execution.run import Run
from s2sharp.execution.staging import stage_unit
from s2sharp.execution.unit import sharpen_unit
from s2sharp.planning.acquisition_files import freeze_acquisition
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from s2sharp.planning.readers import stage_of
from s2sharp.scenes.read import load_block

from s2sharp_core import S2SharpError

from .pictures import overwrite
from .runs import config


def begun(archive: Path, out: Path, **more: Any) -> tuple[Run, list[Any]]:
    """A run of this process, as its workers know it, and its units."""
    plan, _ = _laid_out(make_plan(config(archive, out, **more)))
    for acquisition in plan.acquisitions:
        freeze_acquisition(plan.out, acquisition)
        if plan.staged:
            stage_of(plan, acquisition).lay_out()
    return Run(plan.out, plan.stamp, 1), list(plan.units())


def kind_of(run: Run, unit: Any) -> str:
    """Status of a unit, or the kind of the error that it ends with."""
    plan = run.plan
    staged: list[object] = []
    if plan.staged:
        stage = stage_of(plan, plan.acquisition(unit))
        needed = stage.needed(plan.wanted(unit).grow(plan.margin))
        staged = [stage_unit(run, unit, cells) for cells in needed]
    failures = [result.kind for result in staged if isinstance(result, S2SharpError)]
    return failures[0] if failures else (sharpen_unit(run, unit, staged).kind or "ok")


@pytest.mark.parametrize("stage", ["never", "always"])
def test_a_file_that_is_replaced_is_told_to_the_run_that_read_it_and_not_to_others_of_the_process(
    archive: Path, tmp_path: Path, stage: str
) -> None:
    copy = Path(shutil.copytree(archive, tmp_path / "archive"))
    first, units = begun(copy, tmp_path / "first", stage=stage)
    second, _ = begun(copy, tmp_path / "second", stage=stage)
    assert kind_of(first, units[0]) == "ok"
    for file in copy.rglob("B05.tif"):
        with rasterio.open(file) as old:
            dn, about = old.read(1), (old.crs.to_epsg(), tuple(old.transform)[:6])
        overwrite(file, np.where(dn, dn + 100, dn), *about)
    assert kind_of(first, units[0]) == "asset-moved"
    assert kind_of(second, units[0]) == "ok"
    assert kind_of(first, units[0]) == "asset-moved"


class Busy:
    """How many are inside now, and were at once, at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def test_of_many_units_one_is_sharpened_while_one_is_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, units = begun(archive, tmp_path / "out")
    sharpening, writing, together = Busy(), Busy(), []
    sharpen, write = work._sharpen, work.write_shard

    def slow_sharpen(*given: Any) -> Any:
        with sharpening:
            time.sleep(0.3)  # longer than the look below waits, however fast the method is
            return sharpen(*given)

    def slow_write(*given: Any) -> Any:
        with writing:
            time.sleep(0.2)
            together.append(sharpening.now)
            return write(*given)

    monkeypatch.setattr(work, "_sharpen", slow_sharpen)
    monkeypatch.setattr(work, "write_shard", slow_write)
    with ThreadPoolExecutor(4) as threads:
        records = list(threads.map(lambda unit: sharpen_unit(run, unit, []), units))
    assert {record.status for record in records} <= {"ok", "empty"}
    assert (sharpening.most, writing.most) == (1, 1)
    assert any(together)


def test_while_a_unit_is_at_work_one_more_is_begun_and_nothing_is_read_twice(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, units = begun(archive, tmp_path / "out", shard=16)
    read: list[Any] = []

    def seen(*given: Any) -> Any:
        read.append(given[3])  # the cells that are wanted
        return load_block(*given)

    monkeypatch.setattr(before, "load_block", seen)
    monkeypatch.setattr(work, "load_block", seen)
    with ThreadPoolExecutor(3) as pool:
        with worker._ONE_UNIT, worker._with_room():  # one is at work
            coming = [pool.submit(sharpen_unit, run, unit, []) for unit in units[:3]]
            end = time.monotonic() + 20
            while not read and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(0.5)
            assert len(read) == 1
        assert [future.result().status for future in coming] == ["ok"] * 3
    assert len(read) == len(set(read)) == 3
    alone, _ = begun(archive, tmp_path / "alone", shard=16)
    for unit in units[:3]:
        sharpen_unit(alone, unit, [])
    files = [
        sorted(
            f for f in (tmp_path / out / "cube.zarr").rglob("*") if f.is_file() and "/c/" in str(f)
        )
        for out in ("out", "alone")
    ]
    assert len(files[0]) == len(files[1])
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))


def test_what_cannot_be_read_before_its_turn_fails_in_its_turn_alone(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, units = begun(archive, tmp_path / "out", shard=16)

    def broken(*_: Any) -> Any:
        raise S2SharpError("asset-unreadable", "Broken.", "Mend it.")

    with ThreadPoolExecutor(1) as pool:
        with worker._ONE_UNIT, worker._with_room():
            monkeypatch.setattr(before, "load_block", broken)
            coming = pool.submit(sharpen_unit, run, units[0], [])
            end = time.monotonic() + 20
            while not before._NEXT.locked() and time.monotonic() < end:
                time.sleep(0.02)
        assert coming.result().kind == "asset-unreadable"
    assert not before._NEXT.locked()
    monkeypatch.setattr(before, "load_block", load_block)
    assert sharpen_unit(run, units[1], []).status == "ok"


def early(plan: Plan, unit: Any) -> bool:
    """Whether a unit is begun before its turn, by the state of this process."""
    with before.beginning(plan, unit, 1) as come:
        begun = before._NEXT.locked()
        come()
    assert not before._NEXT.locked()
    return begun


def test_nothing_is_read_before_its_turn_while_the_idle_memory_of_the_process_is_measured(
    archive: Path, tmp_path: Path
) -> None:
    run, units = begun(archive, tmp_path / "out", shard=16)
    seen: list[bool] = []

    def idle() -> int:
        seen.append(early(run.plan, units[0]))
        return 1

    def work(_: worker.Clock) -> tuple[dict[str, Any], None]:
        seen.append(early(run.plan, units[0]))
        return {}, None

    worker.do_job(run.out, "some/unit", "key", 1, work, run.still, idle)
    assert seen == [False, True]


def test_beside_a_fit_and_a_measurement_no_unit_is_begun_and_none_is_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lags, and was doubled, may still be at work when units come: memory is planned for it alone."""
    settings = {"method": "ssc_cnn", "bands": "B04,B11", "window": 24, "shard": 24}
    run, units = begun(archive, tmp_path / "out", **settings, sensor="measured")
    (datatake,) = make_plan(config(archive, tmp_path / "out", **settings)).datatakes
    seen: list[tuple[bool, bool]] = []

    def look(*_: Any, **__: Any) -> Any:
        seen.append((early(run.plan, units[0]), worker._ONE_WRITE.locked()))
        raise S2SharpError("nothing-to-fit", "Enough.", "")

    monkeypatch.setattr(datatake_jobs, "_fit", look)
    monkeypatch.setattr(datatake_jobs, "_measured", look)
    for task in (measure_unit, fit_unit):
        assert task(run, datatake).kind == "nothing-to-fit"
    assert seen == [(False, True)] * 2


def test_files_are_settled_on_the_disk_before_a_record_vouches_for_them(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, units = begun(archive, tmp_path / "out", shard=16)
    settled: list[Path] = []
    sync = os.fsync

    def seen(handle: int) -> None:
        assert not list((tmp_path / "out" / "ledger").rglob("*.ok"))
        settled.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", seen)
    assert sharpen_unit(run, units[0], []).status == "ok"
    shards = {file for file in (tmp_path / "out" / "cube.zarr").rglob("c/*/*/*") if file.is_file()}
    assert shards
    assert shards <= set(settled)
