"""Weights of one's own: taught, adapted to what a query finds, and used."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from s2sharp.cube.open import open_cube

from s2sharp_core import S2SharpError, load_sharpener
from s2sharp_core.learning import s2net
from s2sharp_core.networks.precision import fastest

from .runs import config, run
from .test_cli import call, query

QUICK = ("--method", "s2net-s", "--fit-steps", "4", "--fit-threads", "1", "--fit-windows", "2")

PLAIN = {"method": "s2net-s", "sensor": "default", "window": 48, "shard": 48, "bands": "B02,B11"}
"""How weights are used: on a few large windows."""


def test_adapt_is_short_for_the_adapted_method(archive: Path, tmp_path: Path) -> None:
    chosen = config(archive, tmp_path, method="s2net-s", adapt=True)
    assert (chosen.method, chosen.weights) == ("s2net-s-adapted", None)
    own = config(archive, tmp_path, method="s2net-s", adapt=True, weights=tmp_path)
    assert (own.method, own.weights, own.warm_start) == ("s2net-s-adapted", None, tmp_path)
    # As it is read again from a frozen plan.
    again = type(own).model_validate(json.loads(own.model_dump_json()))
    assert again == own
    with pytest.raises(S2SharpError, match="only these can be adapted"):
        config(archive, tmp_path, method="bicubic", adapt=True)


def test_training_on_landscapes_makes_weights_that_a_run_takes(
    archive: Path, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s2net, "landscapes", partial(s2net.landscapes, cells=20))
    folder = tmp_path / "weights"
    where = ["--method", "s2net-s", "--synthetic", "1", "--steps", "20", "--out", str(folder)]
    code, text = call("train", *where)
    assert code == 0, text
    card = json.loads((folder / "s2net-s.json").read_text())
    assert card["recipe"]["steps"] == 20
    assert card["scenes"] == []
    assert not list(folder.glob("*.checkpoint"))
    _, outcome = run(config(archive, tmp_path / "out", scheduler, **PLAIN, weights=folder))
    assert not outcome.failed
    assert open_cube(tmp_path / "out").attrs["s2sharp"]["weights"]


def test_finetuned_weights_are_of_the_query_and_can_be_loaded(large: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    code, text = call("finetune", *query(large, folder, *QUICK))
    assert code == 0, text
    assert "held out" in text
    assert f"--weights {folder}" in text
    card = json.loads((folder / "s2net-s.json").read_text())
    assert len(card["scenes"]) >= 1
    assert card["result"]["held_out_after"] <= card["result"]["held_out_before"]
    assert (folder / "s2net-s.loss.png").read_bytes().startswith(b"\x89PNG")
    (file,) = load_sharpener("s2net-s", weights=folder).weights
    assert (folder / file).exists()


def test_a_run_adapts_the_shipped_net_to_its_datatake(
    large: Path, scheduler: str, tmp_path: Path
) -> None:
    quick = {"fit_steps": 4, "fit_windows": 2, "fit_threads": 1}
    plan, outcome = run(config(large, tmp_path / "a", scheduler, **PLAIN, adapt=True, **quick))
    assert not outcome.failed
    (card,) = (tmp_path / "a" / "fits").rglob("s2net-s.json")
    facts = json.loads(card.read_text())
    shipped = load_sharpener("s2net-s").weights["s2net-s.safetensors"]
    assert facts["cause"]["start"] == shipped
    same = {**PLAIN, "precision": plan.precision}
    run(config(large, tmp_path / "b", scheduler, **same))
    adapted, plain = (open_cube(tmp_path / name).B11.values for name in ("a", "b"))
    kept = facts["result"]["kept_step"] == 0
    assert np.array_equal(adapted, plain, equal_nan=True) == kept
    assert plan.precision == fastest("cpu", ["bfloat16"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_that_is_asked_for_is_used_and_told(
    archive: Path, tmp_path: Path, precision: str
) -> None:
    code, text = call(
        "plan", *query(archive, tmp_path, "--method", "s2net-s", "--precision", precision)
    )
    assert code == 0, text
    assert f"in {precision}" in text


def test_bfloat16_is_refused_where_it_would_keep_too_few_digits(
    archive: Path, tmp_path: Path
) -> None:
    code, text = call("plan", *query(archive, tmp_path, "--precision", "bfloat16"))
    assert code == 2
    assert "--precision" in text
