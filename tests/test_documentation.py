"""What README and docs say is so: their commands and blocks run, and their links lead somewhere.

A page's blocks run in order, in a folder of the page's own, against a STAC API of synthetic scenes (``S2SHARP_CATALOG``;
the place of the examples is theirs) whose files a web server hands out; ``downloads`` holds products as ESA delivers them, and BUCKET
is one in an object store. Python blocks share a namespace, in which ``scene`` is a small scene.
What cannot be run here stands under ``<!-- not run: WHY -->``; it is parsed, and so are lines with "…" in them.
"""

import re
import shlex
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pystac
import pytest
import typer
from distributed.cli import dask_scheduler, dask_worker
from markdown_it import MarkdownIt
from s2sharp.cli.app import app
from s2sharp.demo.synthetic import COLLECTION, simulate
from s2sharp.planning.config import read_config
from typer.testing import CliRunner

from s2sharp_core import BANDS, make_scene
from s2sharp_core.bands import BY_GSD
from s2sharp_core.lattice import Lattice
from s2sharp_core.sensor.simulate import landscape, observe
from tests.pipeline.command import FORESEEN
from tests.pipeline.products import write_safe
from tests.services import pgstac_server
from tests.web import Proxy, http_server

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    """A block of code; ``why``: the reason that it is not run, if there is one."""

    language: str
    text: str
    line: int
    why: str


def blocks(page: Path) -> Iterator[Block]:
    """The page's blocks of code. One that is merely indented is the shell's; those of deploy/ are for other machines."""
    elsewhere = "other machines" if page.parent.name == "deploy" else ""
    why = ""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "html_block":
            found = re.match(r"<!-- not run: (.+) -->", token.content)
            why = found.group(1) if found else ""
        elif token.type in ("fence", "code_block") and token.map:
            language = token.info.strip() or ("bash" if token.type == "code_block" else "text")
            yield Block(language, token.content, token.map[0] + 1, why or elsewhere)
            why = ""


def commands(text: str) -> list[str]:
    """The commands of a block, without comments, lines that go on joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    simulate(folder, cells=30, tiles=1, dates=2)
    return folder


@pytest.fixture(scope="module")
def catalog(archive: Path) -> Iterator[str]:
    root = pystac.Catalog.from_file(archive / "catalog.json")
    with http_server(archive) as files:
        items = [_absolute(item, archive, files) for item in root.get_items(recursive=True)]
        collections = [c.to_dict(transform_hrefs=False) for c in root.get_collections()]
        with pgstac_server(collections, items) as url:
            yield url


def _absolute(item: pystac.Item, folder: Path, files: str) -> dict[str, Any]:
    """An item as an archive's API gives it: with the addresses of its files."""
    item.make_asset_hrefs_absolute()
    for asset in item.assets.values():
        asset.href = f"{files}/{Path(asset.href).relative_to(folder)}"
    return item.to_dict(transform_hrefs=False)


@pytest.fixture
def environment(
    catalog: str,
    scheduler: str,
    store: tuple[Proxy, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in store[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S2SHARP_CATALOG", catalog)
    monkeypatch.setenv("S2SHARP_COLLECTION", COLLECTION)
    monkeypatch.setenv("S2SHARP_SCHEDULER", scheduler)
    # A terminal wide enough for tables, and no colours in what is compared.
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")


def a_scene() -> Any:
    lattice = Lattice.of(32633)
    box = lattice.around((600_000, 5_399_100, 600_900, 5_400_000))
    seen = observe(landscape(box.pixels(10), 4))
    bands = {b: y for g, group in BY_GSD.items() for b, y in zip(group, seen[g], strict=True)}
    assert set(bands) == set(BANDS)
    return make_scene(bands, lattice, box)


@pages
@pytest.mark.usefixtures("environment")
# Downloads of the pages hold products of both levels.
@pytest.mark.filterwarnings("ignore::s2sharp.catalog.search.OtherLevelWarning")
def test_what_a_page_tells_to_type_works(
    page: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # On so small a scene a sensor takes the longest to measure, a net to load, and a forecast to be made. The README's run
    # does it, with all defaults.
    if page != PAGES[0]:
        monkeypatch.setenv("S2SHARP_SENSOR", "default")
        monkeypatch.setenv("S2SHARP_METHOD", "bicubic")
        monkeypatch.setattr("s2sharp.planning.cost._calibrate", lambda *_, **__: FORESEEN)
    namespace: dict[str, Any] = {"scene": a_scene()}
    (first, *_) = pystac.Catalog.from_file(archive / "catalog.json").get_items(recursive=True)
    for level in ("1C", "2A"):
        write_safe(tmp_path / "downloads", first, level, -1000)
    with chdir(tmp_path):
        for block in blocks(page):
            where = f"{page.relative_to(ROOT)}, line {block.line}"
            if block.language == "python":
                code = compile(block.text, where, "exec")
                if not block.why:
                    exec(code, namespace)
            elif block.language == "bash":
                shell_syntax(block.text, where)
                for command in commands(block.text):
                    if block.why or "…" in command:
                        parse(command, where)
                    else:
                        do(command, where)
            elif block.language == "toml":
                read_config(written(tmp_path / "run.toml", block.text), {})
            else:
                assert block.language in ("text", "json"), (
                    f"{where}: {block.language} is not checked"
                )


def shell_syntax(text: str, where: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where}: {done.stderr}"


PROGRAMS: dict[str, Any] = {
    "s2sharp": typer.main.get_command(app),
    "dask": click.Group("dask", {"scheduler": dask_scheduler.main, "worker": dask_worker.main}),
}


def parse(command: str, where: str) -> None:
    """A command that is not run has options that there are, of ours and Dask's, and names files of ours that there are."""
    words = shlex.split(command.split("|")[0].split(" > ")[0], comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):  # its environment
        words.pop(0)
    for word in words:
        if re.match(r"deploy/[\w/.@-]+$", word.rstrip("*")):
            assert list(ROOT.glob(word)), f"{where}: there is no {word}"
    if len(words) < 2 or words[0] not in PROGRAMS:
        return
    known, said, rest = PROGRAMS[words[0]], words[0], words[1:]
    while rest and hasattr(known, "commands"):
        name = rest.pop(0)
        known, said = known.commands.get(name), f"{said} {name}"
        assert known is not None, f"{where}: there is no `{said}`"
    there = {o for p in known.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    given = {w.partition("=")[0] for w in rest if w.startswith("--")}
    assert given <= there, f"{where}: `{said}` has no {given - there}"


def look(words: list[str], where: str) -> None:
    """Something that serves: its page is asked for, then it is stopped as by Ctrl-C."""
    command = [sys.executable, "-m", "s2sharp.cli.app", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            said = server.stdout.readline()
            assert said.startswith("http://"), f"{where}: {said}"
            with urllib.request.urlopen(said.split()[0], timeout=60) as page:
                assert page.status == 200, where
            server.send_signal(signal.SIGINT)
            assert server.wait(60) in (0, 130), where
        finally:
            server.kill()


def do(command: str, where: str) -> None:
    """Run it; ours in this process, which saves the start of a dozen interpreters."""
    words = shlex.split(command.replace("s3://BUCKET", "s3://bucket"), comments=True)
    if words[:2] == ["s2sharp", "view"]:
        look(words[1:], where)
        return
    if words[0] == "s2sharp":
        result = CliRunner().invoke(app, words[1:])
        # 4 is a run's "some is left", which `status` of one that is done never says.
        assert result.exit_code == 0, f"{where}: {command}\n{result.output}\n{result.exception!r}"
        return
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where}: {command}\n{done.stderr}"


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pages
def test_links_of_a_page_lead_somewhere(page: Path):
    for token in MarkdownIt().parse(page.read_text()):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if not isinstance(target, str) or re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.relative_to(ROOT)}: {target}"
            assert file.is_relative_to(ROOT)
            if anchor and file.suffix == ".md":
                assert anchor in anchors(file), f"{page.relative_to(ROOT)}: {target}"


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub and the site's generator name them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


def test_make_targets_and_extras_that_are_named_exist():
    text = "\n".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^ *|`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.findall(r"(?:s2sharp|\.)\[([a-z0-9,]+)\]", text)
    assert {name for group in named for name in group.split(",")} <= set(extras)


def test_benchmarks_that_are_named_exist():
    text = "\n".join(page.read_text() for page in PAGES)
    for name in set(re.findall(r"tests\.benchmarks\.([a-z]\w*)", text)):
        assert (ROOT / "tests" / "benchmarks" / f"{name}.py").exists(), name


def test_the_version_is_one():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
