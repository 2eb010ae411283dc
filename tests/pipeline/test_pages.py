"""Pages: what they are given is text, and what they are made of is installed with them."""

import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from html import escape
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from s2sharp.planning.make import make_plan
from s2sharp.report.facts import gather
from s2sharp.report.page import render
from s2sharp.ui.html import document

from .runs import config

ROOT = Path(__file__).parents[2]
HOSTILE = """<img src=x onerror="alert('1')">&"""


def test_whatever_a_catalog_says_is_text(archive: Path, tmp_path: Path) -> None:
    make_plan(config(archive, tmp_path / "out")).freeze()
    facts = gather(tmp_path / "out")
    settings = facts.plan.config.model_copy(update={"collection": HOSTILE})
    plan = facts.plan.model_copy(update={"config": settings, "cloudy": (HOSTILE,)})
    page = render(replace(facts, plan=plan), [], {}, None, {})
    assert HOSTILE not in page
    assert page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;").count(escape(HOSTILE)) == 4


def test_a_page_without_a_fact_that_it_speaks_of_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="title"):
        document("s2sharp.view/view.html.j2")


def test_files_beside_the_code_are_installed_with_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for file in (ROOT / "pipeline").rglob("*.*"):
        package = ".".join(["s2sharp", *file.relative_to(ROOT / "pipeline").parts[:-1]])
        if file.suffix not in (".py", ".pyc"):
            assert any(fnmatch(file.name, g) for g in settings["package-data"][package]), file
