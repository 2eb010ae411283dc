"""The sensor of a datatake: measured once, the same for every area, kept, keyed by, and sharpened with."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import zarr
from s2sharp.cli.app import app
from s2sharp.demo.synthetic import COLLECTION, simulate, write_catalog, write_scenes
from s2sharp.execution.datatake_jobs import measure_unit
from s2sharp.execution.run import Run
from s2sharp.execution.status import status_of
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.cost import estimate
from s2sharp.planning.make import make_plan
from s2sharp.planning.resume import resume
from s2sharp.planning.sharpener import outline, sharpener_of
from s2sharp.report.make import make_report
from typer.testing import CliRunner

from s2sharp_core import S2SharpError, Sensor
from s2sharp_core.bands import BANDS, BY_GSD, ratio
from s2sharp_core.lattice import Box, Lattice
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.response import MTF_TABLE, SENTINEL2, Response
from s2sharp_core.sensor.simulate import landscape

from .cuts import WHEN
from .runs import config, records, run, shards

FAST = {"method": "s2net-s", "bands": "B04,B05,B8A", "shard": 32, "window": 32}

SEEN = Sensor(responses=(Response("B8A", 0.37, 0.545, dy=0.2, dx=-0.1),))
"""B8A lies off by that much of its pixels."""


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of one scene of 60 × 60 cells, seen with :data:`SEEN`."""
    folder = tmp_path_factory.mktemp("shifted")
    lattice, box = Lattice.of(32633), Box(70_000, 70_060, 9_990, 10_050)
    truth = torch.from_numpy(landscape(box.pixels(10), seed=4))[None]
    names, rng, bands = list(BANDS), np.random.default_rng(1), {}
    for gsd, group in BY_GSD.items():
        y = truth[:, [names.index(band) for band in group]]
        y = degrade(y, group, ratio(gsd), SEEN) if gsd > 10 else y
        noisy = y[0].numpy() + 5e-4 * rng.standard_normal(y.shape[1:])
        dn = np.rint(noisy * 10_000).clip(1).astype(np.uint16)
        bands |= dict(zip(group, dn, strict=True))
    items = write_scenes(folder, bands, lattice, box, [box], WHEN, baseline="02.05", offset=0.0)
    write_catalog(folder, items)
    return folder


@pytest.fixture(scope="module")
def whole(shifted: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "out"
    _, outcome = run(config(shifted, out, scheduler, **FAST))
    assert not outcome.failed
    assert not outcome.warnings
    return out


def kept(out: Path) -> dict[str, Any]:
    (file,) = (out / "sensors").glob("*.json")
    return json.loads(file.read_text())


def rewrite(file: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put other pixels into a GeoTIFF."""
    with rasterio.open(file) as dataset:
        dn, profile = dataset.read(1), dataset.profile
    kept = {key: profile[key] for key in ("width", "height", "count", "dtype", "nodata")}
    place = {key: profile[key] for key in ("crs", "transform")}
    with rasterio.open(file, "w", driver="GTiff", **kept, **place) as dataset:
        dataset.write(change(dn).astype(dn.dtype), 1)


def plan_of(archive: Path, out: Path, **more: Any) -> ClientPlan:
    return make_plan(config(archive, out, **{**FAST, **more}))


def test_a_run_measures_the_shift_of_a_band_and_leaves_the_others_in_place(whole: Path) -> None:
    about = kept(whole)
    sensor = Sensor.of(about["sensor"])
    assert sensor.response("B8A").dy == pytest.approx(0.2, abs=0.05)
    assert sensor.response("B8A").dx == pytest.approx(-0.1, abs=0.05)
    assert abs(sensor.response("B05").dy) < 0.05
    one = about["measured"]["B8A"]
    assert abs(one["response"]["dy"] - 0.2) < 4 * one["shift_error"] + 0.01
    assert 2e-4 < about["noise"]["B04"] < 2e-3
    assert about["windows"]
    assert about["scenes"]


def test_the_sharpener_of_the_datatake_has_it(shifted: Path, whole: Path) -> None:
    plan = resume(config(shifted, whole, **FAST))
    assert plan is not None
    (take,) = {a.take for a in plan.acquisitions}
    sharpener = sharpener_of(plan, take)
    assert sharpener is not None
    assert sharpener.sensor == plan.sensor(take) == Sensor.of(kept(whole)["sensor"]) != SENTINEL2
    before = plan_of(shifted, whole)
    unmeasured = outline(before.config, before.coarse, before.device)
    assert (sharpener.halo, plan.margin) == (unmeasured.halo, plan.margin)


def test_the_cube_says_what_it_was_seen_with(whole: Path) -> None:
    root = zarr.open_group(whole / "cube.zarr", mode="r")
    (told,) = root.attrs["s2sharp"]["sensors"].values()  # type: ignore[index, call-overload, union-attr]
    seen = Sensor.of(kept(whole)["sensor"]).response("B8A")
    assert told["B8A"] == [seen.blur, seen.edge, seen.dy, seen.dx]  # type: ignore[index, call-overload]
    assert root["32633"].attrs["s2sharp"]["sensor"] == "measured"  # type: ignore[index, call-overload]


def test_the_same_command_again_measures_nothing_and_does_nothing(
    shifted: Path, whole: Path, scheduler: str
) -> None:
    before, made, stored = kept(whole), records(whole), shards(whole)
    _, outcome = run(config(shifted, whole, scheduler, **FAST))
    assert set(outcome.counts) == {"skipped"}
    assert (kept(whole), records(whole), shards(whole)) == (before, made, stored)
    found = status_of(whole)
    assert found.units["sensor"] == {"ok": 1}
    assert not found.left


def test_a_lost_measurement_is_made_again_and_changes_nothing(
    shifted: Path, whole: Path, scheduler: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "sensors")
    assert estimate(make_plan(config(shifted, tmp_path / "new", **FAST))).sensors == 1
    _, outcome = run(config(shifted, out, scheduler, **FAST))
    assert set(outcome.counts) == {"skipped"}
    assert kept(out) == kept(whole)


def test_the_sensor_does_not_depend_on_the_area(shifted: Path, whole: Path, tmp_path: Path) -> None:
    item = json.loads(next(shifted.rglob("S2*.json")).read_text())
    west, south, east, north = item["bbox"]
    corner = (west, south, west + (east - west) / 4, south + (north - south) / 4)
    part = plan_of(shifted, tmp_path, bbox=corner)
    assert len(list(part.units())) < len(list(plan_of(shifted, tmp_path).units()))
    record = measure_unit(Run(part.out, part.freeze().stamp, 0), part.datatakes[0])
    assert record.status == "ok"
    assert kept(tmp_path) == kept(whole)


def test_another_sensor_is_another_key(shifted: Path, whole: Path, tmp_path: Path) -> None:
    plans = [resume(config(shifted, whole, **FAST))]
    plans += [plan_of(shifted, tmp_path, sensor=sensor) for sensor in ("default", "table")]
    keys = [{plan.key(unit) for unit in plan.units()} for plan in plans if plan]
    assert len(set.union(*keys)) == sum(map(len, keys)) > 0
    assert [plan.measures for plan in plans if plan] == [True, False, False]
    assert plans[2].sensor("any") == MTF_TABLE  # type: ignore[union-attr]
    with pytest.raises(S2SharpError, match="sensor: measured → default"):
        resume(config(shifted, whole, **FAST, sensor="default"))


def test_a_method_that_does_not_look_at_the_sensor_is_not_held_up(
    shifted: Path, tmp_path: Path
) -> None:
    for method in ("bicubic", "dsen2"):
        plan = plan_of(shifted, tmp_path, method=method)
        assert not plan.measures
        assert not plan.datatakes


def test_a_scene_without_a_whole_window_gets_the_known_sensor_and_says_so(
    scheduler: str, tmp_path: Path
) -> None:
    simulate(tmp_path / "small", cells=20, tiles=1, dates=1, seed=3)
    (file,) = (tmp_path / "small" / "scenes").rglob("B05.tif")
    rewrite(file, lambda dn: np.where(np.arange(len(dn))[:, None] % 24 == 0, 0, dn))
    _, outcome = run(config(tmp_path / "small", tmp_path / "out", scheduler, **FAST))
    assert not outcome.failed
    (told,) = (text for text in outcome.warnings if "was not measured" in text)
    assert "The default kernels are used" in told
    assert Sensor.of(kept(tmp_path / "out")["sensor"]) == SENTINEL2


def test_a_file_that_cannot_be_read_does_not_end_the_run(
    shifted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise S2SharpError("asset-unreadable", "Nobody answers.")

    monkeypatch.setattr("s2sharp.execution.samples._PAUSE", 0.0)
    monkeypatch.setattr("s2sharp.execution.samples.load_block", unreadable)
    plan = plan_of(shifted, tmp_path, retries=1)
    here = Run(plan.out, plan.freeze().stamp, 0)
    assert measure_unit(here, plan.datatakes[0]).status == "failed"  # to be tried again
    assert not (tmp_path / "sensors").exists()
    last = measure_unit(here, plan.datatakes[0], attempt=2)
    assert last.status == "ok"
    assert "Nobody answers" in last.warnings[0]
    assert Sensor.of(kept(tmp_path)["sensor"]) == SENTINEL2


def test_a_band_more_than_a_pixel_off_is_told_and_keeps_its_place(
    shifted: Path, tmp_path: Path
) -> None:
    """B05 is cut a pixel and a quarter too far down, as a wrong crop would."""
    folder = tmp_path / "far"
    shutil.copytree(shifted, folder)
    (file,) = (folder / "scenes").rglob("B05.tif")

    def moved(dn: np.ndarray) -> np.ndarray:
        down = np.roll(dn, 1, axis=0)
        return np.rint(0.75 * down + 0.25 * np.roll(down, 1, axis=0))

    rewrite(file, moved)
    plan = plan_of(folder, tmp_path / "out", bands="B04,B05")
    record = measure_unit(Run(plan.out, plan.freeze().stamp, 0), plan.datatakes[0])
    assert "B05 seems to be shifted" in " ".join(record.warnings)
    sensor = Sensor.of(kept(tmp_path / "out")["sensor"])
    assert sensor.response("B05") == Response.default("B05")
    assert abs(sensor.response("B8A").dy - 0.2) < 0.05


def test_the_command_shows_what_it_measured_and_a_run_takes_its_file(
    shifted: Path, whole: Path, tmp_path: Path
) -> None:
    file = tmp_path / "sensor.json"
    flags = ["--catalog", str(shifted / "catalog.json"), "--collection", COLLECTION]
    result = CliRunner().invoke(
        app, ["sensor", *flags, "--bands", "B02,B03,B04,B08,B05,B8A", "--out", str(file)]
    )
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if line.strip().startswith("B8A")]
    assert "(+0.2" in line
    assert re.search(r"-0\.(09|10)", line)
    (take,) = json.loads(file.read_text())["datatakes"]
    plan = plan_of(shifted, tmp_path / "out", sensor=str(file))
    assert not plan.measures
    found = plan.sensor(take).response("B8A")
    assert found.dy == pytest.approx(0.2, abs=0.05)
    other = plan_of(shifted, tmp_path / "out", sensor="default")
    assert not {plan.key(u) for u in plan.units()} & {other.key(u) for u in other.units()}
    # One of a run's own serves another run.
    (own,) = (whole / "sensors").glob("*.json")
    again = plan_of(shifted, tmp_path / "out", sensor=str(own))
    assert again.sensor(take) == Sensor.of(kept(whole)["sensor"])


@pytest.mark.parametrize(
    "content",
    [
        "torn",
        "{}",
        '{"datatakes": {}}',
        '{"blur": "measured", "x": 1}',
        '{"responses": [{"band": "B05", "blur": 0.37, "edge": 0.545, "dy": 3.0}]}',
        '{"noise": [["B05", NaN]]}',
    ],
)
def test_a_file_without_the_datatakes_sensor_is_refused(
    shifted: Path, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "sensor.json"
    file.write_text(content)
    with pytest.raises(S2SharpError, match=str(file)) as error:
        plan_of(shifted, tmp_path / "out", sensor=str(file))
    assert error.value.kind == "bad-config"


def test_the_report_shows_the_sensor(whole: Path) -> None:
    page = make_report(whole)
    assert "<h2>The sensor</h2>" in page
    shift = Sensor.of(kept(whole)["sensor"]).response("B8A")
    assert f"{20 * shift.dy:+.1f}, {20 * shift.dx:+.1f}" in page
