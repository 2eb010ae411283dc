"""A run holds its folder before it asks what there is: of several that start at once one plans, and it plans once."""

from pathlib import Path

import pytest
from s2sharp.cli.app import app
from s2sharp.cli.run import carry_out
from s2sharp.engine.lease import Lease, holder
from s2sharp.execution.execute import execute
from s2sharp.planning.config import RunConfig
from s2sharp.planning.make import make_plan
from s2sharp.storage.files import files
from s2sharp.storage.location import place
from typer.testing import CliRunner

from s2sharp_core import S2SharpError
from tests.pipeline.runs import config
from tests.web import http_server


def test_a_run_that_continues_searches_once_and_with_the_lease(
    archive: Path, tmp_path: Path, scheduler: str
) -> None:
    out = tmp_path / "out"
    asked: list[bool] = []

    def hook(_: int, path: str) -> None:
        if path.endswith("catalog.json"):
            held = holder(out)
            asked.append(held is not None and not held.released)

    with http_server(archive, hook) as url:
        more = {"catalog": f"{url}/catalog.json", "allow_private": True, "bands": ["B02", "B05"]}
        carry_out(config(archive, out, scheduler, **more))
        assert asked == [True]
        carry_out(config(archive, out, scheduler, since="last", **more))
        assert asked == [True, True]
        # A plan alone asks, and holds nothing.
        make_plan(config(archive, out, scheduler, **more))
        assert asked == [True, True, False]


def test_who_finds_another_run_at_work_asks_no_catalog(archive: Path, tmp_path: Path) -> None:
    unknown = config(archive, tmp_path / "out", catalog=str(tmp_path / "nowhere.json"))
    with Lease.taken(tmp_path / "out"), pytest.raises(S2SharpError) as caught:
        carry_out(unknown)
    assert caught.value.kind == "busy"


def test_a_mosaic_is_planned_with_the_lease(tmp_path: Path) -> None:
    with Lease.taken(tmp_path / "to"):
        command = ["mosaic", str(tmp_path / "no-cube"), "--to", str(tmp_path / "to")]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 5, done.output
        assert CliRunner().invoke(app, [*command, "--plan"]).exit_code == 1
    assert list(files(tmp_path / "to")) == ["lease/000001"]


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_is_refused_leaves_nothing(
    archive: Path, tmp_path: Path, *, there: bool
) -> None:
    out = tmp_path / "some" / "where"
    if there:
        (out / "mine").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(S2SharpError, match="2019"):
        carry_out(config(archive, out, datetime="2019"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_cannot_be_read_while_planning_stops_no_run(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: RunConfig) -> None:
        raise PermissionError(13, "Permission denied", "sensors.json")

    monkeypatch.setattr("s2sharp.execution.whole_run.plan_of", unreadable)
    with pytest.raises(S2SharpError, match="sensors") as caught:
        carry_out(config(archive, tmp_path / "out"))
    assert caught.value.kind == "store-unwritable"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("s3")
def test_a_run_that_is_refused_leaves_nothing_in_a_store(archive: Path) -> None:
    out = place("s3://bucket/refused")
    with pytest.raises(S2SharpError, match="2019"):
        carry_out(config(archive, out, datetime="2019"))
    assert not files(out)


def test_a_plan_that_waited_goes_on_from_what_another_run_did(
    archive: Path, tmp_path: Path, scheduler: str
) -> None:
    settings: RunConfig = config(archive, tmp_path / "out", scheduler, bands=["B02"])
    early = make_plan(settings)
    carry_out(settings)
    again = execute(early)
    assert set(again.counts) == {"skipped"}
