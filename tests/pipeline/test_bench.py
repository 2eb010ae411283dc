"""`s2sharp evaluate`: what it finds, what it tells, and what it leaves behind."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from s2sharp.bench.compare import BenchOutcome, compare, find_tasks, folders
from s2sharp.cli.app import app
from typer.testing import CliRunner

from s2sharp_core import METHODS, S2SharpError
from s2sharp_core.bands import BY_GSD, COARSE
from s2sharp_core.evaluation.protocols import PROTOCOLS
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sensor.simulate import landscape
from tests.data import SCENES, needs_data, shared_data

DATA = shared_data()


@pytest.fixture(autouse=True)
def _no_data_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test finds must not depend on where it runs."""
    monkeypatch.delenv("S2SHARP_DATA", raising=False)


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Arrays of the shape of those that papers published, but synthetic."""
    folder = tmp_path / "papers"
    folder.mkdir()
    truth = 1e4 * landscape((108, 108), 5).transpose(1, 2, 0)
    fine, coarse = truth[..., :4], truth[..., :6]
    np.savez(folder / "apex.npz", truth=truth)
    np.savez(folder / "coastal_rr.npz", y10=fine, y20=coarse[::2, ::2], truth20=coarse)
    y60 = truth[::6, ::6, :2]
    np.savez(folder / "iceland_raw.npz", y10=fine, y20=coarse[::2, ::2], y60=y60)
    return folder


def test_without_a_catalog_there_are_landscapes() -> None:
    tasks = find_tasks(["mtf", "consistency"], cells=16)
    assert not tasks.real
    assert [(c.scene, c.protocol.name) for c in tasks.cases] == [
        (f"landscape-{i}", name) for name in ("mtf", "consistency") for i in (0, 1)
    ]


def test_papers_have_scenes_of_their_own(papers: Path) -> None:
    names = [name for name in PROTOCOLS if name.startswith("papers/")]
    tasks = find_tasks(names, papers=papers)
    assert tasks.real
    assert [case.scene for case in tasks.cases] == ["coastal", "iceland", "apex", "apex"]
    tasks = find_tasks(["mtf"], papers=papers, scenes=["apex"])
    assert [(c.scene, c.gsds) for c in tasks.cases] == [("apex", (20, 60))]
    assert not tasks.real
    outcome = compare(["bicubic"], find_tasks(names, papers=papers).cases)
    assert [set(r.pictures) for r in outcome.results] == [{*BY_GSD[20]}] * 2 + [{*COARSE}] * 2
    assert not outcome.left_out


def test_the_folder_of_papers_is_found_by_the_environment(
    papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S2SHARP_DATA", str(papers.parent))
    assert find_tasks(["papers/apex-30"]).cases[0].scene == "apex"


@pytest.mark.parametrize(
    ("protocols", "more", "kind", "words"),
    [
        (["magic"], {}, "bad-config", ["magic", "mtf", "papers/iceland"]),
        (["mtf"], {"scenes": ["vienna"]}, "nothing-found", ["vienna", "landscape-0"]),
        (["mtf"], {"synthetic": 0}, "nothing-found", ["--synthetic"]),
        (["papers/apex-30"], {}, "nothing-found", ["apex.npz", "--papers"]),
        (["papers/apex-30"], {"papers": Path("/nowhere")}, "nothing-found", ["/nowhere"]),
    ],
)
def test_what_is_not_there_is_told(
    protocols: list[str],
    more: dict,
    kind: str,
    words: list[str],
) -> None:
    with pytest.raises(S2SharpError) as caught:
        find_tasks(protocols, cells=12, **more)
    assert caught.value.kind == kind
    assert all(word in str(caught.value) for word in words)


def test_weights_are_given_by_method() -> None:
    assert folders(["dsen2=a/b", "vdsen2=c=d"]) == {"dsen2": Path("a/b"), "vdsen2": Path("c=d")}
    for wrong in ("dsen2", "=x", "dsen2="):
        with pytest.raises(S2SharpError, match="METHOD=FOLDER"):
            folders([wrong])


def test_unknown_methods_and_missing_weights_end_the_bench() -> None:
    cases = find_tasks(["mtf"], synthetic=1, cells=12).cases
    for methods, weights, kind in (
        (["magic"], {}, "method-unknown"),
        (["bicubic"], {"magic": Path()}, "method-unknown"),
        (["dsen2"], {"dsen2": Path("/nowhere")}, "weights-missing"),
    ):
        with pytest.raises(S2SharpError) as caught:
            compare(methods, cases, weights=weights)
        assert caught.value.kind == kind


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Makes a method "learner": bicubic, but for a fit beforehand."""
    bicubic = METHODS["bicubic"]

    def ready(bands, _, device):
        return bicubic.load(bands, None, device)

    def add(fit: Callable[..., object]) -> None:
        made = replace(
            bicubic,
            name="learner",
            fit=fit,
            load=ready,
            blank=lambda bands, device: ready(bands, None, device),
        )
        monkeypatch.setitem(METHODS, "learner", made)

    return add


def too_small(sample, *_) -> None:
    sample.at_least(1000, "learner")


def test_what_a_method_cannot_do_is_told_and_the_rest_goes_on(learner) -> None:
    learner(too_small)
    told: list[tuple[str, int, str]] = []
    cases = find_tasks(["mtf"], synthetic=1, cells=12).cases
    outcome = compare(
        ["learner", "bicubic"],
        cases,
        options=FitOptions(steps=1),
        tell=lambda *what: told.append(what),
    )
    assert [result.method for result in outcome.results] == ["bicubic"]
    (text,) = outcome.left_out
    assert text.startswith("learner, landscape-0, mtf: ")
    assert "1000 × 1000 cells" in text
    assert told[-1] == ("bicubic", 1, "")


@pytest.mark.parametrize(
    ("method", "device", "kind"),
    [("vdsen2", "cpu", "weights-missing"), ("bicubic", "mps", "bad-config")],
)
def test_what_is_wrong_is_told_before_anything_is_fitted(
    learner, method: str, device: str, kind: str
) -> None:
    learner(lambda *_: pytest.fail("fitted"))
    cases = find_tasks(["mtf"], synthetic=1, cells=12).cases
    with pytest.raises(S2SharpError) as caught:
        compare(["learner", method], cases, device=device)
    assert caught.value.kind == kind


def test_weights_that_go_bad_meanwhile_cost_one_method(learner) -> None:
    def bad(*_: object) -> None:
        raise S2SharpError("weights-corrupt", "They have gone bad.")

    learner(bad)
    kept: list[BenchOutcome] = []
    cases = find_tasks(["mtf"], synthetic=1, cells=12).cases
    outcome = compare(["bicubic", "learner"], cases, keep=kept.append)
    assert [result.method for result in outcome.results] == ["bicubic"]
    assert outcome.left_out == ("learner, landscape-0, mtf: They have gone bad.",)
    assert [(len(o.results), len(o.left_out)) for o in kept] == [(1, 0), (1, 1)]


def test_a_stopped_command_keeps_what_is_done_and_goes_on(learner, tmp_path: Path) -> None:
    fits: list[Path] = []

    def fit(*given) -> None:
        done = given[4] / "done"
        if done.exists():
            return
        fits.append(given[4])
        fits[-1].mkdir(parents=True, exist_ok=True)
        if len(fits) == 2:
            raise KeyboardInterrupt
        done.touch()

    learner(fit)
    flags = ["--method", "bicubic", "--method", "learner", "--cells", "12", "--no-pictures"]
    code, text = call("evaluate", *flags, "--out", str(tmp_path))
    assert code == 130, text
    assert "landscape-1 20 m" in text
    assert "does not repeat" in text
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["scene"] for row in rows if (row["band"], row["metric"]) == ("20 m", "SRE")] == [
        "landscape-0",
        "landscape-1",
        "landscape-0",
    ]
    assert {folder.parent for folder in fits} == {tmp_path / "fits"}
    code, text = call("evaluate", *flags, "--out", str(tmp_path))
    assert code == 0, text
    assert fits[2:] == fits[1:2]


def test_if_nothing_can_be_judged_the_command_fails(learner, tmp_path: Path) -> None:
    learner(too_small)
    flags = ["--method", "learner", "--cells", "12", "--out", str(tmp_path / "bench")]
    code, text = call("evaluate", *flags)
    assert code == 1
    assert "left out" in text
    assert "nothing-judged" in text
    assert not (tmp_path / "bench").exists()


def test_the_command_shows_writes_and_draws(tmp_path: Path) -> None:
    out = tmp_path / "bench"
    flags = ["--synthetic", "1", "--cells", "16", "--device", "cpu", "--out", str(out)]
    code, text = call("evaluate", *flags)
    assert code == 0, text
    for fact in ("landscape-0 20 m", "SRE", "Q2n", "invention", "multiply-adds", "s2net-m"):
        assert fact in text
    assert sorted(f.name for f in out.iterdir()) == ["index.html", "table.csv", "table.parquet"]
    assert "†" not in text


def test_the_command_tells_what_is_wrong() -> None:
    for flags, code, words in (
        (["--protocol", "magic"], 2, ["magic", "mtf"]),
        (["--method", "magic"], 2, ["magic", "bicubic"]),
        (["--weights", "dsen2"], 2, ["METHOD=FOLDER"]),
        (["--scene", "vienna"], 3, ["vienna", "landscape-0"]),
        (["--device", "mps"], 2, ["mps", "cpu"]),
    ):
        got, text = call("evaluate", "--cells", "12", "--synthetic", "1", *flags)
        assert got == code, text
        assert all(word in text for word in words), text
        assert "→" in text


def test_fewer_than_one_step_are_refused() -> None:
    code, text = call("evaluate", "--steps", "-3")
    assert code == 2
    assert "--steps" in text


@needs_data
def test_real_scenes_are_judged_and_marked_as_seen(tmp_path: Path) -> None:
    assert DATA
    catalog = str(DATA / "scenes" / "catalog.json")
    flags = ["--catalog", catalog, "--scene", "australia", "--no-pictures", "--out", str(tmp_path)]
    code, text = call("evaluate", "--protocol", "mtf", "--device", "cpu", *flags)
    assert code == 0, text
    assert "australia 60 m" in text
    assert "† The weights" in text
    tasks = find_tasks(["mtf"], catalog=Path(catalog))
    assert {case.scene for case in tasks.cases} == {*SCENES, "apex"}
    assert tasks.real
