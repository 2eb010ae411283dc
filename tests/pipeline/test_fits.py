"""Methods that learn on the scene: once per datatake, from a sample that no area changes, and resumably."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from s2sharp.cost import estimate
from s2sharp.cube import open_cube
from s2sharp.fits import draw_sample
from s2sharp.planning import make_plan
from s2sharp.synthetic import COLLECTION, simulate

from s2sharp_core import S2SharpError

from .runs import EVERYWHERE, config, run, shards

STEPS = 4
FAST = {"method": "ssc_cnn", "fit_steps": STEPS, "fit_windows": 2, "bands": "B04,B05,B11"}


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fitted") / "out"
    _, outcome = run(config(archive, out, scheduler, **FAST))
    assert not outcome.failed
    return out


def weights(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / "fits").rglob("*.safetensors"))}


def test_a_fit_leaves_weights_a_card_the_loss_and_the_windows(whole: Path) -> None:
    (folder,) = (whole / "fits").iterdir()
    card = json.loads((folder / "ssc_cnn-20m.json").read_text())
    assert card["cause"]["steps"] == STEPS
    assert card["result"]["frozen_over_training"] <= 1.05
    assert (folder / "ssc_cnn-20m.loss.csv").read_text().startswith("step,loss\n")
    places = json.loads((folder / "sample.json").read_text())
    assert len(places) == 2
    assert all(p["cells"][1] - p["cells"][0] >= 18 for p in places)
    assert not list(folder.glob("*.checkpoint"))


def test_the_cube_has_more_than_interpolation(archive: Path, whole: Path, tmp_path: Path) -> None:
    run(config(archive, tmp_path / "out", bands="B05,B11"))
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


def test_another_run_with_the_same_seed_gives_the_same_shards(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    run(config(archive, tmp_path / "out", scheduler, **FAST))
    assert weights(tmp_path / "out") == weights(whole)
    assert shards(tmp_path / "out") == shards(whole)


def test_the_sample_does_not_depend_on_the_area(archive: Path, whole: Path, tmp_path: Path) -> None:
    everything = make_plan(config(archive, tmp_path / "a", **FAST))
    item = json.loads(next(archive.rglob("S2*.json")).read_text())
    west, south, east, north = item["bbox"]
    corner = (west, south, west + (east - west) / 4, south + (north - south) / 4)
    part = make_plan(config(archive, tmp_path / "b", **{**FAST, "bbox": corner}))
    assert len(list(part.units())) < len(list(everything.units()))
    assert part.fit_key(part.datatakes[0]) == everything.fit_key(everything.datatakes[0])
    a, places = draw_sample(everything, everything.datatakes[0])
    b, _ = draw_sample(part, part.datatakes[0])
    assert a.digest == b.digest
    assert json.loads(next(whole.rglob("sample.json")).read_text()) == places


@pytest.mark.parametrize("change", [{"seed": 1}, {"fit_steps": 5}, {"fit_windows": 3}])
def test_another_fit_is_another_run(archive: Path, whole: Path, change: dict[str, int]) -> None:
    with pytest.raises(S2SharpError) as error:
        run(config(archive, whole, **{**FAST, **change}))
    assert error.value.kind == "other-run"
    assert next(iter(change)) in error.value.message


@pytest.mark.timeout(900)
def test_a_fit_that_was_killed_goes_on_where_it_was(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    steps = 52  # a checkpoint is written after 50
    settings = {**FAST, "fit_steps": steps, "bands": "B04,B05"}
    out = tmp_path / "killed"
    flags = [
        *("--catalog", str(archive / "catalog.json"), "--collection", COLLECTION),
        *("--bbox", *map(str, EVERYWHERE), "--datetime", "2024", "--out", str(out)),
        *("--method", "ssc_cnn", "--fit-steps", str(steps), "--fit-windows", "2"),
        *("--bands", "B04,B05", "--window", "16", "--shard", "16", "--no-publish"),
    ]
    command = [sys.executable, "-m", "s2sharp.cli", "run", *flags]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while not list(out.glob("fits/*/*.checkpoint")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not weights(out)
    _, outcome = run(config(archive, out, scheduler, **settings))
    assert not outcome.failed
    _, other = run(config(archive, tmp_path / "undisturbed", scheduler, **settings))
    assert weights(out) == weights(tmp_path / "undisturbed")
    assert shards(out) == shards(tmp_path / "undisturbed")
    assert not other.failed


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
    settings = {"method": "ssc_cnn", "weights": folder, "bands": "B04,B05,B11"}
    plan, outcome = run(config(archive, tmp_path / "out", scheduler, **settings))
    assert not plan.datatakes
    assert not outcome.failed
    assert shards(tmp_path / "out") == shards(whole)


def test_a_warm_start_begins_where_another_fit_ended(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    (folder,) = (whole / "fits").iterdir()
    _, outcome = run(config(archive, tmp_path / "out", scheduler, **FAST, warm_start=folder))
    assert not outcome.failed
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
    _, outcome = run(config(tmp_path / "small", tmp_path / "out", scheduler, **FAST))
    assert {record.kind for record in outcome.failed} == {"nothing-to-fit"}
    assert all("18 × 18 cells" in record.message for record in outcome.failed)
    assert outcome.counts["failed"] == len(outcome.failed) - 1 > 0  # the fit, and each unit


def test_fitting_per_window_needs_no_fit_before(
    archive: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = {**FAST, "fit": "window", "fit_steps": 1, "window": 32, "shard": 64}
    plan, outcome = run(config(archive, tmp_path / "out", scheduler, **settings))
    assert not plan.datatakes
    assert not outcome.failed


def test_the_number_of_workers_does_not_change_a_fit(
    archive: Path, whole: Path, tmp_path: Path
) -> None:
    """Each has half of the cores then: a fit keeps its own number of threads."""
    _, outcome = run(config(archive, tmp_path / "out", **FAST, workers=2))
    assert not outcome.failed
    assert weights(tmp_path / "out") == weights(whole)


def test_a_plan_foresees_the_fit(archive: Path, tmp_path: Path) -> None:
    plan = make_plan(config(archive, tmp_path / "out", **FAST))
    cost = estimate(plan)
    assert cost.fits == 1
    assert cost.seconds > 0
    assert cost.memory > 100e6


@pytest.mark.parametrize(
    "options",
    [
        {"method": "bicubic", "fit": "window"},
        {"method": "dsen2", "fit_steps": 3},
        {"method": "ssc_cnn", "weights": Path("somewhere"), "warm_start": Path("elsewhere")},
        {"method": "atprk", "fit_steps": 3},
        {"method": "ssc_cnn", "device": "cuda"},
    ],
)
def test_options_that_would_mean_nothing_are_refused(
    archive: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(S2SharpError) as error:
        make_plan(config(archive, tmp_path / "out", **options))
    assert error.value.kind == "bad-config"


def test_an_unknown_method_is_refused_even_where_nothing_is_sharpened(
    archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(S2SharpError) as error:
        make_plan(config(archive, tmp_path / "out", method="nonsense", bands="B02"))
    assert error.value.kind == "method-unknown"
