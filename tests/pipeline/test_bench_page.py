"""Tables and the page of `s2sharp evaluate`: they say what was found, and show it."""

import base64
import csv
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from s2sharp.bench.compare import BenchOutcome, compare, find_tasks
from s2sharp.bench.page import draw_case, write_page
from s2sharp.bench.tables import grids, write_tables

from s2sharp_core.bands import BY_GSD
from s2sharp_core.evaluation.combining import Row


@pytest.fixture(scope="module")
def outcome():
    tasks = find_tasks(["mtf", "consistency"], synthetic=1, cells=16)
    return compare(["bicubic", "dsen2"], tasks.cases, device="cpu")


def test_the_table_is_a_value_a_row(outcome, tmp_path: Path) -> None:
    files = write_tables(outcome.rows, tmp_path)
    with files[0].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(outcome.rows)
    assert list(rows[0]) == ["method", "scene", "protocol", "band", "metric", "value", "seen"]
    assert float(rows[3]["value"]) == outcome.rows[3].value
    pa = pytest.importorskip("pyarrow.parquet")
    table = pa.read_table(files[1]).to_pylist()
    assert table[5]["metric"] == outcome.rows[5].metric
    assert table[5]["seen"] is False


def test_without_pyarrow_there_is_csv(
    outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2sharp.bench.tables.find_spec", lambda _: None)
    assert [file.name for file in write_tables(outcome.rows, tmp_path)] == ["table.csv"]


def test_the_best_of_each_column_and_what_has_been_seen_are_marked(outcome) -> None:
    first, twenty, *_ = grids(outcome.rows)
    assert (first.corner, first.columns) == ("scene", ("bicubic", "dsen2"))
    for smooth, sharp in first.rows.values():
        assert sharp.best
        assert not smooth.best
    assert twenty.title == "mtf: 20 m bands, mean over landscape-0"
    cells = dict(zip(twenty.columns, twenty.rows["bicubic"], strict=True))
    assert cells["invention"].text == "0.000"
    assert cells["invention"].best
    assert not cells["RMSE DN"].best
    assert not first.seen
    seen = grids([replace(row, seen=row.method == "dsen2") for row in outcome.rows])[0]
    assert [cell.seen for cell in next(iter(seen.rows.values()))] == [False, True]


def test_means_are_over_what_all_methods_were_run_on() -> None:
    rows = [
        Row(method, scene, "mtf", "20 m", "SRE", value, False)
        for method, scene, value in (("a", "x", 10.0), ("a", "y", 20.0), ("b", "y", 30.0))
    ]
    rows += [
        Row(m, "y", "mtf", "20 m", c, 1.0, False)
        for m in "ab"
        for c in ("seconds", "fit seconds", "multiply-adds")
    ]
    first, mean, _ = grids(rows)
    assert [c.text for c in first.rows["x 20 m"]] == ["10.00", "–"]
    assert mean.title == "mtf: 20 m bands, mean over y"
    assert [row[0].text for row in mean.rows.values()] == ["20.00", "30.00"]


def test_pictures_show_something(outcome) -> None:
    for protocol, gsd in (("mtf", 20), ("consistency", 60)):
        mine = [result for result in outcome.results if result.case.protocol.name == protocol]
        pixels = imread(BytesIO(draw_case(mine, gsd)))[..., :3]
        assert pixels.std() > 0.1
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200


def figure_of(results, gsd: int, monkeypatch: pytest.MonkeyPatch):
    """What is drawn of a case, before it becomes pixels."""
    figures: list[Figure] = []
    save = Figure.savefig

    def kept(self, *given, **more) -> None:
        figures.append(self)
        save(self, *given, **more)

    monkeypatch.setattr(Figure, "savefig", kept)
    draw_case(results, gsd)
    return figures[0]


def test_a_picture_shows_truth_result_error_and_profile(
    outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [r for r in outcome.results if r.case.protocol.name == "mtf"]
    figure = figure_of(results, 20, monkeypatch)
    case = results[0].case
    assert case.scene in figure.get_suptitle()
    assert "20→10 m" in figure.get_suptitle()
    axes = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    rows = [axes[i : i + 3] for i in range(0, len(axes), 3)]
    assert len(rows) == 1 + len(results)
    titles = [[part.get_title(loc="left") for part in row] for row in rows]
    assert titles[0][0] == "truth, B11"
    assert titles[0][1] == "B11, 20 m, as given"
    assert "profiles" in titles[0][2]

    def shown(part) -> np.ndarray:
        return np.asarray(part.images[0].get_array())

    def lines(part) -> dict[str, np.ndarray]:
        return {line.get_label(): line.get_ydata() for line in part.lines}

    truth = shown(rows[0][0])
    whole = case.truth[20][BY_GSD[20].index("B11")]
    side = truth.shape[0]
    starts = range(whole.shape[0] - side + 1)
    (at,) = [
        np.s_[i : i + side, j : j + side]
        for i in starts
        for j in starts
        if np.array_equal(whole[i : i + side, j : j + side], truth)
    ]
    # The same line across the same edge for the truth, what was given, and what each method made of it.
    known = lines(rows[0][2])
    assert set(known) == {"truth", "as given", "bicubic", "dsen2"}
    for row, (_, second, _), result in zip(rows[1:], titles[1:], results, strict=True):
        picture = result.pictures["B11"][at]
        assert row[0].get_title(loc="left") == result.method
        assert np.array_equal(shown(row[0]), picture)
        error = 10_000 * (picture - truth)
        assert shown(row[1]) == pytest.approx(error, abs=1e-2)
        assert f"error, DN: RMSE {np.sqrt(np.mean(error**2)):.0f} here" == second
        own = lines(row[2])
        assert set(own) == {"truth", "as given", result.method}
        assert np.array_equal(own["truth"], known["truth"])
        assert np.array_equal(own[result.method], known[result.method])
    # The profile is that of the yellow line, three pixels wide, and there is an edge on it.
    (yellow,) = rows[0][0].lines
    (x0, x1), (y0, y1) = (map(int, ends) for ends in yellow.get_data())
    assert (x0 == x1) != (y0 == y1)
    row = truth[y0 - 1 : y0 + 2, x0 : x1 + 1]
    strip = row if y0 == y1 else truth[y0 : y1 + 1, x0 - 1 : x0 + 2].T
    assert known["truth"] == pytest.approx(10_000 * strip.mean(axis=0), abs=0.01)
    assert np.ptp(known["truth"]) > 10_000 * truth.std()
    # Where nobody knows the truth, none is shown.
    blind = [r for r in outcome.results if r.case.protocol.name == "consistency"]
    figure = figure_of(blind, 60, monkeypatch)
    every = [axes.get_title(loc="left") for axes in figure.axes]
    assert not any("truth" in title for title in every)
    assert any("degraded result - input" in title for title in every)


def test_methods_without_a_band_in_common_have_a_picture(outcome) -> None:
    first, second = (r for r in outcome.results if r.case.protocol.name == "mtf")
    for left, right in ((("B05",), ("B05", "B06")), (("B05",), ("B06",))):
        parts = [
            replace(result, pictures={band: result.pictures[band] for band in bands})
            for result, bands in ((first, left), (second, right))
        ]
        assert draw_case(parts, 20).startswith(b"\x89PNG")


def test_the_page_holds_all_that_it_shows(outcome, tmp_path: Path) -> None:
    file = tmp_path / "bench" / "index.html"
    command = "s2sharp evaluate --scene '<x>'"
    write_page(file, outcome, grids(outcome.rows), command, real=True)
    text = file.read_text()
    assert "&lt;x&gt;" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    pictures = re.findall(r'base64,([^"]+)"', text)
    assert len(pictures) == 4
    assert all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    for fact in ("Σx² / Σe²", "6 pixels", "8 × 8 pixels", "landscape-0 20 m", "Copernicus"):
        assert fact in text
    write_page(file, BenchOutcome((), ("why",)), [], command, real=False)
    assert "Copernicus" not in file.read_text()
    assert "<li>why</li>" in file.read_text()
