"""What people type: words for bands, boxes in three forms, flags that are near; and what they are told."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from s2sharp.cli.app import app
from s2sharp.engine.events import RunBroken, RunEnded
from s2sharp.engine.listening import listeners
from s2sharp.planning.config import RunConfig
from s2sharp.planning.empty_query import ended_warning
from typer.testing import CliRunner

from s2sharp_core.bands import names_of
from tests.pipeline.pictures import box_at, noise, scenes

PLACE = ["--datetime", "2024-06", "--out", "out"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("B02,B8A", ["B02", "B8A"]),
        ("b2 b8a", ["B02", "B8A"]),
        ("swir", ["B11", "B12"]),
        ("[red, nir08]", ["B04", "B8A"]),
        ("coastal 10m", ["B01", "B02", "B03", "B04", "B08"]),
        ("B10", ["B10"]),
        ("B13", ["B13"]),
    ],
)
def test_bands_go_by_their_names_by_common_names_and_by_groups(words: str, names: list) -> None:
    assert names_of(words) == names


@pytest.mark.parametrize(
    "flags",
    [
        ["--bbox", "16", "48.5", "16.1", "48.6"],
        ["--bbox", "16,48.5,16.1,48.6"],
        ["--bbox", "[16, 48.5, 16.1, 48.6]"],
        ["--bbox=16,48.5,16.1,48.6"],
        ["--bbox", "16,", "48.5,", "16.1,", "48.6"],
    ],
)
def test_a_box_is_taken_as_people_write_it(
    flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert planned(monkeypatch, flags).bbox == (16, 48.5, 16.1, 48.6)


@pytest.mark.parametrize(
    "flags",
    [
        ["--bands", "B05", "b8a", "swir"],
        ["--bands", "b5,B8A", "--bands", "swir"],
        ["--bands=B05,b8a,B11,B12"],
    ],
)
def test_bands_may_follow_one_flag(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if flags.count("--bands") > 1:
        flags = ["--bands", "B05", "b8a,swir"]
    config = planned(monkeypatch, ["--bbox", "16,48.5,16.1,48.6", *flags])
    assert config.bands == ("B05", "B8A", "B11", "B12")


def planned(monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> RunConfig:
    """The configuration that a command line makes."""
    found: list[RunConfig] = []
    monkeypatch.setattr("s2sharp.cli.run.planned", found.append)
    done = CliRunner().invoke(app, ["plan", *flags, *PLACE])
    assert done.exit_code == 0, done.output
    return found[0]


def test_a_box_of_three_numbers_is_refused_and_the_next_flag_is_left_alone() -> None:
    done = CliRunner().invoke(app, ["plan", "--bbox", "16,48.5,16.1", *PLACE])
    assert done.exit_code == 2
    assert "--bbox" in done.output


@pytest.mark.parametrize("flags", [["--version"], ["-h"], ["run", "-h"]])
def test_what_a_newcomer_types_first(flags: list[str]) -> None:
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0
    assert ("GDAL" if flags == ["--version"] else "--help") in done.output


def test_nothing_found_says_what_was_asked_and_what_is_there(tmp_path: Path) -> None:
    box = box_at(4, 4)
    (item,) = scenes(tmp_path / "cogs", noise(box, "B02", "B03", "B04", "B08", "B05"), box)
    file = tmp_path / "item.json"
    file.write_text(json.dumps(item.to_dict()))
    west, south, east, north = item.bbox
    flags = ["--catalog", str(file), "--collection", item.collection_id or "c", "--out", "out"]
    year = item.datetime.year
    there = ["--bbox", f"{west},{south},{east},{north}", "--datetime", str(year - 3)]
    done = CliRunner().invoke(app, ["plan", *flags, *there])
    assert done.exit_code == 3
    said = " ".join(done.output.split())
    assert f"there it has 1, of {item.datetime:%Y-%m-%d}" in said
    assert f"{west:g} {south:g} {east:g} {north:g}" in said
    nowhere = ["--bbox", "-60,10,-59,11", "--datetime", str(year)]
    done = CliRunner().invoke(app, ["plan", *flags, *nowhere])
    assert "nor at any other time" in " ".join(done.output.split())


ENDED = RunEnded({"units": {"ok": 3}, "failed": 1, "refused": 0, "stopped": False})


def config(hook: str) -> RunConfig:
    return RunConfig(out="out", bbox=(16, 48, 17, 49), datetime="2024", on_failure=hook)


def test_a_failure_calls_a_command_with_what_happened(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    program = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    (tmp_path / "tell.py").write_text(program)
    hook = f"{sys.executable} {tmp_path / 'tell.py'} {told}"
    with listeners(config(hook)) as (listen,):
        listen(RunEnded({"failed": 0, "refused": 0, "stopped": False}))
        listen(RunBroken("nothing-found", "A day without an overpass."))
        assert not told.exists()
        listen(ENDED)
    assert json.loads(told.read_text())["failed"] == 1


def test_a_failure_is_posted_to_a_webhook_whose_address_is_not_written() -> None:
    bodies = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.handle_request, daemon=True).start()
        made = config(f"http://127.0.0.1:{server.server_port}/secret")
        with listeners(made) as (listen,):
            listen(RunBroken("busy", "…"))
    assert json.loads(bodies[0])["kind"] == "busy"
    assert "secret" not in made.model_dump_json()


def test_a_hook_that_fails_is_told_and_ends_nothing() -> None:
    warned = pytest.warns(UserWarning, match="no-such-program")
    with listeners(config("no-such-program --x")) as (listen,), warned:
        listen(ENDED)


def test_who_waits_for_more_of_a_time_that_has_ended_is_told() -> None:
    assert "2024-01-01/.." in ended_warning("2024", "last")
    assert not ended_warning("2024-01-01/..", "last")
    assert not ended_warning("2024", None)


BOX = ["--bbox", "16,48,17,49"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["plan", *BOX], ["it must be given (--out)", "(--datetime)"]),
        (["status", "nowhere"], ["nowhere holds no run.json of s2sharp.", "s2sharp run --out"]),
        (["run", *PLACE, *BOX, "--catalog", "TWO"], ["it has here, there", "--collection here"]),
        (["run", *PLACE, *BOX, "--catalog", "ONE"], ["no item of here in 16 48 17 49"]),
    ],
)
def test_what_is_missing_is_named_as_it_is_typed(
    given: list[str], told: list[str], tmp_path: Path
) -> None:
    names = ("here", "there")
    links = [{"rel": "child", "href": f"{name}/collection.json"} for name in names]
    about = {"type": "Catalog", "id": "c", "description": "", "stac_version": "1.0.0"}
    catalogs = {"ONE": links[:1], "TWO": links}
    for name, some in catalogs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**about, "links": some}))
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
    for name in names:
        child = {**about, "type": "Collection", "id": name, "extent": extent, "license": "other"}
        (tmp_path / name).mkdir()
        (tmp_path / name / "collection.json").write_text(json.dumps({**child, "links": []}))
    typed = [str(tmp_path / f"{word}.json") if word in catalogs else word for word in given]
    result = CliRunner().invoke(app, typed, env={"COLUMNS": "300"})
    assert result.exit_code > 0
    assert all(text in result.output for text in told), result.output
    assert "Errno" not in result.output
