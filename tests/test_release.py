"""A release names one version everywhere, says what the changelog says, and leaves out what only tests need."""

import importlib.util
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", TOP / "deploy" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = script()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that a release changes, in a repository of their own."""
    for name in (*release.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, tmp_path / name)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *words], check=True)
    return tmp_path


def named(top: Path) -> set[str]:
    """The versions that files of a tree name."""
    pattern = re.compile(r"(?:^ *version(?: = |: )\"?|\bs2sharp:|\bnewTag: )(\d[\w.]*)", flags=re.M)
    return {v for name in release.PLACES for v in pattern.findall((top / name).read_text())}


def test_all_files_name_one_version_before_a_release_and_after(clone: Path) -> None:
    assert named(clone) == {PROJECT["version"]}
    release.renamed("7.8.9rc1", clone)
    assert named(clone) == {"7.8.9rc1"}
    release.renamed("7.8.9", clone)
    assert named(clone) == {"7.8.9"}
    assert tomllib.loads((clone / "pyproject.toml").read_text())["project"]["version"] == "7.8.9"


def test_the_tag_says_what_the_changelog_says_and_both_have_a_date(clone: Path) -> None:
    file = clone / "CHANGELOG.md"
    older = "\n## 0.0.1 (2020-01-01)\n\n- The past.\n"
    file.write_text(
        re.sub(r"^## .*? \(.*\)$", "## 7.8.9 (unreleased)", file.read_text(), flags=re.M) + older
    )
    what = release.noted("7.8.9", "2031-02-03", clone)
    assert "s2sharp run" in what
    assert "The past" not in what
    assert "## 7.8.9 (2031-02-03)" in file.read_text()
    assert file.read_text().endswith(older)
    assert "date-released: 2031-02-03\n" in (clone / "CITATION.cff").read_text()
    with pytest.raises(SystemExit, match="unreleased"):
        release.noted("7.9.0", "2031-02-04", clone)


@pytest.mark.parametrize(("version", "word"), [("v1", "no version"), ("0.0.9", "comes before")])
def test_a_version_that_goes_back_is_refused(clone: Path, version: str, word: str) -> None:
    with pytest.raises(SystemExit, match=word):
        release.refuse(version, clone)


def test_changes_that_no_commit_has_are_not_released(clone: Path) -> None:
    release.refuse("99.0.0", clone)
    (clone / "CHANGELOG.md").write_text("gone")
    with pytest.raises(SystemExit, match=r"CHANGELOG\.md"):
        release.refuse("99.0.0", clone)


def test_all_extras_of_users_are_in_all_and_no_tool_of_tests_is() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == extras.keys() - {"all", "dev", "docs"}
    tools = {
        Requirement(line).name for line in extras["dev"] if Requirement(line).name != "s2sharp"
    }
    # A map asks for a newer one in tests than it needs.
    tools -= {"titiler.core"}
    users = {Requirement(line).name for name in everything.extras for line in extras[name]}
    assert not users & tools


# conda-forge's names where they are others than the index's.
CONDA = {
    "dask": "dask-core",
    "torch": "pytorch",
    "universal-pathlib": "universal_pathlib",
    "matplotlib": "matplotlib-base",
    "prometheus-client": "prometheus_client",
}


def test_the_recipe_asks_conda_for_what_the_wheel_asks_the_index_for() -> None:
    recipe = yaml.safe_load((TOP / "deploy" / "conda" / "recipe.yaml").read_text())
    asked = recipe["requirements"]

    def named(lines: list[str]) -> set[tuple[str, str]]:
        needs = map(Requirement, lines)
        return {(CONDA.get(one.name, one.name), str(one.specifier)) for one in needs}

    def listed(lines: list[str]) -> set[tuple[str, str]]:
        return {(name, "".join(rest)) for name, *rest in map(str.split, lines)}

    run = {("python", PROJECT["requires-python"]), ("aiohttp", "")}  # fsspec[http] is aiohttp
    assert listed(asked["run"]) == named(PROJECT["dependencies"]) | run
    extras = {k: v for k, v in PROJECT["optional-dependencies"].items() if k not in NOT_USERS}
    assert listed(asked["run_constraints"]) == named([x for one in extras.values() for x in one])
    (script,) = recipe["build"]["python"]["entry_points"]
    assert dict([script.split(" = ")]) == PROJECT["scripts"]
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["summary"] == PROJECT["description"]


NOT_USERS = {"all", "dev", "docs"}


def test_the_recipe_is_one_that_rattler_build_takes() -> None:
    if os.environ.get("CI"):
        import rattler_build as rattler
    else:
        rattler = pytest.importorskip("rattler_build")
    recipe = rattler.Stage0Recipe.from_file(str(TOP / "deploy" / "conda" / "recipe.yaml"))
    (made,) = recipe.render(rattler.VariantConfig())
    assert made.recipe.package.version == PROJECT["version"]
