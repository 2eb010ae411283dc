"""What runs elsewhere is what runs here."""

from pathlib import Path

import yaml

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]


def test_the_workflow_runs_what_a_contributor_runs() -> None:
    found = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = found["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert (ROOT / commands[0]).stat().st_mode & 0o100


def test_files_that_are_run_for_every_save_are_there() -> None:
    text = (ROOT / "Makefile").read_text()
    (lines,) = [part for part in text.split("\n\n") if part.startswith("quick:")]
    for folder in ("core", "pipeline"):
        names = lines.split(f"tests/{folder}/test_,$(addsuffix .py,")[1].split(")")[0]
        assert all((ROOT / "tests" / folder / f"test_{name}.py").exists() for name in names.split())


def test_files_that_begin_first_are_there() -> None:
    assert all((ROOT / "tests" / f"{name}.py").exists() for name in LONGEST)
    assert len(set(LONGEST)) == len(LONGEST)
