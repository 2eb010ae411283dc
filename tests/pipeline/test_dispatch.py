"""Units through a cluster of real processes: tried again, doubled, spread, and stopped when too many fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, get_worker
from s2sharp.engine import dispatch
from s2sharp.engine.dispatch import Flow, Workers, lost
from s2sharp.engine.ledger import Record


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[Any]]]:
    """A scheduler and three workers without nannies, the last with a GPU, as processes."""
    folder = tmp_path_factory.mktemp("flow")
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    here = ["--scheduler-file", str(file), "--no-dashboard"]
    log = (folder / "log").open("w")
    scheduler = [*dask, "scheduler", *here, "--host", "127.0.0.1", "--port", "0"]
    processes = [subprocess.Popen(scheduler, stderr=log)]
    while not (file.exists() and file.read_text().endswith("}")):
        assert processes[0].poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    worker = [*dask, "worker", *here, "--nthreads", "2", "--no-nanny"]
    worker += ["--local-directory", str(folder)]
    each = [[], [], ["--resources", "GPU=1"]]
    processes += [subprocess.Popen([*worker, *more], stderr=log) for more in each]
    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(3)
        yield client, processes
    for process in reversed(processes):
        process.kill()
        process.wait(20)
    log.close()


class Cpus(Workers):
    """Those without a GPU, so that a test has two alike."""

    @property
    def sharpening(self) -> list[str]:
        late = set(self.lagging.values())
        return [name for name in self.staging if name not in late] or self.staging

    @property
    def gpus(self) -> None:
        return None


def flow_of(
    client: Client, task: Any, *given: Any, **more: Any
) -> tuple[Flow[int], dict[int, Record]]:
    landed: dict[int, Record] = {}
    again: list[Record] = []

    def submit(thing: int, attempt: int, where: dict[str, Any]) -> Any:
        return client.submit(task, thing, attempt, *given, **where)

    def failure(thing: int, attempt: int, error: Exception) -> Record:
        return lost(str(thing), "", attempt, error, "--shard")

    facts = {"workers": Cpus(client), "retries": 2, "check": lambda: None, "failure": failure}
    facts |= more
    return (
        Flow(
            submit=submit,
            land=landed.__setitem__,
            again=lambda _, record: again.append(record),
            **facts,
        ),
        landed,
    )


def _done(thing: int, _attempt: int) -> Record:
    return Record(str(thing), "", "ok", worker=get_worker().address)


def test_everything_lands_once_and_neighbours_go_to_one_worker(cluster: Any) -> None:
    client, _ = cluster
    through, landed = flow_of(client, _done)
    through.through(range(64))
    assert sorted(landed) == list(range(64))
    runs = [{landed[i].worker for i in range(n, n + 8)} for n in range(0, 64, 8)]
    assert sum(len(run) == 1 for run in runs) >= 4, "mostly: who is idle helps out"
    assert len(set.union(*runs)) > 1


def test_what_is_added_goes_first_and_what_is_spare_fills_workers_up_at_the_end(
    cluster: Any,
) -> None:
    client, _ = cluster
    through, landed = flow_of(client, _done)

    def land(thing: int, record: Record) -> None:
        landed[thing] = record
        if thing < 5:
            through.add(100 + thing)
            through.add(200 + thing, spare=True)

    through.land = land
    through.through(range(40))
    order = list(landed)
    assert sorted(order) == [*range(40), *range(100, 105), *range(200, 205)]
    middle = order.index(30)
    assert max(order.index(thing) for thing in range(100, 105)) < middle
    spare = [order.index(thing) for thing in range(200, 205)]
    assert sum(at < middle for at in spare) == 3, "two are kept for the two workers"
    assert sum(at > 40 for at in spare) == 2


def _passing(thing: int, attempt: int) -> Record:
    if thing % 3 == 0 and attempt < 3:
        kind = "asset-unreadable" if thing else "signing-failed"
        return Record(str(thing), "", "failed", kind=kind, message="busy")
    if thing == 4:
        return Record(str(thing), "", "failed", kind="metadata-contradicts-file")
    if thing == 5:
        raise RuntimeError("nobody expected this")
    return Record(str(thing), "", "ok")


def test_what_may_pass_is_tried_again_and_what_cannot_is_not(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_BACKOFF", 0.05)
    client, _ = cluster
    through, landed = flow_of(client, _passing)
    through.through(range(8))
    assert {i: (r.status, r.attempt) for i, r in landed.items()} == {
        0: ("ok", 3),
        1: ("ok", 1),
        2: ("ok", 1),
        3: ("ok", 3),
        4: ("failed", 1),
        5: ("failed", 3),
        6: ("ok", 3),
        7: ("ok", 1),
    }
    said = landed[5].message
    assert said.startswith("5: RuntimeError: nobody expected this. If a worker had no memory left")
    assert "a smaller --shard" in said


def test_what_is_kept_of_a_lost_worker_says_which_attempt_it_was(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_BACKOFF", 0.05)
    client, _ = cluster
    kept: list[tuple[int, int]] = []

    def failure(thing: int, attempt: int, error: Exception) -> Record:
        kept.append((thing, attempt))
        return lost(str(thing), "", attempt, error, "--shard")

    through, _ = flow_of(client, _passing, failure=failure)
    through.through([5])
    assert kept == [(5, 1), (5, 2), (5, 3)]


def _on_gpu(thing: int, _attempt: int) -> Record:
    return Record(str(thing), "", "ok", worker=get_worker().address)


def test_nets_go_where_a_gpu_is_offered_and_files_are_copied_elsewhere(cluster: Any) -> None:
    client, _ = cluster
    workers = Workers(client)
    through, landed = flow_of(client, _on_gpu, workers=workers)
    through.through(range(12))
    (gpu,) = {record.worker for record in landed.values()}
    assert workers.sharpening == [gpu]
    assert len(workers.staging) == 2
    assert gpu not in workers.staging


def _meeting(thing: int, _attempt: int, folder: str) -> Record:
    """Waits for the other one."""
    (Path(folder) / str(thing)).touch()
    end = time.monotonic() + 20
    while time.monotonic() < end and len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.05)
    met = len(list(Path(folder).iterdir())) == 2
    return Record(str(thing), "", "ok" if met else "failed", worker=get_worker().address)


def test_a_gpu_is_shared_by_two_units_since_one_of_them_is_being_written(
    cluster: Any, tmp_path: Path
) -> None:
    client, _ = cluster
    through, landed = flow_of(client, _meeting, str(tmp_path), workers=Workers(client))
    through.through(range(2))
    assert [record.status for record in landed.values()] == ["ok", "ok"]
    assert len({record.worker for record in landed.values()}) == 1


def test_a_worker_that_is_stopped_is_told_once_and_again_when_it_stops_again(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, processes = cluster
    monkeypatch.setattr(dispatch, "_SILENT", 2.0)
    monkeypatch.setattr(dispatch, "_LOOK", 0.2)
    told: list[tuple[str, float]] = []
    workers = Workers(client, silent=lambda *found: told.append(found))

    def look(seconds: float, times: int) -> None:
        """So long, and until it was told so often."""
        end = time.monotonic() + seconds
        while time.monotonic() < end or (len(told) < times and time.monotonic() < end + 20):
            assert len(workers.every) == 3
            time.sleep(0.1)
        assert len(told) == times

    look(2.5, 0)
    for times in (1, 2):
        processes[1].send_signal(signal.SIGSTOP)
        try:
            look(2.5, times)
            look(0.5, times)
        finally:
            processes[1].send_signal(signal.SIGCONT)
        look(1.5, times)
    assert len({worker for worker, _ in told}) == 1
    assert all(2 < seconds < 5 for _, seconds in told)


def _hanging(thing: int, _attempt: int, folder: str) -> Record:
    """The worker that takes number 3 first does nothing any more, until it is let go."""
    first = Path(folder) / "first"
    if thing == 3 and not first.exists():
        first.write_text(get_worker().address)
        while not (Path(folder) / "go").exists():
            time.sleep(0.05)
    return Record(str(thing), "", "ok", worker=get_worker().address)


def test_what_lags_is_doubled_and_its_worker_given_nothing_until_it_comes_back(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dispatch, "_LAG_SECONDS", 0.5)
    monkeypatch.setattr(dispatch, "_LOOK", 0.2)
    client, _ = cluster
    workers = Cpus(client)
    through, landed = flow_of(client, _hanging, str(tmp_path), workers=workers)
    through.through(range(40))
    hung = (tmp_path / "first").read_text()
    assert sorted(landed) == list(range(40)), "what lags is doubled, and whoever comes first counts"
    assert landed[3].worker != hung
    assert hung not in workers.sharpening
    through, landed = flow_of(client, _done, workers=workers)
    through.through(range(8))
    assert hung not in {record.worker for record in landed.values()}
    (tmp_path / "go").touch()
    for _ in range(100):
        if hung in workers.sharpening:
            break
        time.sleep(0.1)
    assert hung in workers.sharpening


def _dying(thing: int, _attempt: int, folder: str) -> Record:
    begun = Path(folder) / str(thing)
    if thing == 7 and not begun.exists():
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Record(str(thing), "", "ok")


def test_a_worker_that_is_killed_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    client, _ = cluster
    through, landed = flow_of(client, _dying, str(tmp_path))
    through.through(range(30))
    assert {record.status for record in landed.values()} == {"ok"}
    assert len(landed) == 30
