"""Units whose strips a GPU sharpens, played on a CPU: the same shards as without one."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from s2sharp.cube.layout import encode, encode_figure
from s2sharp.execution import unit as work
from s2sharp.execution.run import Run
from s2sharp.execution.unit import sharpen_unit
from s2sharp.planning.sharpener import sharpener_of

from s2sharp_core import S2SharpError
from s2sharp_core.stored import as_stored
from tests.core.played import played

from .runs import shards
from .test_unit import begun


def largest(run: Run, units: list[Any]) -> list[Any]:
    """The units with the most cells first: they have several strips."""

    def cells(unit: Any) -> int:
        plan = run.plan
        return math.prod((plan.wanted(unit) & plan.acquisition(unit).box).shape)

    return sorted(units, key=cells, reverse=True)


@pytest.mark.parametrize(
    "more",
    [{}, {"trust": True, "error90": True, "bands": ("B05", "B09"), "method": "s2net-s"}],
)
def test_shards_are_the_same_with_a_gpu(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    alone, units = begun(
        archive, tmp_path / "alone", shard=32, window=8, precision="float32", **more
    )
    some = largest(alone, units)[:2]
    assert {sharpen_unit(alone, unit, []).status for unit in some} == {"ok"}
    run, _ = begun(archive, tmp_path / "out", shard=32, window=8, precision="float32", **more)
    sharpener = sharpener_of(run.plan, "")
    assert sharpener is not None
    with played(monkeypatch, sharpener, batch=1) as gpu:
        monkeypatch.setattr(work, "sharpener_of", lambda *_: sharpener)
        assert {sharpen_unit(run, unit, []).status for unit in some} == {"ok"}
        assert gpu.cuda.replays
        assert not gpu._at_work
    expected = shards(alone.plan.out)
    assert len(expected) > len(some)
    assert shards(run.plan.out) == expected


def test_a_unit_that_fails_leaves_the_gpu_to_the_next(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, units = begun(archive, tmp_path / "alone", shard=32, window=8)
    unit = largest(alone, units)[0]
    sharpen_unit(alone, unit, [])
    run, _ = begun(archive, tmp_path / "out", shard=32, window=8)
    sharpener = sharpener_of(run.plan, "")
    assert sharpener is not None
    look = work._check_offset
    seen: list[int] = []

    def broken(*given: Any, **more: Any) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise S2SharpError("asset-unreadable", "Broken.", "Mend it.")
        look(*given, **more)

    with played(monkeypatch, sharpener, batch=1) as gpu:
        monkeypatch.setattr(work, "sharpener_of", lambda *_: sharpener)
        with monkeypatch.context() as patch:
            patch.setattr(work, "_check_offset", broken)
            assert sharpen_unit(run, unit, []).kind == "asset-unreadable"
        assert len(gpu._at_work) == 1  # nobody asked for its first strip
        assert sharpen_unit(run, unit, []).status == "ok"
        assert len(gpu._at_work) <= 1
    assert shards(run.plan.out) == shards(alone.plan.out)


def test_whole_numbers_of_a_device_are_those_of_a_cube() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-4, 8, 100_000).astype(np.float32)
    halves = ((np.arange(-40_000, 70_000) + np.float32(0.5)) / np.float32(1e4)).astype(np.float32)
    odd = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e-9, 1e30], dtype=np.float32)
    every = np.concatenate([x, halves, odd])
    before = every.copy()
    dn = as_stored(torch.from_numpy(every), np.dtype(np.int16)).numpy()
    figure = as_stored(torch.from_numpy(every), np.dtype(np.uint16)).numpy().view(np.uint16)
    np.testing.assert_array_equal(dn, encode(every))
    np.testing.assert_array_equal(figure, encode_figure(every))
    np.testing.assert_array_equal(every, before)
