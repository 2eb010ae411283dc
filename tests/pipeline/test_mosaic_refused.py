"""Mosaics that cannot be made as asked: what is broken costs its tile, what is wrong is named; and what the command says."""

import json
import re
import shutil

from s2sharp import open_mosaic
from s2sharp.engine.ledger import Ledger
from s2sharp.engine.phases import Job
from s2sharp.mosaic.execute import mosaic_status
from s2sharp.mosaic.unit import do_tile

from .mosaics import (
    WEST,
    execute,
    make,
    plan_of,
    refused,
    stored,
)
from .test_cli import call


def test_a_tile_of_a_plan_that_is_no_more_leaves_no_record(border, tmp_path):
    plan = plan_of(border, tmp_path).freeze()
    tile = next(plan.tiles())
    name, key = plan.name(tile), plan.key(tile)
    record = do_tile(tmp_path, "another", "mosaic", Job(name, key, tile), (), 3)
    assert (record.unit, record.status, record.kind, record.attempt) == (
        name,
        "failed",
        "other-run",
        3,
    )
    assert not list(Ledger(tmp_path / "ledger").records())


def test_a_shard_that_cannot_be_read_costs_its_tile(border, tmp_path, scheduler):
    out, to = shutil.copytree(border, tmp_path / "cube"), tmp_path / "to"
    victim = sorted((out / "cube.zarr" / str(WEST) / "B05" / "c" / "0" / "0").iterdir())[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    plan = plan_of(out, to, tile=512, scheduler=scheduler)
    outcome = execute(plan)
    failed = {record.unit for record in outcome.failed}
    assert any("/x1_" in unit for unit in failed)
    assert f"B05 of S2A_20240614T101031_{WEST}" in outcome.failed[0].message
    assert outcome.counts["ok"] > outcome.counts["failed"] > 0
    assert open_mosaic(to).attrs["s2sharp"]["status"] == "partial"
    found = mosaic_status(to)
    assert {record.unit for record in found.failed} == failed
    assert found.left == len(failed)
    # Only so many may fail; and what happens is told as it is of a run.
    log = tmp_path / "events.jsonl"
    words = ["mosaic", str(out), "--to", str(to), "--tile", "512", "--scheduler", scheduler]
    words += ["--no-publish", "--retries", "0", "--max-failures", "0", "--events", str(log)]
    code, text = call(*words)
    assert code == 4, text
    assert "more than 0 tiles failed (--max-failures), and the rest was not begun" in text
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (lines[0]["phase"], lines[-1]["phase"]) == ("plan", "done")
    assert "cluster" in [line["phase"] for line in lines]
    assert lines[-1]["stopped"]
    done = outcome.counts["ok"] + outcome.counts["empty"]
    assert lines[-1]["units"] == {"skipped": done, "failed": 1}
    skipped = {line["unit"] for line in lines if line["event"] == "skipped"}
    assert skipped == {r.unit for r in Ledger(to / "ledger").records() if "/x1_" in r.unit} - failed
    victim.write_bytes(whole)
    _, outcome = make(out, to, scheduler, tile=512)
    make(border, tmp_path / "whole", scheduler, tile=512)
    assert stored(to) == stored(tmp_path / "whole")
    assert not [r for r in Ledger(to / "ledger").records() if r.status == "failed"]
    code, text = call("status", str(to), str(tmp_path / "whole"), "--json")
    assert code == 0
    assert [(one["mosaic"], one["left"]) for one in json.loads(text[text.index("[") :])] == [
        ("complete", 0)
    ] * 2
    assert "is complete" in call("status", str(to))[1]


def test_bad_input_is_refused_by_name(border, tmp_path):
    to = tmp_path / "to"
    assert str(tmp_path) in refused("not-a-cube", tmp_path / "nothing", to)
    assert "EPSG:999999" in refused("bad-config", border, to, crs="EPSG:999999")
    assert "two axes" in refused("bad-config", border, to, crs="EPSG:4978")
    assert "degree" in refused("bad-config", border, to, crs="EPSG:4326")
    assert "B12" in refused("bad-config", border, to, bands="B02,B12")
    assert "B99" in refused("bad-config", border, to, bands="B99")
    assert "512" in refused("bad-config", border, to, tile=1000)
    assert "16D" in refused("bad-config", border, to, period="fortnight")
    assert "median" in refused("bad-config", border, to, by="median", feather=50)
    assert "angles" in refused(
        "bad-config", border, to, crs="EPSG:4326", resolution=1e-4, feather=50
    )
    assert "5120" in refused("bad-config", border, to, feather=9_000)
    assert "meet" in refused("outside", border, to, bbox=(0, 0, 1, 1))
    assert "another folder" in refused("bad-config", border, border)
    assert not to.exists()


def test_a_grid_that_is_too_large_is_shown_before_it_is_made(border, tmp_path):
    code, text = call(
        "mosaic", str(border), "--to", str(tmp_path / "to"), "--resolution", "0.1", "--plan"
    )
    assert code == 0, text
    assert re.search(r"\d{5} × \d{5} px of 0.1 m", text)
    assert re.search(r"Writes .* GB", text)
    assert not (tmp_path / "to").exists()


def test_a_mosaic_of_days_or_terabytes_has_to_be_confirmed(border, tmp_path, monkeypatch):
    to = tmp_path / "to"
    monkeypatch.setattr("s2sharp.engine.cost._BIG", 1e3)
    code, text = call("mosaic", str(border), "--to", str(to))
    assert (code, to.exists()) == (2, False)
    assert "This mosaic would write about" in text
    assert "--yes" in text
    assert call("mosaic", str(border), "--to", str(to), "--yes", "--no-publish")[0] == 0


# The command


def test_the_command_teaches_and_tells(border, tmp_path, scheduler):
    code, text = call("mosaic", "--help")
    assert code == 0
    for word in ("--period", "--by", "median", "source", "EPSG:3035", "--feather", "--plan"):
        assert word in text
    code, text = call(
        *["mosaic", str(border), "--to", str(tmp_path / "to"), "--scheduler", scheduler],
        *["--crs", "EPSG:3035", "--tile", "1024"],
    )
    assert code == 0, text
    for fact in ("EPSG:3035", "predicted", "2 ok", "two dates of one orbit", "open_mosaic("):
        assert fact in text
    page = tmp_path / "to" / "report.html"
    assert str(page) in text
    assert "data:image/png" in page.read_text()
    code, text = call("mosaic", str(tmp_path), "--to", str(tmp_path / "to"))
    assert code == 1
    assert "no cube" in text
    code, text = call("mosaic", str(border), "--to", str(tmp_path / "to"), "--by", "magic")
    assert code == 2
    assert "by" in text
