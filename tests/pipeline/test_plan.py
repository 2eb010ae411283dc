"""Plans: what is taken, what is left out, and what makes a run another one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from s2sharp.demo.synthetic import write_catalog
from s2sharp.planning.acquisition_files import freeze_acquisitions
from s2sharp.planning.client_plan import as_frozen
from s2sharp.planning.config import RunConfig
from s2sharp.planning.items import with_acquisitions
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from s2sharp.planning.resume import resume
from s2sharp.planning.sharpener import sharpener_of
from s2sharp.planning.unit_states import UnitStates

from s2sharp_core import S2SharpError
from s2sharp_core.networks import ResidualNet
from s2sharp_core.weights import save_net, weights_file

from ..core.scenes import box_at
from .pictures import WHEN, noise, scenes
from .runs import config


def _area(file: Path, west: float, south: float, east: float, north: float) -> Path:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    file.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return file


def _over(archive: Path, out: Path, area: Path) -> RunConfig:
    whole = config(archive, out)
    return whole.model_copy(update={"bbox": None, "area": area})


def test_the_cloud_limit_judges_an_acquisition_and_drops_no_tile_alone(
    archive: Path, tmp_path: Path
) -> None:
    cloudy = shutil.copytree(archive, tmp_path / "archive")
    (item,) = cloudy.glob("synthetic-s2-l2a/*AA_*/*.json")
    facts = json.loads(item.read_text())
    facts["properties"]["eo:cloud_cover"] = 90.0
    item.write_text(json.dumps(facts))
    plan = make_plan(config(cloudy, tmp_path / "out", max_cloud=50))
    assert len(plan.acquisitions[0].scenes) == 4
    with pytest.raises(S2SharpError, match="cloudier than 5 %") as caught:
        make_plan(config(cloudy, tmp_path / "out", max_cloud=5))
    assert caught.value.kind == "nothing-found"


def test_shards_outside_a_polygon_are_no_units(archive: Path, tmp_path: Path) -> None:
    whole = list(make_plan(config(archive, tmp_path / "out")).units())
    west, south, east, north = make_plan(config(archive, tmp_path / "out")).config.bbox or ()
    everything = _area(tmp_path / "all.geojson", west, south, east, north)
    assert len(list(make_plan(_over(archive, tmp_path / "out", everything)).units())) == len(whole)
    corner = _area(tmp_path / "part.geojson", 16.359, 48.735, 16.362, 48.738)
    assert 0 < len(list(make_plan(_over(archive, tmp_path / "out", corner)).units())) < len(whole)


def test_an_area_that_was_edited_is_another_question_and_the_same_cube(
    large: Path, tmp_path: Path
) -> None:
    file = _area(tmp_path / "a.geojson", 16.0, 48.0, 16.36, 49.0)
    settings = _over(large, tmp_path / "out", file)
    before = make_plan(settings).freeze()
    _area(file, 16.0, 48.0, 17.0, 49.0)
    after = resume(settings)
    assert after is not None
    assert after.shape != before.shape
    assert after.layouts[0].area.contains(before.layouts[0].area)
    assert len(list(after.units())) > len(list(before.units()))


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"method": "dsen2"}, "method: bicubic → dsen2"),
        ({"precision": "float32"}, "precision: auto → float32"),
        ({"weights": "elsewhere"}, "weights: None → "),
        ({"window": 8}, "window: 16 → 8"),
        ({"shard": 8}, "shard: 16 → 8"),
        ({"bands": ("B05",)}, "bands: .* → .*B05"),
    ],
)
def test_another_model_precision_or_configuration_is_refused_with_the_difference(
    archive: Path, tmp_path: Path, other: dict[str, Any], difference: str
) -> None:
    make_plan(config(archive, tmp_path / "out")).freeze()
    with pytest.raises(S2SharpError, match=difference) as caught:
        resume(config(archive, tmp_path / "out", **other))
    assert caught.value.kind == "other-run"
    assert str(tmp_path / "out") in caught.value.message


@pytest.mark.parametrize(("method", "taken"), [("bicubic", False), ("s2net-s", True)])
def test_who_looks_at_a_run_has_the_acquisitions_that_a_next_run_makes_of_its_items(
    large: Path, tmp_path: Path, method: str, taken: bool
) -> None:
    plan = make_plan(config(large, tmp_path / "out", method=method)).freeze()
    looked, made = (f(Plan.read(plan.out)) for f in (as_frozen, with_acquisitions))
    assert looked.acquisitions == made.acquisitions == plan.acquisitions
    assert looked.datatakes == made.datatakes == plan.datatakes
    assert bool(plan.datatakes) == taken
    names = [(unit.name, unit.key) for unit in UnitStates(looked).every()]
    assert names == [(unit.name, unit.key) for unit in UnitStates(made).every()]


@pytest.mark.parametrize("lost", [None, b"", b"{}", "half", "one"])
def test_acquisitions_that_are_lost_are_told_and_written_anew(
    large: Path, tmp_path: Path, lost: bytes | str | None
) -> None:
    settings = config(large, tmp_path / "out")
    plan = make_plan(settings).freeze()
    file = plan.out / "acquisitions.jsonl.gz"
    if lost is None:
        file.unlink()
    elif lost == "one":
        freeze_acquisitions(file, plan.acquisitions[:-1])
    else:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if isinstance(lost, str) else lost)
    with pytest.raises(S2SharpError, match=r"acquisitions\.jsonl\.gz") as told:
        as_frozen(Plan.read(plan.out))
    assert told.value.kind == "file-broken"
    again = resume(settings)
    assert again is not None
    again.freeze()
    assert as_frozen(Plan.read(plan.out)).acquisitions == plan.acquisitions


def test_an_empty_file_is_not_taken_for_no_datatakes(large: Path, tmp_path: Path) -> None:
    plan = make_plan(config(large, tmp_path / "out")).freeze()
    file = plan.out / "datatakes.jsonl.gz"
    assert as_frozen(Plan.read(plan.out)).datatakes == ()
    file.write_bytes(b"")
    with pytest.raises(S2SharpError, match=r"datatakes\.jsonl\.gz") as told:
        as_frozen(Plan.read(plan.out))
    assert told.value.kind == "file-broken"


def test_units_that_would_not_be_whole_shards_are_not_planned(
    archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(S2SharpError, match="not a multiple of a chunk") as caught:
        make_plan(config(archive, tmp_path / "out", shard=16, chunk=36))
    assert caught.value.kind == "bad-config"


def test_an_overview_over_a_missing_unit_has_another_key(archive: Path, tmp_path: Path) -> None:
    plan = make_plan(config(archive, tmp_path / "out"))
    unit = next(plan.overviews(1))
    lost = plan.name(next(plan.units()))
    assert plan.key(unit, (lost,)) != plan.key(unit)


def test_weights_other_than_the_plans_are_refused(archive: Path, tmp_path: Path) -> None:
    plan = make_plan(config(archive, tmp_path / "out"))
    with pytest.raises(S2SharpError) as caught:
        sharpener_of(plan.model_copy(update={"digest": "0" * 64}), plan.acquisitions[0].take)
    assert caught.value.kind == "weights-differ"


def test_a_plan_keeps_no_key_of_its_catalog(archive: Path, tmp_path: Path) -> None:
    plan = make_plan(config(archive, tmp_path / "out"))
    secret = "https://ana:T0PSECRET@example.org/catalog.json?token=T0PSECRET"
    plan.model_copy(update={"config": plan.config.model_copy(update={"catalog": secret})}).freeze()
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or b"T0PSECRET" not in file.read_bytes()


def test_other_weights_under_the_same_name_are_another_run(archive: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights" / weights_file("dsen2", 20)
    save_net(ResidualNet(20, 8, 1), weights, {})
    about = {"method": "dsen2", "bands": "B05", "weights": weights.parent}
    settings = config(archive, tmp_path / "out", **about)
    make_plan(settings).freeze()
    assert resume(settings) is not None
    save_net(ResidualNet(20, 8, 1), weights, {})  # other random ones
    with pytest.raises(S2SharpError, match=r"weights, by their digest: \w{12} → \w{12}") as caught:
        resume(settings)
    assert caught.value.kind == "other-run"


def test_dates_of_two_levels_are_told(tmp_path: Path) -> None:
    box = box_at(6, 6)
    picture = noise(box, "B02", "B05", "B01")
    ground = scenes(tmp_path / "a", picture, box)
    above = scenes(tmp_path / "b", picture, box, when=WHEN.replace(month=7))
    above[0].properties["s2:product_type"] = "S2MSI1C"
    write_catalog(tmp_path / "archive", [*ground, *above])
    with pytest.warns(UserWarning, match="of two levels, 1 of L1C and 1 of L2A"):
        plan = make_plan(
            config(tmp_path / "archive", tmp_path / "out", bands=("B02", "B05", "B01"))
        )
    assert len(plan.acquisitions) == 2


def test_no_room_for_temporary_files_is_told(archive: Path, tmp_path: Path) -> None:
    """As where /tmp is full: what a process may write is bounded here."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(S2SharpError, match="TMPDIR") as caught:
            make_plan(config(archive, tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.kind == "store-unwritable"


def test_a_changed_plan_does_not_know_what_it_was(archive, tmp_path):
    plan = make_plan(config(archive, tmp_path))
    first = plan.acquisitions[0].id
    unit = next(plan.units())
    assert plan.acquisition(unit).id == first
    none = plan.model_copy(update={"acquisitions": ()})
    with pytest.raises(KeyError):
        none.acquisition(unit)
    assert plan.acquisition(unit).id == first
