"""Dates that are kept no more: gone from all that tells of them, while what stays is as it was; and they stay gone."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr
from s2sharp.cli.app import app
from s2sharp.cli.run_folder_output import clean_up
from s2sharp.cube.keys import KEYS, chunk_key
from s2sharp.cube.layout import Layout
from s2sharp.cube.open import open_cube
from s2sharp.demo.synthetic import simulate
from s2sharp.execution.clean import _of_removed, clean, leftovers
from s2sharp.execution.retention import dates_to_keep, removing, take_out
from s2sharp.execution.status import status_of
from s2sharp.execution.verify import verify_run
from s2sharp.mosaic.sources import read_cube
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from s2sharp.planning.resume import resume
from typer.testing import CliRunner

from s2sharp_core import S2SharpError
from s2sharp_core.lattice import Box

from .runs import config, records, run, shards

SMALL = {"shard": 8, "window": 8, "bands": "B02,B03,B04,B05", "publish": True}
GONE, STAY = "2024-06-01", ("2024-06-06", "2024-06-11")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 × 16 cells on three dates: two shards a side, and an overview."""
    folder = tmp_path_factory.mktemp("dates")
    simulate(folder, cells=16, tiles=1, dates=3, seed=5)
    return folder


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def times(out: Path) -> list[str]:
    return [str(t)[:10] for t in open_cube(out).time.values]


def of_day(names: set[str], day: str) -> set[str]:
    return {name for name in names if day.replace("-", "") in name}


def everything(out: Path) -> set[str]:
    return {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}


def test_older_dates_go_from_all_that_tells_of_them_and_the_others_stay_as_they_were(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = config(catalog, tmp_path / "out", scheduler, **SMALL)
    run(settings)
    out = settings.out
    before, kept, done = open_cube(out).load(), shards(out), records(out)
    code, text = call("clean", str(out), "--keep", "2", "--dry-run")
    assert code == 0
    assert "Dates to keep: 2" in text
    assert f"To remove: {GONE}" in text
    assert "would remove" in text
    assert times(out) == [GONE, *STAY]

    code, text = call("clean", str(out), "--keep", "2")
    assert code == 0
    assert f"To remove: {GONE}" in text
    assert times(out) == [*STAY]
    after = open_cube(out).load()
    assert after.drop_attrs().identical(before.isel(time=[1, 2]).drop_attrs())
    assert [str(t)[:10] for t in open_cube(out, level=1).time.values] == [*STAY]
    left = shards(out)
    assert left == {name: data for name, data in kept.items() if "/c/0/" not in name}
    assert len(left) * 3 == len(kept) * 2
    assert not of_day(everything(out), GONE)
    assert {n: r for n, r in records(out).items() if of_day({n}, GONE)} == {}
    assert {n for n in done if not of_day({n}, GONE)} == set(records(out))
    links = json.loads((out / "stac" / "collection.json").read_text())["links"]
    items = [link["href"] for link in links if link["rel"] == "item"]
    assert len(items) == 2
    assert all((out / "stac" / href).exists() for href in items)
    # Tools that read the store itself find the place empty.
    group = zarr.open_group(out / "cube.zarr", mode="r")["32633"]
    assert not np.asarray(group["valid"][0]).any()
    assert group.attrs["s2sharp"]["removed"] == [0]
    assert [source.datetime[:10] for source in read_cube(out).sources] == [*STAY]
    assert status_of(out).store == "complete"
    count, broken = verify_run(out)
    assert count
    assert not broken
    assert call("clean", str(out), "--keep", "2")[1].count("There are no leftovers") == 1


def test_nothing_is_removed_where_the_acquisitions_are_lost(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    """As in the folder of a run that was made before they were frozen."""
    settings = config(catalog, tmp_path / "out", scheduler, **SMALL)
    run(settings)
    out = settings.out
    (out / "acquisitions.jsonl.gz").unlink()
    plan = (out / "run.json").read_bytes()
    code, text = call("clean", str(out), "--keep", "2")
    assert (code, "file-broken" in text) == (1, True)
    assert (out / "run.json").read_bytes() == plan
    run(settings)
    assert call("clean", str(out), "--keep", "2")[0] == 0
    assert times(out) == [*STAY]


def test_runs_leave_out_what_was_removed_and_say_so(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    settings = config(catalog, tmp_path / "out", scheduler, **SMALL)
    run(settings)
    out = settings.out
    call("clean", str(out), "--keep", "6d")
    assert times(out) == [*STAY]
    kept = shards(out)
    for more in ({}, {"since": "last"}, {"datetime": "2024-05/2024-07"}):
        again = config(catalog, out, scheduler, **{**SMALL, **more})
        _, outcome = run(again)
        assert outcome.counts["ok"] == 0
        assert times(out) == [*STAY]
        assert shards(out) == kept
        assert not of_day(everything(out) - {"items.parquet"}, GONE)
    where = ["--catalog", str(catalog / "catalog.json"), "--collection", "synthetic-s2-l2a"]
    what = ["--bbox", "10", "40", "20", "55", "--method", "bicubic", "--bands", SMALL["bands"]]
    how = ["--shard", "8", "--window", "8", "--datetime", "2024-05/2024-07"]
    code, text = call("plan", *where, *what, *how, "--out", str(out))
    assert code == 0, text
    assert "1 stay out, since `clean --keep` removed them" in text
    with pytest.raises(S2SharpError, match="stay out of it") as caught:
        resume(config(catalog, out, scheduler, **{**SMALL, "datetime": GONE}))
    assert caught.value.kind == "nothing-found"


def test_a_clean_that_was_killed_is_ended_by_the_next(
    catalog: Path, scheduler: str, tmp_path: Path
) -> None:
    """Whenever it is killed, a date that was chosen to go is shown by nothing that is opened afterwards, or is whole."""
    settings = config(catalog, tmp_path / "out", scheduler, **SMALL)
    run(settings)
    out = settings.out
    plan = removing(Plan.read(out), "1")
    take_out(plan)
    found = leftovers(out)
    clean(out, [leftover for leftover in found if leftover.name.startswith("cube.zarr")][::2])
    assert times(out) == [STAY[1]]
    # A run between does not make it anew, and finds nothing broken.
    _, outcome = run(settings)
    assert not outcome.warnings
    assert outcome.counts["ok"] == 0
    code, _ = call("clean", str(out))
    assert code == 0
    for day in (GONE, STAY[0]):
        assert not of_day(everything(out), day)
    assert not verify_run(out)[1]


@pytest.mark.parametrize("moves", range(KEYS))
def test_shards_of_a_date_are_known_by_every_name_that_a_moved_cube_gives_them(
    moves: int,
) -> None:
    box = Box(90_000, 90_016, 10_000, 10_016)
    ids = ("S2A_20240601T101031_32633", "S2A_20240606T101031_32633")
    layout = Layout(32633, box, 8, 48, ("2024-06-01", "2024-06-06"), ("B02",), ids, moves=moves)
    plan = Plan.model_construct(layouts=(layout,), removed=ids[1:])
    belongs = _of_removed(plan)
    for array in ("32633/B02", "32633/x2/valid", "32633/r60m/B10"):
        for earlier in range(moves + 1):
            assert belongs(f"cube.zarr/{array}/{chunk_key(earlier, 1, 0, 2)}")
            assert not belongs(f"cube.zarr/{array}/{chunk_key(earlier, 0, 1, 1)}")
        assert not belongs(f"cube.zarr/{array}/zarr.json")
    for name in (f"32633/time/{chunk_key(moves, 1)}", f"32631/B02/{chunk_key(moves, 1, 0, 2)}"):
        assert not belongs(f"cube.zarr/{name}")


def test_a_date_of_which_nothing_was_made_yet_is_not_made_later(
    catalog: Path, tmp_path: Path
) -> None:
    settings = config(catalog, tmp_path / "out", **SMALL)
    make_plan(settings).freeze()
    clean_up(settings.out, dry_run=False, keep="1")
    plan = resume(settings)
    assert plan is not None
    assert {unit.time for unit in plan.units()} == {2}
    clean_up(settings.out, dry_run=False, keep="1")
    assert Plan.read(settings.out).removed == plan.removed


def test_what_is_kept_is_so_many_dates_or_a_period_up_to_the_newest() -> None:
    days = [date(2024, 1, 1) + timedelta(days=5 * i) for i in range(100)]
    assert dates_to_keep(days, "24") == days[-24:]
    assert dates_to_keep(days, "1000") == days
    for period, length in (("90d", 90), ("P90D", 90), ("2w", 14), ("P1Y", 365), ("1y", 365)):
        kept = dates_to_keep(days, period)
        assert kept == [day for day in days if days[-1] - day < timedelta(days=length)]
    assert dates_to_keep(days, "1d") == days[-1:]
    for wrong in ("0", "-3", "soon", "0d", "PT5H", "1.5", "90 days"):
        with pytest.raises(S2SharpError) as caught:
            dates_to_keep(days, wrong)
        assert caught.value.kind == "bad-config"
