"""Methods that learn on the scene: once per datatake, from a sample that no area changes, and resumably."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import COLLECTION, simulate, write_catalog, write_scenes
from s2sharp.engine.events import Event, FitProgress
from s2sharp.execution.datatake_jobs import draw_sample, fit_unit
from s2sharp.execution.execute import execute
from s2sharp.execution.run import Run
from s2sharp.planning.items import with_acquisitions
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from safetensors import safe_open

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BY_GSD, GSDS
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.learning.dsen2 import wald_pair
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.weights import load_net

from .cuts import WHEN
from .fits import FAST, STEPS, drawn, weights
from .runs import config, records, run, shards


@pytest.fixture(scope="module")
def told() -> list[Event]:
    """What the run of `whole` tells."""
    return []


@pytest.fixture(scope="module")
def whole(
    archive: Path, scheduler: str, told: list[Event], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("fitted") / "out"
    outcome = execute(make_plan(config(archive, out, scheduler, **FAST)), told.append)
    assert not outcome.failed
    return out


def test_a_run_tells_how_far_its_fit_is(whole: Path, told: list[Event]) -> None:
    *_, last = (event for event in told if isinstance(event, FitProgress))
    assert (whole / "fits" / last.take).is_dir()
    assert (last.step, last.steps) == (STEPS, STEPS)
    assert last.loss > 0


def test_a_fit_leaves_weights_a_card_the_loss_and_the_windows(archive: Path, whole: Path) -> None:
    (folder,) = (whole / "fits").iterdir()
    card = json.loads((folder / "ssc_cnn-20m.json").read_text())
    assert card["cause"]["steps"] == STEPS
    head, only = (folder / "ssc_cnn-20m.loss.csv").read_text().split()
    assert head == "step,loss"
    assert only.startswith(f"{STEPS},")
    places = json.loads((folder / "sample.json").read_text())["windows"]
    assert len(places) == 2
    assert all(p["cells"][1] - p["cells"][0] >= 18 for p in places)
    assert not list(folder.glob("*.checkpoint"))
    items = {file.stem for file in archive.glob(f"{COLLECTION}/*/*.json")}
    assert {place["item"] for place in places} <= set(card["scenes"]) <= items


def test_the_card_tells_the_loss_of_the_frozen_net_over_that_of_its_training(
    archive: Path, whole: Path
) -> None:
    """Computed here from the windows: of the net as it is, on the patches that its steps drew."""
    plan = make_plan(config(archive, whole, **FAST))
    sample, _ = draw_sample(plan, plan.datatakes[0])
    (folder,) = (whole / "fits").iterdir()
    net = load_net(folder / "ssc_cnn-20m.safetensors")[0].net
    x, truth = [], []
    for window in zip(sample.y10, sample.y20, sample.y60, strict=True):
        pair = wald_pair(dict(zip(GSDS, window, strict=True)), 20)
        stack = net.stack(*(pair.inputs[g][None] for g in GSDS))[0]
        for row in range(0, stack.shape[1] - 15, 8):
            for col in range(0, stack.shape[2] - 15, 8):
                at = np.s_[:, row : row + 16, col : col + 16]
                x.append(stack[at])
                truth.append(pair.truth[at])
    spread, random, values = net.spread[4:, None, None], torch.Generator().manual_seed(0), []
    for _ in range(STEPS):
        chosen = torch.randperm(len(x), generator=random)[:64]
        with torch.autocast("cpu", torch.bfloat16):
            guess = net.refine(torch.stack([x[i] for i in chosen]))
        left = (guess.float() - torch.stack([truth[i] for i in chosen])) / spread
        values.append(float(left.square().mean()))
    training = float((folder / "ssc_cnn-20m.loss.csv").read_text().split(",")[-1])
    told = json.loads((folder / "ssc_cnn-20m.json").read_text())["result"]
    expected = np.mean(values) / training
    assert told["frozen_over_training"] == pytest.approx(expected, rel=1e-3)
    assert told["on_freezing"] == 1  # it has no statistics


def test_a_run_says_which_bands_its_fit_does_not_give_best(whole: Path) -> None:
    """Four steps teach nothing: the closed form is returned, on the record of the fit."""
    (record,) = (whole / "ledger" / "fits").iterdir()
    (told,) = json.loads(record.read_text())["warnings"]
    assert "ssc_cnn was fitted" in told
    assert "B05, B11 by atprk" in told


def test_the_cube_has_more_than_interpolation(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    run(config(archive, tmp_path / "out", scheduler, bands="B05,B11"))
    floor, fitted = open_cube(tmp_path / "out").load(), open_cube(whole).load()
    assert np.nanmax(np.abs(floor.B05.values - fitted.B05.values)) > 0.001


def test_the_same_command_again_fits_nothing_and_does_nothing(
    archive: Path, whole: Path, scheduler: str
) -> None:
    before, stored = weights(whole), shards(whole)
    _, outcome = run(config(archive, whole, scheduler, **FAST))
    assert set(outcome.counts) == {"skipped"}
    assert weights(whole) == before
    assert shards(whole) == stored


def test_the_sample_does_not_depend_on_the_area(archive: Path, whole: Path, tmp_path: Path) -> None:
    everything = make_plan(config(archive, tmp_path / "a", **FAST))
    item = json.loads(next(archive.rglob("S2*.json")).read_text())
    west, south, east, north = item["bbox"]
    corner = (west, south, west + (east - west) / 4, south + (north - south) / 4)
    part = make_plan(config(archive, tmp_path / "b", **{**FAST, "bbox": corner}))
    assert len(list(part.units())) < len(list(everything.units()))
    assert part.sample_key(part.datatakes[0]) == everything.sample_key(everything.datatakes[0])
    a, _ = draw_sample(everything, everything.datatakes[0])
    b, _ = draw_sample(part, part.datatakes[0])
    assert a.digest == b.digest
    drawn = [next(out.rglob("sample.json")).read_text() for out in (whole, tmp_path / "a")]
    assert drawn[0] == drawn[1]


def test_the_zones_of_a_datatake_share_one_fit(scheduler: str, tmp_path: Path) -> None:
    items = []
    for epsg, left in ((32633, 780_000), (32634, 240_000)):
        lattice = Lattice.of(epsg)
        corner = lattice.around((left, 5_400_000, left + 60, 5_400_060))
        box = Box(corner.row0, corner.row0 + 40, corner.col0, corner.col0 + 40)
        seen = observe(landscape(box.pixels(10), seed=epsg))
        bands = {
            band: np.rint(seen[gsd][i] * 10_000).clip(1).astype(np.uint16)
            for gsd, group in BY_GSD.items()
            for i, band in enumerate(group)
        }
        items += write_scenes(tmp_path / "two", bands, lattice, box, [box], WHEN, offset=0.0)
    write_catalog(tmp_path / "two", items)
    settings = {"method": "atprk", "fit_windows": 6, "bands": "B04,B05", "shard": 64, "window": 32}
    settings |= {"sensor": "default"}
    plan, outcome = run(config(tmp_path / "two", tmp_path / "out", scheduler, **settings))
    assert not outcome.failed
    assert [layout.epsg for layout in plan.layouts] == [32633, 32634]
    assert len({a.take for a in plan.acquisitions}) == len(plan.datatakes) == 1
    (folder,) = (tmp_path / "out" / "fits").iterdir()
    assert {place["epsg"] for place in drawn(plan)["windows"]} == {32633, 32634}
    card = json.loads((folder / "atprk-20m.json").read_text())
    assert card["scenes"] == sorted(item.id for item in items)
    assert len([name for name in records(tmp_path / "out") if name.startswith("fits/")]) == 1
    for epsg in (32633, 32634):
        assert np.isfinite(open_cube(tmp_path / "out", epsg=epsg).B05.values).any()
    # An area in one of the zones learns from both all the same.
    east = {**settings, "bbox": (18.5, 40.0, 20.0, 55.0)}
    part = make_plan(config(tmp_path / "two", tmp_path / "part", **east))
    assert [layout.epsg for layout in part.layouts] == [32633]
    assert part.sample_key(part.datatakes[0]) == plan.sample_key(plan.datatakes[0])


@pytest.mark.parametrize("change", [{"seed": 1}, {"fit_steps": 5}, {"fit_windows": 3}])
def test_another_fit_is_another_run(archive: Path, whole: Path, change: dict[str, int]) -> None:
    with pytest.raises(S2SharpError) as error:
        run(config(archive, whole, **{**FAST, **change}))
    assert error.value.kind == "other-run"
    assert next(iter(change)) in error.value.message


def test_a_fit_that_was_killed_goes_on_where_it_was(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are written every other step there, so that there need not be many. It is run without
    the command line, which would time a fit first."""
    _, (west, south, east, north) = simulate(tmp_path / "small", cells=24, tiles=1, dates=1, seed=3)
    corner = (west, south, west + (east - west) / 4, south + (north - south) / 4)
    settings = {**FAST, "fit_steps": 6, "fit_windows": 1, "bands": "B04,B05", "bbox": corner}
    settings |= {"window": 8, "shard": 8}
    out = tmp_path / "killed"
    file, often = tmp_path / "run.json", tmp_path / "often.py"
    file.write_text(config(tmp_path / "small", out, workers=1, **settings).model_dump_json())
    often.write_text("from s2sharp_core.learning import fitting\nfitting._CHECKPOINT = 2\n")
    program = (
        "import sys; from pathlib import Path; from s2sharp.planning.config import RunConfig\n"
        "from s2sharp.planning.make import make_plan; from s2sharp.execution.execute import execute\n"
        "execute(make_plan(RunConfig.model_validate_json(Path(sys.argv[1]).read_text())))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(file)],
        start_new_session=True,
        env={**os.environ, "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([str(often)])},
    )
    while not list(out.glob("fits/*/*.checkpoint")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not weights(out)
    (checkpoint,) = out.glob("fits/*/[!.]*.checkpoint")
    with safe_open(checkpoint, "pt") as content:
        done = json.loads(content.metadata()["fit"])["step"]
    assert 2 <= done < 6
    steps, step = [], torch.optim.Adam.step

    def counted(*given: Any, **more: Any) -> Any:
        steps.append(1)
        return step(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", counted)
        assert (
            fit_unit(
                Run(out, Plan.read(out).stamp, 0), with_acquisitions(Plan.read(out)).datatakes[0]
            ).status
            == "ok"
        )
    assert len(steps) == 6 - done
    for folder in (out, tmp_path / "undisturbed"):
        _, outcome = run(config(tmp_path / "small", folder, scheduler, **settings))
        assert not outcome.failed
    assert weights(out) == weights(tmp_path / "undisturbed")
    assert shards(out) == shards(tmp_path / "undisturbed")


@pytest.mark.parametrize("damage", ["lost", "torn"])
def test_a_lost_or_torn_fit_is_made_again_and_changes_nothing(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (file,) = out.glob("fits/*/*.safetensors")
    if damage == "lost":
        shutil.rmtree(file.parent)
    else:
        file.write_bytes(file.read_bytes()[:-100])
    _, outcome = run(config(archive, out, scheduler, **FAST))
    assert set(outcome.counts) == {"skipped"}
    assert weights(out) == weights(whole)


def test_weights_of_an_earlier_fit_serve_another_run(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    (folder,) = (whole / "fits").iterdir()
    settings = {**FAST, "weights": folder}
    del settings["fit_steps"], settings["fit_windows"]
    plan, outcome = run(config(archive, tmp_path / "out", scheduler, **settings))
    assert not plan.learns
    assert not outcome.failed
    assert shards(tmp_path / "out") == shards(whole)


def test_a_warm_start_begins_where_another_fit_ended(
    archive: Path, whole: Path, tmp_path: Path
) -> None:
    (folder,) = (whole / "fits").iterdir()
    plan = make_plan(config(archive, tmp_path / "out", **FAST, warm_start=folder)).freeze()
    assert fit_unit(Run(plan.out, plan.stamp, 0), plan.datatakes[0]).status == "ok"
    assert weights(tmp_path / "out") != weights(whole)


def test_nothing_to_fit_on_is_said_and_marks_the_acquisition(
    scheduler: str, tmp_path: Path
) -> None:
    simulate(tmp_path / "small", cells=20, tiles=1, dates=1, seed=3)
    for file in (tmp_path / "small").rglob("*_B05.tif"):
        with rasterio.open(file, "r+") as dataset:
            dn = dataset.read(1)
            dn[::24] = 0  # no window of 18 cells is without a gap
            dataset.write(dn, 1)
    _, outcome = run(
        config(tmp_path / "small", tmp_path / "out", scheduler, **FAST, max_failures=1)
    )
    assert not outcome.stopped, "a fit that failed is one failure, however many units wait for it"
    assert {record.kind for record in outcome.failed} == {"nothing-to-fit"}
    assert all("18 × 18 cells" in record.message for record in outcome.failed)
    assert all("have gaps and 0 clouds" in record.message for record in outcome.failed)
    assert outcome.counts["failed"] == len(outcome.failed) - 1 > 0  # the fit, and each unit


def test_fitting_per_window_needs_no_fit_before(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = {**FAST, "fit": "window", "fit_steps": 1, "window": 48, "shard": 48, "bands": "B05"}
    plan, outcome = run(config(archive, tmp_path / "out", scheduler, **settings))
    assert not plan.learns
    assert not outcome.failed


def test_another_fit_with_the_same_seed_is_the_same_whatever_the_number_of_workers(
    archive: Path, whole: Path, tmp_path: Path
) -> None:
    """Of two workers each net has half of the threads: a fit keeps its own number. Pixels of the same weights are the
    same, as another test shows."""
    plan = make_plan(config(archive, tmp_path / "out", **FAST)).freeze()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert fit_unit(Run(plan.out, plan.stamp, 3), plan.datatakes[0]).status == "ok"
    finally:
        torch.set_num_threads(before)
    assert weights(tmp_path / "out") == weights(whole)
