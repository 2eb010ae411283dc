"""What an analyst calls in Python: one import name, few lines, no traps."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbclient
import nbformat
import pystac
import pytest
import s2sharp
import xarray as xr
from s2sharp.demo.synthetic import COLLECTION, simulate

WHERE = (10.0, 40.0, 20.0, 55.0)


@pytest.fixture(scope="module")
def query(archive: Path, scheduler: str) -> dict[str, object]:
    """Settings of a small run."""
    return {
        "catalog": str(archive / "catalog.json"),
        "collection": COLLECTION,
        "bbox": WHERE,
        "datetime": "2024",
        "bands": ["B02", "B05", "B11"],
        "method": "bicubic",
        "window": 16,
        "shard": 16,
        "publish": False,
        "scheduler": scheduler,
    }


@pytest.fixture(scope="module")
def cube(query: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return s2sharp.run(out=tmp_path_factory.mktemp("door") / "out", **query)


def test_one_name_has_what_an_analyst_needs() -> None:
    assert s2sharp.__version__ == version("s2sharp")
    assert {"search", "plan", "run", "open_cube", "S2SharpError"} <= set(dir(s2sharp))
    # What programs import is there, and in nobody's way.
    for name in ("RunConfig", "make_plan", "execute", "estimate", "read_config"):
        assert getattr(s2sharp, name) is not None
        assert name not in dir(s2sharp)


def test_a_search_gives_items_by_time_that_others_take(tmp_path: Path) -> None:
    catalog, _ = simulate(tmp_path, cells=12, tiles=1, dates=2)
    where = {"catalog": str(catalog), "collection": COLLECTION, "bbox": WHERE}
    found = s2sharp.search(datetime="2024", **where)
    assert isinstance(found, pystac.ItemCollection)
    assert [f"{item.datetime:%d}" for item in found] == ["01", "06"]
    # Who opens an asset by its address stands in another folder than the catalog.
    assert all(Path(x.href).is_file() for item in found for x in item.assets.values())
    with pytest.raises(s2sharp.S2SharpError, match="bbox"):
        s2sharp.search(datetime="2024", bbox=(1, 2, 3))


def test_a_plan_shows_itself_and_moves_nothing(query: dict[str, object], tmp_path: Path) -> None:
    planned = s2sharp.plan(out=tmp_path / "out", **query)
    page = planned._repr_html_()
    for word in ("Reads", "Writes", "Units", "Time", "of pixels", "windows to sharpen"):
        assert word in page
        assert word in repr(planned)
    assert len(page) < 4000
    assert not (tmp_path / "out").exists()


def test_a_plan_obeys_nothing_that_a_catalog_says(query: dict[str, object], tmp_path: Path) -> None:
    planned = s2sharp.plan(out=tmp_path / "<script>out", **query)
    assert "<script>" not in planned._repr_html_()


def test_a_setting_that_is_misspelt_is_refused_with_what_it_means(tmp_path: Path) -> None:
    with pytest.raises(s2sharp.S2SharpError, match="do you mean max_cloud"):
        s2sharp.run(bbox=WHERE, datetime="2024", out=tmp_path, maxcloud=20)


def test_a_run_gives_the_cube_and_the_same_call_opens_it_again(
    cube: xr.Dataset, query: dict[str, object]
) -> None:
    out = Path(cube.encoding["source"]).parent
    again = s2sharp.run(out=out, **query)
    xr.testing.assert_equal(cube.load(), again.load())
    xr.testing.assert_equal(again, s2sharp.open_cube(out).load())


def test_a_run_for_others_leaves_its_page_and_ends_well_without_one(
    query: dict[str, object], tmp_path: Path
) -> None:
    out, shown = tmp_path / "out", {**query, "bands": ["B02", "B05"], "publish": True}
    page = out / "report.html"
    (page / "mine").mkdir(parents=True)  # where nothing can be written
    with pytest.warns(UserWarning, match=r"report\.html was not made: .*`s2sharp report"):
        assert s2sharp.run(out=out, **shown).B05.notnull().any()
    shutil.rmtree(page)
    s2sharp.run(out=out, **shown)
    assert "was made at the end of the run" in page.read_text()


def test_a_run_over_several_codes_asks_which_to_open_before_it_begins(
    query: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(s2sharp.S2SharpError, match="32633, not 32632"):
        s2sharp.run(out=tmp_path / "out", epsg=32632, **query)
    assert not (tmp_path / "out").exists()


SCRIPT = """
import s2sharp
print("begun")
cube = s2sharp.run(bbox=(10, 40, 20, 55), datetime="2024", out="out", catalog={catalog!r}, collection={collection!r},
                   bands=["B02", "B05"], method="bicubic", publish=False, workers=1)
print(cube.B05.dims, __file__)
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    simulate(tmp_path, cells=12, tiles=1)
    text = SCRIPT.format(catalog=str(tmp_path / "catalog.json"), collection=COLLECTION)
    (tmp_path / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begun") == 1
    assert "('time', 'y', 'x')" in done.stdout
    assert "script.py" in done.stdout


def test_a_notebook_shows_plan_and_progress_without_widgets(
    query: dict[str, object], tmp_path: Path
) -> None:
    known = {**query, "out": str(tmp_path / "out")}
    cells = ["import s2sharp", f"planned = s2sharp.plan(**{known!r})\nplanned", "planned.run()"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    done = nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    _, shown, ran = (cell["outputs"] for cell in done.cells)
    assert "of pixels" in shown[-1]["data"]["text/html"]
    assert [o for o in shown if o.output_type == "stream"] == []
    pages = [o["data"].get("text/html", "") for o in ran if "data" in o]
    assert any(re.search(r"sharpen.*>(\d+)/\1<", page) for page in pages)
    assert any("xarray" in page for page in pages)
    assert not any("ipywidgets" in str(o) for o in ran)
