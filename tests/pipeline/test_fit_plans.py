"""A plan of a method that learns: what it foresees, what its keys depend on, and what it refuses."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import s2sharp.planning.cost
import torch
from s2sharp.planning.cost import estimate
from s2sharp.planning.make import make_plan
from s2sharp.planning.resume import resume
from s2sharp.planning.sharpener import sharpener_of

from s2sharp_core import S2SharpError
from s2sharp_core.networks import SkipNet
from s2sharp_core.weights import save_net

from .fits import FAST
from .runs import config


def test_another_start_in_the_same_folder_is_another_run(archive: Path, tmp_path: Path) -> None:
    start, file = tmp_path / "start", tmp_path / "start" / "ssc_cnn-20m.safetensors"
    save_net(SkipNet((20,)), file, {})
    for fit in ("datatake", "window"):
        settings = {"method": "ssc_cnn", "bands": "B05", "warm_start": start, "fit": fit}
        ours = config(archive, tmp_path / fit, **settings)
        first = make_plan(ours)
        first.freeze()
        assert resume(ours) is not None
        before = first.digest
        save_net(SkipNet((20,)), file, {})  # other random weights
        with pytest.raises(S2SharpError, match=f"the weights in {start}") as error:
            resume(ours)
        assert error.value.kind == "other-run"
        assert make_plan(ours).digest != before
    # A run whose fits are done does not need it any more.
    shutil.rmtree(start)
    assert resume(ours) is not None


def test_the_threads_of_fits_per_window_are_part_of_the_key(archive: Path, tmp_path: Path) -> None:
    settings = {"method": "ssc_cnn", "bands": "B05", "fit": "window"}
    plans = [
        make_plan(config(archive, tmp_path / "out", **settings, fit_threads=threads))
        for threads in (1, 2, 2)
    ]
    keys = [plan.key(next(plan.units())) for plan in plans]
    assert keys[0] != keys[1] == keys[2]
    assert sharpener_of(plans[0], "").threads == 1


def test_a_plan_foresees_the_fit(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some steps of it are timed: here of the net that learns most quickly."""
    plan = make_plan(config(archive, tmp_path / "out", **FAST | {"method": "s2net-s"}, adapt=True))
    timed, found = s2sharp.planning.cost._calibrate, {}

    def noted(*given: Any, **more: Any) -> dict[str, float]:
        found.update(timed(*given, **more))
        return found

    monkeypatch.setattr(s2sharp.planning.cost, "_calibrate", noted)
    cost = estimate(plan)
    assert cost.fits == 1
    assert cost.seconds > found["fit"] / cost.workers > 0
    assert cost.memory >= found["fit_bytes"] > 0
    assert cost.memory > 100e6


@pytest.mark.parametrize(
    "options",
    [
        {"method": "bicubic", "fit": "window"},
        {"method": "dsen2", "fit_steps": 3},
        {"method": "ssc_cnn", "weights": Path("somewhere"), "warm_start": Path("elsewhere")},
        {"method": "atprk", "fit_steps": 3},
        {"method": "deep_sure", "fit_steps": 1},
        {"method": "unrolled", "fit_steps": 1, "fit": "window"},
        {"method": "ssc_cnn", "device": "cuda"},
    ],
)
def test_options_that_would_mean_nothing_are_refused(
    archive: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(S2SharpError) as error:
        make_plan(config(archive, tmp_path / "out", **options))
    assert error.value.kind == "bad-config"


def test_an_unknown_method_is_refused_even_where_nothing_is_sharpened(
    archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(S2SharpError) as error:
        make_plan(config(archive, tmp_path / "out", method="nonsense", bands="B02"))
    assert error.value.kind == "method-unknown"
