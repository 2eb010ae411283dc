"""Units in a worker of two threads: one is sharpened while another is written, and never more."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from s2sharp.execution import unit as work
from s2sharp.execution.execute import _laid_out
from s2sharp.execution.unit import Run, sharpen_unit
from s2sharp.planning.kept import freeze_acquisition
from s2sharp.planning.make import make_plan

from .runs import config


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
    plan, _ = _laid_out(make_plan(config(archive, tmp_path / "out")))
    for acquisition in plan.acquisitions:
        freeze_acquisition(plan.out, acquisition)
    sharpening, writing, together = Busy(), Busy(), []
    sharpen, write = work._sharpen, work.write_shard

    def slow_sharpen(*given: Any) -> Any:
        with sharpening:
            return sharpen(*given)

    def slow_write(*given: Any) -> Any:
        with writing:
            time.sleep(0.2)
            together.append(sharpening.now)
            return write(*given)

    monkeypatch.setattr(work, "_sharpen", slow_sharpen)
    monkeypatch.setattr(work, "write_shard", slow_write)
    run = Run(plan.out, plan.stamp, 1)
    with ThreadPoolExecutor(4) as threads:
        records = list(threads.map(lambda unit: sharpen_unit(run, unit, []), plan.units()))
    assert {record.status for record in records} <= {"ok", "empty"}
    assert (sharpening.most, writing.most) == (1, 1)
    assert any(together)
