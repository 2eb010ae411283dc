"""A run as a page: what it shows, where it looks, and that it needs nobody."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from rasterio.io import MemoryFile
from s2sharp.engine.ledger import Ledger
from s2sharp.planning.config import RunConfig
from s2sharp.planning.make import make_plan
from s2sharp.report.facts import gather
from s2sharp.report.make import make_report
from typer.testing import CliRunner

from tests.browser import browser

from .runs import config, run


@pytest.fixture(scope="module")
def broken(large: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run of which a part failed: of one of four tiles, a band's file is cut short."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(large, folder / "archive")
    (victim,) = folder.glob("archive/scenes/*AD_*/B11.tif")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    settings = config(
        folder / "archive", folder / "out", scheduler, method="dsen2", retries=0, trust=True
    )
    run(settings)
    return settings


@pytest.fixture(scope="module")
def page(broken: RunConfig) -> str:
    return make_report(broken.out)


def _copy(broken: RunConfig, folder: Path) -> Path:
    return shutil.copytree(str(broken.out), folder / "out")


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 800)])
def test_people_see_a_page_that_asks_for_nothing_and_whose_sliders_move(
    page: str, tmp_path: Path, width: int, height: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page)
    with browser() as open_page:
        seen = open_page(file.as_uri(), width, height)
        assert {url for url in seen.requests if not url.startswith("data:")} == {file.as_uri()}
        assert seen.value("document.documentElement.scrollWidth") <= width
        assert seen.value("[...document.images].every((image) => image.naturalWidth > 0)")
        # As delivered, 20 m, lies over 10 m: half as many pixels, on the same ground.
        sizes = "[...document.querySelector('.compare').querySelectorAll('img')].map((i) => i.{})"
        after, before = seen.value(sizes.format("naturalWidth"))
        assert after == 2 * before
        assert len(set(seen.value(sizes.format("width")))) == 1
        seen.value("document.querySelector('.compare').scrollIntoView({block: 'center'})")
        x, y, w, h = seen.value(
            "(({x, y, width, height}) => [x, y, width, height])"
            "(document.querySelector('.compare').getBoundingClientRect())"
        )
        middle = _pixels(seen.picture())
        seen.drag((x + w / 2, y + h / 2), (x + 0.9 * w, y + h / 2))
        moved = _pixels(seen.picture())
        inner = np.s_[:, int(y) + 8 : int(y + h) - 8]
        changed = np.abs(moved[inner] - middle[inner]).sum(axis=(0, 1)) > 0
        assert changed[int(x + 0.6 * w) : int(x + 0.85 * w)].mean() > 0.9
        assert not changed[int(x) + 8 : int(x + 0.4 * w)].any()
        assert seen.problems == []


def _pixels(png: bytes) -> np.ndarray:
    with MemoryFile(png) as memory, memory.open() as file:
        return file.read(out_dtype="int16")


def test_a_page_shows_pictures_clouds_and_what_each_step_took(page: str) -> None:
    assert "True colour, 10 m" in page
    assert re.search(r"Short-wave infrared · B12\W+B8A\W+B05</figcaption>", page)
    assert re.search(r">cloud, %</th>.*?<td>33UAA[^<]*</td><td>0\.0</td>", page)
    assert re.search(r"<td>sharpening</td><td>[\d.]+ \w+</td><td>[\d.e-]+ Mpx/s</td>", page)


def test_layers_of_trust_are_shown_beside_their_place(page: str) -> None:
    places = page.split('<section class="place">')[1:]
    assert places
    for place in places:
        assert re.search(r"Off what was seen, seen again · residual, 0 to [1-9]\d* DN", place)
        assert re.search(r"Carried over from finer bands · detail, 0 to [1-9]\d* DN", place)


def test_failures_stand_with_what_is_to_blame_and_what_to_do(broken: RunConfig, page: str) -> None:
    facts = gather(broken.out)
    assert facts.failed
    assert f"{len(facts.failed)} units failed" in page
    assert re.search(r"<td>asset-unreadable</td><td>\S*AD_\S* B11</td>", page)
    assert facts.failed[0].message.split(". ")[-1] in page
    # On the map a cross, not a colour alone: one for each failed shard.
    (marks,) = re.findall(r'class="mark" d="([^"]+)"/></svg><figcaption>', page)
    assert marks.count("M") == facts.units["failed"] > 0
    assert 'class="ok"' in page


def test_the_cube_is_nearer_to_what_was_seen_than_bicubic(page: str) -> None:
    rows = re.findall(r"<td>(B\w\w)</td><td>([\d.]+)</td><td><svg.*?</td><td>([\d.]+)</td>", page)
    assert {band for band, *_ in rows} >= {"B05", "B06", "B07", "B8A", "B11", "B12"}
    for _, ours, bicubic in rows:
        assert 0 < float(ours) < float(bicubic)


def test_a_page_tells_where_pixels_are_from_and_nothing_of_the_machine(
    broken: RunConfig, page: str
) -> None:
    facts = gather(broken.out)
    for told in (
        *facts.plan.weights.values(),
        "catalog.json",
        f"s2sharp {facts.plan.software}",
        "33UAA",
    ):
        assert told in page
    for scene in facts.plan.acquisitions[0].scenes:
        assert scene.id in page
    secret = [str(broken.out.parent), str(broken.scheduler), facts.records[0].worker]
    assert not [text for text in secret if text in page]


def test_without_the_archive_a_report_says_what_is_missing_and_shows_the_rest(
    broken: RunConfig, tmp_path: Path
) -> None:
    out = _copy(broken, tmp_path)
    away = Path(broken.catalog).parent
    hidden = away.rename(away.with_name("hidden"))
    try:
        page = make_report(out)
    finally:
        hidden.rename(away)
    assert "native bands could not be read" in page
    assert "No window could be compared" in page
    assert 'class="compare"' not in page
    assert "True colour, 10 m" in page


def test_a_run_that_died_is_reported_as_far_as_it_came(broken: RunConfig, tmp_path: Path) -> None:
    out = _copy(broken, tmp_path)
    # As a killed run leaves it: overviews not made, units without a record, nothing published.
    gone = sorted(name for name in Ledger(out / "ledger").names() if name.endswith(".ok"))
    kept = next(name for name in gone if "/x1_" in name)
    for name in gone:
        if name != kept:
            (out / "ledger" / name).unlink()
    for level in (out / "cube.zarr").glob("*/x*/B*/c"):
        shutil.rmtree(level)
    root = zarr.open_group(out / "cube.zarr", mode="r+")
    root.attrs.update({"s2sharp": {**root.attrs["s2sharp"], "status": "writing"}})
    facts = gather(out)
    assert (facts.units["ok"], facts.running) == (1, False)
    page = make_report(out)
    assert "stopped before its end" in page
    assert 'class="left"' in page
    # What there is to see lies in the one unit that is done.
    assert page.count('<section class="place">') == 1


def test_a_run_that_has_not_begun_has_a_page(archive: Path, tmp_path: Path) -> None:
    make_plan(config(archive, tmp_path / "out")).freeze()
    page = make_report(tmp_path / "out")
    assert "not begun" in page
    assert "There is nothing to show yet" in page


def test_the_command_writes_where_it_is_told_and_names_what_is_no_run(
    broken: RunConfig, tmp_path: Path
) -> None:
    from s2sharp.cli.app import app

    out = _copy(broken, tmp_path)
    shutil.rmtree(out / "cube.zarr")
    call = CliRunner().invoke
    assert call(app, ["report", str(out)]).exit_code == 0
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert call(app, ["report", str(out), "--to", str(tmp_path / "a" / "b.html")]).exit_code == 0
    assert (tmp_path / "a" / "b.html").is_file()
    said = call(app, ["report", str(tmp_path)])
    assert said.exit_code == 1
    assert not (tmp_path / "report.html").exists()
