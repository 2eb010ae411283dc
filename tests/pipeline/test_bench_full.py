"""`s2sharp evaluate` by the protocols at full resolution: what they are run on, and how their values are shown."""

from pathlib import Path

import numpy as np
import pytest
from s2sharp.bench.compare import compare, find_tasks
from s2sharp.bench.page import draw_case, write_page
from s2sharp.bench.tables import grids
from s2sharp.scenes.whole_scenes import real_scenes

from s2sharp_core.evaluation.cases import BenchScene
from s2sharp_core.evaluation.combining import Row
from s2sharp_core.evaluation.harm_scenes import KINDS
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.sensor.simulate import landscape, observe
from tests.data import L2A_CHIPS, needs_data, shared_data

DATA = shared_data()


@pytest.fixture(autouse=True)
def _no_data_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test finds must not depend on where it runs."""
    monkeypatch.delenv("S2SHARP_DATA", raising=False)


@pytest.fixture(scope="module")
def scene() -> BenchScene:
    return BenchScene("native", native=observe(landscape((120, 120), 9)))


def test_the_default_is_measured() -> None:
    assert {case.protocol.name for case in find_tasks(synthetic=1, cells=12).cases} == {"measured"}


def test_harm_brings_its_drawn_scenes_and_others_do_not() -> None:
    names = {case.scene for case in find_tasks(["harm"], synthetic=1, cells=12).cases}
    assert names == {"landscape-0", *KINDS}
    names = {case.scene for case in find_tasks(["hidden"], synthetic=1, cells=12).cases}
    assert names == {"landscape-0"}


def test_parts_of_a_scene_are_shown_apart_and_together(scene, tmp_path: Path) -> None:
    outcome = compare(["bicubic", "s2net-s"], PROTOCOLS["measured"].cases(scene), device="cpu")
    assert not outcome.left_out
    tables = grids(outcome.rows)
    assert list(tables[0].rows) == ["native 20 m"]
    titles = [table.title.partition(",")[0] for table in tables]
    assert titles[1:4] == [
        "measured: red edge bands",
        "measured: short-wave infrared bands",
        "measured: 20 m bands",
    ]
    values = {(r.method, r.band): r.value for r in outcome.rows if r.metric == "SRE"}
    parts = [values["s2net-s", part] for part in ("red edge", "short-wave infrared")]
    assert values["s2net-s", "20 m"] == pytest.approx((4 * parts[0] + 2 * parts[1]) / 6)
    assert values["s2net-s", "20 m"] > values["bicubic", "20 m"] + 5
    page = tmp_path / "index.html"
    write_page(page, outcome, tables, "s2sharp evaluate", real=False)
    assert page.read_text().count("<figure>") == 2


def test_a_hidden_band_has_a_picture(scene) -> None:
    outcome = compare(["bicubic"], PROTOCOLS["hidden"].cases(scene), device="cpu")
    assert [set(result.pictures) for result in outcome.results] == [{"B8A"}, {"B05"}]
    for result in outcome.results:
        assert draw_case([result], 20).startswith(b"\x89PNG")


def test_the_worst_of_a_spectrum_is_that_of_the_mean_over_scenes() -> None:
    """One scene too strong and another too weak by as much are, together, right."""
    rows = [
        Row("a", scene, "spectrum", "B8A", metric, value, False)
        for scene, gain in (("x", 1.2), ("y", 0.9))
        for metric, value in (
            *((f"gain, {f:g}", 1.0) for f in (0.02, 0.045, 0.075, 0.105)),
            ("gain, 0.135", gain),
            ("departure", abs(gain - 1)),
            ("coherence, 0.02", 0.99),
            ("coherence, 0.135", 2 - gain),
        )
    ]
    rows += [Row("a", "x", "spectrum", "20 m", "departure", 0.2, False)]
    shown = {table.title.partition(",")[0]: table for table in grids(rows)}
    gain = shown["spectrum: gain"]
    assert gain.columns[:2] == ("worst gain", "0.02")
    assert [cell.text for cell in gain.rows["a"]][:1] == ["0.050"]
    assert shown["spectrum: coherence"].rows["a"][0].text == "0.950"


def test_losses_are_shown_by_trial_with_the_worst_first() -> None:
    rows = [
        Row("a", scene, "robust", "20 m", metric, value, False)
        for scene, off in (("x", 0.0), ("y", 1.0))
        for metric, value in (
            ("loss, shift", 2.0 + off),
            ("loss, noise", 0.5),
            ("worst loss", 2.0 + off),
        )
    ]
    (table,) = (table for table in grids(rows) if ": loss" in table.title)
    assert table.columns == ("worst loss", "shift", "noise")
    assert [cell.text for cell in table.rows["a"]] == ["2.50", "2.50", "0.50"]


@needs_data
def test_chips_of_one_datatake_are_scenes_of_their_own() -> None:
    assert DATA
    scenes = real_scenes(DATA / "l2a" / "catalog.json", "sentinel-2-l2a")
    assert set(scenes) == set(L2A_CHIPS)
    assert all(y.shape[1:] == (1200 // g, 1200 // g) for s in scenes.values() for g, y in s.items())
    assert all(np.isfinite(y).all() for s in scenes.values() for y in s.values())
