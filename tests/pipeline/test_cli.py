"""The command line: what it teaches, what it prints, and how it ends."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from s2sharp.cli.app import app
from s2sharp.cli.flags import FLAGS
from s2sharp.demo.synthetic import COLLECTION
from s2sharp.planning.config import RunConfig
from typer.main import get_command
from typer.testing import CliRunner

from s2sharp_core import METHODS
from s2sharp_core.sensor.simulate import landscape, observe

AREA = ["--bbox", "10", "40", "20", "55", "--datetime", "2024"]


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and all output, without line breaks of the terminal's making."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def query(archive: Path, out: Path, *more: str) -> list[str]:
    where = ["--catalog", str(archive / "catalog.json"), "--collection", COLLECTION]
    how = ["--method", "bicubic", "--window", "16", "--shard", "16", "--out", str(out)]
    return [*where, *AREA, *how, *more]


def test_help_teaches_every_command() -> None:
    code, text = call("--help")
    assert code == 0
    for command in get_command(app).commands:
        assert re.search(rf"\b{command}\b", text)
        code, more = call(command, "--help")
        assert code == 0
        assert "Usage:" in more
        assert len(more) > 200
    assert "2024-06-01/2024-06-30" in call("run", "--help")[1]


@pytest.mark.parametrize("command", ["run", "mosaic", "sources", "sensor"])
def test_nothing_of_the_help_is_cut_off_in_80_columns(command: str) -> None:
    env = {"COLUMNS": "80", "NO_COLOR": "1"}
    text = CliRunner().invoke(app, [command, "--help"], env=env).output
    words = re.sub(r"[│╭╮╰╯─]", " ", text).split()
    # Names of files and hosts that are left open begin or stand alone; what is cut off ends so.
    cut = [word for word in words if re.search(r"[a-z0-9-]…$", word)]
    assert not cut
    assert "(False)]" not in words
    assert "(())]" not in words
    if command == "run":
        assert "CDSE_S3_ACCESS_KEY," in " ".join(words)


def test_every_setting_of_a_run_is_a_flag_of_it() -> None:
    assert FLAGS.parameters.keys() - {"config"} == RunConfig.model_fields.keys()


def test_choices_that_the_help_does_not_list_are_told_by_its_text() -> None:
    for name, field in RunConfig.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        for choices in (get_args(kind) for kind in kinds if get_origin(kind) is Literal):
            if FLAGS.parameters[name].default.metavar == "CHOICE":
                assert [c for c in choices if c not in str(field.description)] == []


def test_the_help_of_a_run_warns_of_seams_where_every_window_is_fitted() -> None:
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", call("run", "--help")[1]).split())
    assert re.search(r"--fit\b.*anew on every window, which takes long and shows seams", text)


def test_methods_are_a_line_each_at_80_columns_and_one_alone_names_its_source() -> None:
    result = CliRunner().invoke(app, ["methods"], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    for method in METHODS.values():
        (line,) = (line for line in lines if line.split()[:1] == [method.name])
        assert method.when in line
    code, text = call("methods", "dsen2")
    assert code == 0
    assert "10.1016/j.isprsjprs.2018.09.018" in text


def test_what_methods_gain_and_how_fast_they_are_is_what_the_figures_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "figures.md"
    rows = [
        [cell.strip(" *") for cell in line.strip("| \n").split("|")]
        for line in page.read_text().splitlines()
    ]
    told = {row[0]: row for row in rows if row[0] in METHODS and len(row) == 12}
    assert len(told) == 10
    floor = sum(map(float, told["bicubic"][1:5])) / 4
    for name, row in told.items():
        method = METHODS[name]
        assert method.gain == pytest.approx(sum(map(float, row[1:5])) / 4 - floor, abs=0.05)
        assert method.speed == float(row[11])


def test_plan_says_what_a_run_would_cost_and_writes_nothing(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = call("plan", *query(archive, out))
    assert code == 0
    for fact in ("1 of 4 scenes", "6; ", "MB of pixels", "Memory", "Time", "EPSG:32633"):
        assert fact in text
    assert not out.exists()


@pytest.mark.usefixtures("foreseen")
def test_a_run_publishes_and_ends_with_predicted_against_actual(
    archive: Path, tmp_path: Path, scheduler: str
) -> None:
    out = tmp_path / "out"
    code, text = call("run", *query(archive, out, "--scheduler", scheduler))
    assert code == 0, text
    for fact in ("predicted", "actual", "6 ok", f'open_cube("{out}")', "Picture"):
        assert fact in text
    assert json.loads((out / "stac" / "collection.json").read_text())["type"] == "Collection"
    assert len(list(out.glob("cogs/*/B*.tif"))) == 12
    (picture,) = out.glob("pictures/*.png")
    assert picture.stat().st_size > 20_000


def test_a_configuration_file_serves_as_well_as_flags(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        f'catalog = "{archive}/catalog.json"\ncollection = "{COLLECTION}"\ndatetime = "2024"\n'
        f'bbox = [10, 40, 20, 55]\nbands = ["B05", "B02"]\nmethod = "bicubic"\nout = "{tmp_path}/out"\n'
    )
    code, text = call("plan", "--config", str(file))
    assert code == 0, text
    assert "bicubic → B02 B05" in text


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--method", "magic"], 2, ["magic", "bicubic", "dsen2"]),
        (["--bands", "B05,B13"], 2, ["B13", "B8A"]),
        (["--shard", "16", "--chunk", "100"], 2, ["100", "16"]),
        (["--datetime", "2019"], 3, ["no item", "2019"]),
        (["--bbox", "-10", "-40", "-9", "-39"], 3, ["no item"]),
        (["--collection", "sentinel-9"], 1, ["sentinel-9", COLLECTION]),
        (["--catalog", "/nowhere/catalog.json"], 1, ["/nowhere/catalog.json"]),
        (["--weights", "/nowhere", "--method", "dsen2"], 1, ["/nowhere", "s2sharp train"]),
        (["--method", "vdsen2"], 1, ["vdsen2", "train --method vdsen2", "weights import"]),
        (["--memory", "0.001", "--method", "dsen2"], 1, ["exceeds", "--shard"]),
    ],
)
def test_bad_input_ends_with_one_clear_error_and_its_code(
    archive: Path, tmp_path: Path, flags: list[str], code: int, words: list[str]
) -> None:
    got, text = call("run", *query(archive, tmp_path / "out", *flags))
    assert got == code, text
    assert all(word in text for word in words), text
    assert "Traceback" not in text
    assert "→" in text


@pytest.mark.usefixtures("foreseen")
def test_partial_failure_has_its_own_code(archive: Path, tmp_path: Path, scheduler: str) -> None:
    broken = shutil.copytree(archive, tmp_path / "archive")
    (victim,) = broken.glob("scenes/*AA_*/B05.tif")
    victim.unlink()
    more = ("--no-publish", "--scheduler", scheduler, "--retries", "0", "--bands", "B02,B05")
    code, text = call("run", *query(broken, tmp_path / "out", *more))
    assert code == 4
    assert "AA_" in text
    assert "B05" in text
    assert "all written units are valid" in text


def test_publishing_without_its_extra_is_refused_before_anything_starts(
    archive: Path, tmp_path: Path
) -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'matplotlib' else found(name, *a)\n"
        "from s2sharp.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", *query(archive, tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "s2sharp[publish]" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "flags", "size"),
    [
        ("dsen2", [], (128, 6)),
        ("vdsen2", [], (256, 32)),
        ("dsen2", ["--features", "48"], (48, 6)),  # the shipped weights
        ("vdsen2", ["--features", "4", "--blocks", "2"], (4, 2)),
    ],
)
def test_train_makes_the_published_size_unless_told_otherwise(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    flags: list[str],
    size: tuple[int, int],
) -> None:
    from s2sharp_core.learning.dsen2 import Recipe
    from s2sharp_core.networks import ResidualNet

    made = []

    def untrained(recipe: Recipe, *_: object) -> ResidualNet:
        made.append(recipe)
        return ResidualNet(recipe.gsd, 1, 1)

    monkeypatch.setattr("s2sharp.training.train.train", untrained)
    where = ["--method", method, "--out", str(tmp_path), "--synthetic", "0"]
    code, text = call("train", *where, *flags)
    assert code == 0, text
    assert [(r.gsd, r.features, r.blocks) for r in made] == [(20, *size), (60, *size)]
    for gsd in (20, 60):
        assert (tmp_path / f"{method}-{gsd}m.safetensors").exists()
        card = json.loads((tmp_path / f"{method}-{gsd}m.json").read_text())
        assert card["recipe"] == made[gsd // 60].card()


def test_what_learns_on_the_scene_is_trained_for_a_start(tmp_path: Path) -> None:
    command = ("train", "--method", "atprk", "--synthetic", "1", "--out", str(tmp_path))
    (tmp_path / "atprk-other.safetensors").touch()
    code, text = call(*command)
    assert code == 0
    told = "".join(text.split())
    for name in ("atprk-20m.safetensors", "atprk-60m.safetensors"):
        assert (tmp_path / name).is_file()
        assert name in told
    assert "other" not in told
    card = json.loads((tmp_path / "atprk-20m.json").read_text())
    assert card["scenes"] == []
    assert "1 synthetic landscapes and 0 real scenes" in card["protocol"]
    code, text = call(*command, "--features", "8")
    assert code == 2
    assert "--features" in text


def test_a_start_names_the_scenes_that_it_was_fitted_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who begins there, or judges these weights on one of them, has to know."""
    scenes = {"iceland": observe(landscape((360, 360), 1)), "coastal": {}}
    monkeypatch.setattr("s2sharp.training.train.real_scenes", lambda *_: scenes)
    monkeypatch.setattr("s2sharp.training.train._parts", lambda scene: [scene] if scene else [])
    flags = ["--synthetic", "0", "--catalog", "somewhere", "--out", str(tmp_path)]
    code, text = call("train", "--method", "atprk", *flags)
    assert code == 0, text
    card = json.loads((tmp_path / "atprk-60m.json").read_text())
    assert card["scenes"] == ["coastal", "iceland"]
    assert "2 real scenes at once" in card["protocol"]
    assert "the scene itself" not in card["protocol"]


def test_a_start_that_is_not_there_is_refused_before_anything_begins(
    archive: Path, tmp_path: Path
) -> None:
    more = ("--method", "ucnn", "--warm-start", str(tmp_path))
    code, text = call("run", *query(archive, tmp_path / "out"), *more)
    assert code == 1
    assert "ucnn.safetensors" in text
    assert not (tmp_path / "out").exists()


def test_what_has_nothing_to_train_says_so(tmp_path: Path) -> None:
    code, text = call("train", "--method", "bicubic", "--out", str(tmp_path))
    assert code == 2
    assert all(word in text for word in ("bicubic", "dsen2, vdsen2", "ucnn", "→"))


def test_weights_of_keras_are_imported_into_a_folder_that_serves_a_run(
    archive: Path, tmp_path: Path
) -> None:
    from tests.core.test_keras import random_layers, write_keras

    folder = tmp_path / "weights"
    for gsd in (20, 60):
        source = write_keras(tmp_path / f"{gsd}.hdf5", gsd, random_layers(gsd, 3, 1))
        code, text = call("weights", "import", str(source), "--out", str(folder))
        assert code == 0, text
        assert f"{folder}/dsen2-{gsd}m.safetensors" in text
        assert f"--method dsen2 --weights {folder}" in text
    use = ["--method", "dsen2", "--weights", str(folder)]
    code, text = call("plan", *query(archive, tmp_path / "out", *use))
    assert code == 0, text
    source.write_bytes(b"no HDF5")
    code, text = call("weights", "import", str(source), "--out", str(folder))
    assert code == 1
    assert all(word in text for word in (str(source), "HDF5", "→"))


def test_what_one_command_asks_of_the_screen_ends_with_it(archive: Path, tmp_path: Path) -> None:
    """Commands of one process: a quiet one, and one whose standard output is for events."""
    shown = warnings.showwarning
    for more in (["--quiet"], ["--events", "-"]):
        code, _ = call("run", *query(archive, tmp_path, "--datetime", "1999", *more))
        assert code == 3
        code, text = call("plan", *query(archive, tmp_path))
        assert code == 0
        assert "Method" in text
    assert warnings.showwarning is shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_our_letters_is_spoken_to(encoding: str) -> None:
    """As under cron, or LANG=C of old."""
    done = subprocess.run(
        [sys.executable, "-m", "s2sharp", "methods"],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"s2net-m" in done.stdout
