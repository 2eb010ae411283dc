"""What a run will cost is said before it begins, also of a continent's; what may be a mistake has to be confirmed."""

from dataclasses import replace
from pathlib import Path

import pytest
import s2sharp.planning.cost
from s2sharp.cli.app import app
from s2sharp.engine.cost import check_size
from s2sharp.planning.cost import _windows, estimate, pixel_memory
from s2sharp.planning.facts import plan_facts
from s2sharp.planning.make import make_plan
from s2sharp.planning.method import side_of
from s2sharp.planning.units import strips
from typer.testing import CliRunner

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from . import europe
from .runs import config


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of hundreds of acquisitions."""
    file = tmp_path_factory.mktemp("europe") / "europe.parquet"
    europe.write(file, 700)
    return file


def world(catalog: Path, folder: Path) -> list[str]:
    """The flags of a run over all that a catalog has of the globe."""
    where = ["--catalog", str(catalog), "--collection", europe.COLLECTION]
    what = ["--bbox", "-180", "-90", "180", "90", "--datetime", "2024", "--method", "bicubic"]
    return [*where, *what, "--no-publish", "--out", str(folder / "out")]


def test_a_run_over_the_globe_shows_its_cost_and_asks_for_yes(catalog, tmp_path):
    done = CliRunner().invoke(app, ["run", *world(catalog, tmp_path)])
    assert done.exit_code == 2
    assert " GB " in done.output
    assert "--yes" in done.output
    assert "Units" in done.output
    assert not (tmp_path / "out").exists()


def test_what_is_confirmed_or_small_may_begin(archive, tmp_path):
    plan = make_plan(config(archive, tmp_path))
    cost = estimate(plan)
    check_size("run", cost, "wait", yes=False)
    large = replace(cost, seconds=2 * 86_400.0)
    with pytest.raises(S2SharpError, match=r"2\.0 days") as told:
        check_size("run", large, "wait", yes=False)
    assert told.value.kind == "very-large"
    check_size("run", large, "wait", yes=True)


def test_of_very_many_acquisitions_some_stand_for_all(tmp_path, monkeypatch):
    catalog = tmp_path / "europe.parquet"
    europe.write(catalog, 400)
    flags = {"catalog": str(catalog), "collection": europe.COLLECTION, "bbox": europe.BOX}
    plan = make_plan(config(tmp_path, tmp_path / "out", **flags, shard=512))
    every = estimate(plan)
    assert every.exact
    assert every.units == sum(1 for _ in plan.units())
    monkeypatch.setattr(s2sharp.planning.cost, "_COUNTED", 8)
    assert len(plan.asked) > 8
    some = estimate(plan)
    assert not some.exact
    assert some.units == pytest.approx(every.units, rel=0.5)
    assert some.read == pytest.approx(every.read, rel=0.5)


def test_a_plan_says_how_many_workers_a_gpu_keeps_busy(archive, tmp_path, monkeypatch):
    plan = make_plan(config(archive, tmp_path))
    quick = {"seconds": 1e-3, "bytes": 0.0, "fit": 0.0, "fit_bytes": 0.0, "start": 0.0}
    monkeypatch.setattr(s2sharp.planning.cost, "_calibrate", lambda *_, **__: quick)
    assert "GPU" not in dict(plan_facts(plan, estimate(plan)))
    there = plan.model_copy(update={"device": "cuda"})
    told = dict(plan_facts(there, replace(estimate(there), feeding=1000.0)))["GPU"]
    assert "about 1000 workers" in told
    assert "it will wait for the 1 that there is" in told
    few = estimate(there)
    slower = {**quick, "seconds": 2e-3}
    monkeypatch.setattr(s2sharp.planning.cost, "_calibrate", lambda *_, **__: slower)
    assert estimate(there).feeding == pytest.approx(few.feeding / 2)


@pytest.mark.parametrize("layers", [{}, {"trust": True, "error90": True}])
def test_a_gpu_takes_memory_of_its_host_for_what_it_reads_and_returns(archive, tmp_path, layers):
    plan = make_plan(config(archive, tmp_path, method="s2net-s", shard=256, window=64, **layers))
    here = s2sharp.planning.cost._memory(plan, (256, 256, 256), 16, 0.0, several=False)
    there = plan.model_copy(update={"device": "cuda"})
    on_gpu = s2sharp.planning.cost._memory(there, (256, 256, 256), 16, 0.0, several=False)
    rows = 256 + 2 * plan.margin
    read = 4 * rows**2 * (4 * 36 + 6 * 9 + 2)
    results = 2 * (256 * 6) ** 2 * (8 + (8 + 2 if layers else 0))
    # Powers of two take at most twice as much, and those of smaller strips as much again.
    assert 3 * read + 2 * results <= (on_gpu - here) / 1.2 <= 4 * (3 * read + 2 * results)


def test_pictures_are_not_made_in_memory_that_torch_keeps(archive, tmp_path, monkeypatch):
    plan = make_plan(config(archive, tmp_path, method="s2net-s", shard=256, window=64))
    there = plan.model_copy(update={"device": "cuda"})
    before = pixel_memory(there)
    monkeypatch.setattr(s2sharp.planning.cost, "_pinned", lambda *_: 1e15)
    assert pixel_memory(there) == before


def test_a_fit_of_each_window_is_planned_within_its_unit(archive, tmp_path, monkeypatch):
    fit = {"seconds": 1e-3, "bytes": 1e6, "fit": 1.0, "fit_bytes": 5e9, "start": 0.0}
    monkeypatch.setattr(s2sharp.planning.cost, "_calibrate", lambda *_, **__: fit)
    plan = make_plan(config(archive, tmp_path))
    unit = estimate(plan).memory
    settings = plan.config.model_copy(update={"fit": "window"})
    within = estimate(plan.model_copy(update={"config": settings})).memory
    assert within == pytest.approx(unit + 1.2 * (5e9 - 1e6))


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6, 8, 12, 16])
@pytest.mark.parametrize("shard", [256, 512])
def test_memory_is_planned_for_the_largest_strip_of_units_that_are_cut_off(
    archive, tmp_path, threads, shard
):
    plan = make_plan(config(archive, tmp_path))

    def held(strip: Box) -> int:
        rows, cols = strip.grow(plan.margin).shape
        return (4 if strip.shape[0] < shard else 3) * rows * cols

    planned = s2sharp.planning.cost._strip(plan, (shard, shard, shard), threads)
    for width in range(1, shard + 1):
        every = strips(Box(0, shard, 0, width), plan.config.window, threads)
        assert max(map(held, every)) <= held(planned), width


@pytest.mark.parametrize(
    ("device", "abreast", "given", "side"),
    [
        ("cpu", 1, {}, 128),
        ("cpu", 2, {"memory": 3.0}, 128),
        ("cpu", 2, {"window": 16}, 32),
        ("cpu", 2, {"memory": 2.9}, 64),
        ("cpu", 3, {}, 64),
        ("cuda", 1, {}, 64),
        ("cpu", 1, {"error90": True}, 64),
        ("cpu", 1, {"trust": True}, 64),
        ("cpu", 1, {"method": "bicubic"}, 64),
        ("cpu", 1, {"method": "dsen2"}, 64),
    ],
)
def test_four_windows_are_one_where_threads_are_few_and_memory_is_there(
    device, abreast, given, side
):
    settings = {"method": "s2net-m", "window": 64, "memory": 8.0, **given}
    assert side_of(config(Path("archive"), Path("out"), **settings), device, abreast) == side


@pytest.mark.parametrize(
    ("rows", "cols", "shard", "most"),
    [(64, 64, 64, 1), (50, 50, 256, 4), (65, 1, 256, 2), (128, 256, 256, 12), (1, 1, 256, 1)],
)
def test_windows_are_counted_as_an_area_may_lie(rows, cols, shard, most):
    assert _windows(Box(0, rows, 0, cols), shard, 64) == most
