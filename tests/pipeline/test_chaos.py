"""What dies in the middle of a run costs what was in flight: a small round of ``tests.benchmarks.chaos``."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import s2sharp.engine.cluster
import s2sharp.engine.dispatch
from distributed import Client
from s2sharp.engine.events import Event, UnitDone
from s2sharp.execution.execute import execute
from s2sharp.planning.make import make_plan

from s2sharp_core import S2SharpError

from .chaos import (
    BANDS,
    Running,
    cluster,
    no_memory,
    scheduler_killed,
    worker_killed,
    write_archive,
)
from .runs import config, records, run, shards

SMALL = {"window": 8, "shard": 8, "bands": BANDS}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"), 36).parent


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert outcome.counts["empty"] > 2
    return out


def test_a_dead_worker_costs_nothing_and_a_dead_scheduler_a_second_command(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that comes in place of the dead one does the rest."""
    out = tmp_path / "out"
    with cluster(tmp_path, workers=1) as there:
        running = Running(there, out, random.Random(0))
        mischief: dict[int, Callable[[Running], None]] = {4: worker_killed, 16: scheduler_killed}
        told = 0

        def tell(event: Event) -> None:
            nonlocal told
            told += isinstance(event, UnitDone)
            if isinstance(event, UnitDone) and told in mischief:
                mischief.pop(told)(running)

        plan = make_plan(config(archive, out, there.address, **SMALL))
        # Who has lost the scheduler need not look for it as long as usual.
        clients: list[Client] = []

        def client(there: str, **more: Any) -> Client:
            clients.append(Client(there, **{**more, "timeout": "1s"}))
            return clients[-1]

        monkeypatch.setattr(s2sharp.engine.cluster, "Client", client)
        with pytest.raises(S2SharpError) as caught:
            execute(plan, tell)
    monkeypatch.undo()
    assert len(clients) == 1
    assert not mischief
    assert caught.value.kind == "run-stopped"
    before = {name: when for name, when in records(out).items() if not name.endswith(".failed")}
    assert len(before) >= 16

    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert not outcome.failed
    assert {name: records(out)[name] for name in before} == before
    assert shards(out) == shards(whole)
    assert not list(out.rglob("*.partial"))


def test_a_worker_without_memory_costs_at_most_what_it_was_at(
    archive: Path, whole: Path, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It may hang rather than fail; its unit is sent to another when it lags, which need not take a minute here.
    monkeypatch.setattr(s2sharp.engine.dispatch, "_LAG_SECONDS", 2.0)
    out = tmp_path / "out"
    with cluster(tmp_path) as there:
        running = Running(there, out, random.Random(0))
        mischief = [no_memory]

        def tell(event: Event) -> None:
            if isinstance(event, UnitDone) and event.full and mischief and running.done >= 4:
                mischief.pop()(running)

        execute(make_plan(config(archive, out, there.address, **SMALL)), tell)
    assert not mischief
    before = {name: when for name, when in records(out).items() if not name.endswith(".failed")}
    _, outcome = run(config(archive, out, scheduler, **SMALL))
    assert not outcome.failed
    assert {name: records(out)[name] for name in before} == before
    assert shards(out) == shards(whole)
    assert not list(out.rglob("*.partial"))
