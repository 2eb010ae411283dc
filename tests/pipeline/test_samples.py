"""Windows that a fit learns from: drawn the same whatever fails, kept, and counted where they are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from s2sharp.execution.datatake_jobs import draw_sample, fit_unit
from s2sharp.execution.run import Run
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.make import make_plan
from s2sharp.scenes.read import Block, load_block

from s2sharp_core import S2SharpError

from .fits import FAST, drawn
from .runs import config

MANY = {**FAST, "fit_windows": 6}


@pytest.fixture
def plan(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClientPlan:
    """Of a fit on six windows, of which some draws meet the corner without data; nothing waits."""
    monkeypatch.setattr("s2sharp.execution.samples._PAUSE", 0.0)
    return make_plan(config(archive, tmp_path / "out", **MANY))


class Network:
    """What blocks are read through: ``fails`` says by the number of the call whether it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool]) -> None:
        self.fails, self.calls = fails, 0
        monkeypatch.setattr("s2sharp.execution.samples.load_block", self)

    def __call__(self, *given: Any) -> Block:
        self.calls += 1
        if self.fails(self.calls):
            raise S2SharpError("asset-unreadable", "Nobody answers.")
        return load_block(*given)


def test_a_short_failure_of_the_network_gives_the_same_sample(
    archive: Path, plan: ClientPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_plan(config(archive, tmp_path / "other", **MANY))
    undisturbed, _ = draw_sample(other, other.datatakes[0])
    Network(monkeypatch, lambda call: 12 <= call <= 14)
    sample, _ = draw_sample(plan, plan.datatakes[0])
    assert sample.digest == undisturbed.digest
    assert drawn(plan)["windows"] == drawn(other)["windows"]


def test_what_stays_unreadable_fails_the_fit_and_no_other_window_takes_its_place(
    archive: Path, plan: ClientPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_plan(config(archive, tmp_path / "other", **MANY))
    free = Network(monkeypatch, lambda _: False)
    undisturbed, _ = draw_sample(other, other.datatakes[0])
    calls = free.calls
    broken = Network(monkeypatch, lambda call: call > calls - 2)
    run = Run(plan.out, plan.freeze().stamp, 0)
    record = fit_unit(run, plan.datatakes[0])
    assert (record.status, record.kind) == ("failed", "asset-unreadable")
    assert broken.calls > calls
    before = drawn(plan)
    assert not before["windows"]
    refused = [name for name, verdict in before["drawn"].items() if verdict == "gaps"]
    assert refused
    # What was decided stands: no window that was refused is looked at again.
    free = Network(monkeypatch, lambda _: False)
    sample, _ = draw_sample(plan, plan.datatakes[0])
    assert sample.digest == undisturbed.digest
    assert free.calls < calls
    assert drawn(plan) == drawn(other)


def test_windows_that_were_chosen_are_not_chosen_again(
    plan: ClientPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, scenes = draw_sample(plan, plan.datatakes[0])
    kept = drawn(plan)
    reads = Network(monkeypatch, lambda _: False)
    again, same = draw_sample(plan, plan.datatakes[0])
    assert (again.digest, same) == (sample.digest, scenes)
    assert reads.calls == len(kept["windows"]) * len(plan.reads)
    file = next(plan.out.rglob("sample.json"))
    # Other windows are learned from where the file says so, as long as it is this fit's.
    file.write_text(json.dumps({**kept, "windows": kept["windows"][:2]}))
    assert len(draw_sample(plan, plan.datatakes[0])[0]) == 2
    file.write_text(json.dumps({**kept, "windows": kept["windows"][:2], "key": "another"}))
    assert draw_sample(plan, plan.datatakes[0])[0].digest == sample.digest
    assert drawn(plan) == kept
    file.write_text("torn")
    assert draw_sample(plan, plan.datatakes[0])[0].digest == sample.digest


def test_a_chosen_window_that_has_gaps_meanwhile_ends_the_fit(
    plan: ClientPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_sample(plan, plan.datatakes[0])
    scl = np.zeros(1, dtype=np.uint8)
    monkeypatch.setattr("s2sharp.execution.samples.load_scl", lambda *_: scl)
    with pytest.raises(S2SharpError, match="has gaps now") as error:
        draw_sample(plan, plan.datatakes[0])
    assert error.value.kind == "sample-changed"


@pytest.mark.parametrize(
    ("value", "words"), [(0, "{n} have gaps and 0"), (9, "0 have gaps and {n}")]
)
def test_what_is_wrong_with_windows_is_counted(
    plan: ClientPlan, monkeypatch: pytest.MonkeyPatch, value: int, words: str
) -> None:
    scl = np.full((4, 4), value, dtype=np.uint8)
    monkeypatch.setattr("s2sharp.execution.samples.load_scl", lambda *_: scl)
    with pytest.raises(S2SharpError) as error:
        draw_sample(plan, plan.datatakes[0])
    assert error.value.kind == "nothing-to-fit"
    count = len(drawn(plan)["drawn"])
    assert count > 30
    assert f"of {count} that were drawn" in error.value.message
    assert f"{words.format(n=count)} clouds" in error.value.message


def test_a_fit_that_breaks_gives_the_threads_back(
    plan: ClientPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it breaks with: the worker lives on."""

    def broken(*_: object) -> None:
        assert torch.get_num_threads() == 3
        raise RuntimeError("out of memory")

    plan = plan.model_copy(update={"config": plan.config.model_copy(update={"fit_threads": 3})})
    run = Run(plan.out, plan.freeze().stamp, 0)
    monkeypatch.setattr("s2sharp.execution.datatake_jobs._fit", broken)
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="out of memory"):
        fit_unit(run, plan.datatakes[0])
    assert torch.get_num_threads() == before
