"""One run at a time: of several that start at once one wins, and the dead block nobody for long."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from s2sharp.engine.lease import Holder, Lease, holder
from s2sharp.storage.files import files, write_text
from s2sharp.storage.location import Location, place

from s2sharp_core import S2SharpError
from tests.web import Proxy


def test_drafts_of_generations_before_go_and_those_of_others_under_way_stay(tmp_path):
    names = [f".{number:06d}.{uuid4().hex}.partial" for number in (1, 2, 3)]
    with Lease.taken(tmp_path):
        pass
    for name in names:
        (tmp_path / "lease" / name).write_text("{")
    with Lease.taken(tmp_path):
        assert set(files(tmp_path / "lease")) == {"000002", *names[1:]}


# Takes the lease of each place that it is told, says what came of it, and releases it when told to, or when it
# is lost.
RUN = """
import sys, time
from s2sharp.engine.lease import Lease
from s2sharp.storage.location import place
from s2sharp_core import S2SharpError

seconds = float(sys.argv[1])
for line in sys.stdin:
    try:
        with Lease.taken(place(line.strip()), seconds) as lease:
            print("taken", flush=True)
            wait = sys.stdin.readline().strip()
            while wait and not lease.lost:
                time.sleep(0.05)
            print("lost" if lease.lost else "kept", flush=True)
    except S2SharpError as error:
        print(error.kind, flush=True)
        sys.stdin.readline()
    print("over", flush=True)
"""


class Run:
    """A process that takes leases."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.pid = process, process.pid

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def started(seconds: float) -> Iterator[Run]:
    command = [sys.executable, "-c", RUN, str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Run(process)
        finally:
            process.kill()


@pytest.fixture(params=["folder", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "folder":
        return place(tmp_path / "out")
    request.getfixturevalue("s3")
    return place(f"s3://bucket/{uuid4().hex}")


def refused(out: Location) -> S2SharpError:
    def take() -> None:
        with Lease.taken(out, 30):
            raise AssertionError("it was free")

    with pytest.raises(S2SharpError) as caught:
        take()
    return caught.value


def test_of_runs_that_start_at_once_one_wins_every_time(out: Location) -> None:
    with ExitStack() as stack:
        runs = [stack.enter_context(started(30)) for _ in range(3)]
        for number in range(12):
            # Half of the rounds on places where no run was before.
            where = str(out / "old" if number % 2 else out / f"new{number}")
            for run in runs:
                run.tell(where)
            said = [run.hear() for run in runs]
            assert sorted(said) == ["busy", "busy", "taken"]
            for run in runs:
                run.tell()
            for run, what in zip(runs, said, strict=True):
                if what == "taken":
                    assert run.hear() == "kept"
                assert run.hear() == "over"
    assert list(files(out / "old" / "lease")) == ["000006"], "generations that are over go"


def test_who_is_refused_is_told_by_whom_and_until_when(out: Location) -> None:
    with Lease.taken(out, 30) as lease:
        held = holder(out)
        assert held is not None
        error = refused(out)
        assert error.kind == "busy"
        assert f"process {os.getpid()} on {held.host}, since {held.started}" in error.message
        assert "its lease ends 15 s later" in error.remedy
        assert not lease.lost
        lease.check()
    with Lease.taken(out, 30):
        assert holder(out) != held


def test_a_killed_run_blocks_nobody_longer_than_its_term(out: Location) -> None:
    with started(4) as run:
        run.tell(str(out))
        assert run.hear() == "taken"
        os.kill(run.pid, signal.SIGKILL)
        run.process.wait()
    dead = holder(out)
    assert dead is not None
    assert dead.pid == run.pid
    # As if it had run elsewhere, where nobody here can see that it is dead.
    dead = replace(dead, host="elsewhere")
    write_text(out / "lease" / "000001", json.dumps(asdict(dead)))
    assert refused(out).kind == "busy"
    told: list[str] = []
    while not free(out, told):
        time.sleep(0.05)
    assert 4 <= dead.age < 5, "a term, and what this machine needs to look"
    assert holder(out) != dead
    assert str(run.pid) in told[0]


def test_a_run_that_was_killed_on_this_machine_blocks_nobody(out: Location) -> None:
    with started(30) as run:
        run.tell(str(out))
        assert run.hear() == "taken"
        assert refused(out).kind == "busy"
        os.kill(run.pid, signal.SIGKILL)
        run.process.wait()
    with Lease.taken(out, 30):
        pass


def test_only_who_would_see_a_process_says_that_it_is_dead(tmp_path: Path) -> None:
    with started(30) as run:
        run.tell(str(tmp_path))
        assert run.hear() == "taken"
        held = holder(tmp_path)
        assert held is not None
        assert not held.dead
        assert replace(held, ticks=held.ticks + 1).dead, "its number is another's now"
        os.kill(run.pid, signal.SIGKILL)
        run.process.wait()
    assert held.dead
    boot, _, namespace = held.among.partition("/")
    assert not replace(held, among=f"{boot}/{int(namespace) + 1}").dead, "another container's"
    assert not replace(held, among=f"before-{boot}/{namespace}").dead
    assert not replace(held, among="").dead, "written where there is no telling"
    assert not replace(held, host="elsewhere").dead


def test_a_holder_that_beats_keeps_it_however_long_it_takes(out: Location) -> None:
    with Lease.taken(out, 0.9) as lease:
        first = holder(out)
        assert first is not None
        for _ in range(8):
            time.sleep(0.3)
            assert refused(out).kind == "busy"
        assert not lease.lost
        beaten = holder(out)
        assert beaten is not None
        assert beaten.beat > first.beat
        assert replace(beaten, beat=first.beat) == first


def test_a_suspended_holder_notices_that_another_took_over(out: Location) -> None:
    with started(1.5) as run:
        run.tell(str(out))
        assert run.hear() == "taken"
        os.kill(run.pid, signal.SIGSTOP)
        asleep = holder(out)
        assert asleep is not None
        while asleep.age < asleep.seconds:
            time.sleep(0.1)
        with Lease.taken(out, 30) as lease:
            os.kill(run.pid, signal.SIGCONT)
            run.tell("until it is lost")
            assert run.hear() == "lost"
            assert run.hear() == "over"
            assert not lease.lost
            assert len(files(out / "lease")) == 1, "what was lost is not written again"
        assert free(out)


def free(out: Location, told: list[str] | None = None) -> bool:
    try:
        with Lease.taken(out, 30, (told if told is not None else []).append):
            return True
    except S2SharpError as error:
        if error.kind != "busy":
            raise
        return False


def test_who_lost_it_is_stopped_with_the_reason(tmp_path: Path) -> None:
    with Lease.taken(tmp_path, 0.3) as lease:
        mine = holder(tmp_path)
        assert mine is not None
        write_text(tmp_path / "lease" / "000002", json.dumps(asdict(replace(mine, id="other"))))
        while not lease.lost:
            time.sleep(0.05)
        with pytest.raises(S2SharpError) as caught:
            lease.check()
    assert caught.value.kind == "lease-lost"
    assert str(tmp_path) in caught.value.message
    assert list(files(tmp_path / "lease")) == ["000002"]


@contextmanager
def elsewhere(out: Location, ahead: timedelta, *, alive: bool) -> Iterator[None]:
    """A holder whose clock is not ours."""
    done = threading.Event()

    def beat() -> None:
        now = (datetime.now(UTC) + ahead).isoformat()
        about = Holder("other", "far.example", 7, now, now, 1.2)
        write_text(out / "lease" / "000001", json.dumps(asdict(about)))

    def keep() -> None:
        while not done.wait(0.4):
            beat()

    beat()
    thread = threading.Thread(target=keep)
    if alive:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if alive:
            thread.join()


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_wrong_clock_neither_ends_a_living_lease_nor_prolongs_a_dead_one(
    tmp_path: Path, hours: int
) -> None:
    with elsewhere(tmp_path / "a", timedelta(hours=hours), alive=True):
        error = refused(tmp_path / "a")
        assert error.kind == "busy"
        assert "far.example" in error.message
    with elsewhere(tmp_path / "b", timedelta(hours=hours), alive=False):
        assert free(tmp_path / "b")


def test_a_store_that_fails_for_a_while_costs_the_holder_nothing(
    s3: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2sharp.storage import location as module

    monkeypatch.setitem(module._PATIENCE, "retries", {"total_max_attempts": 1})
    out = place(f"s3://bucket/{uuid4().hex}")
    with Lease.taken(out, 1.5) as lease:
        s3.trouble = lambda _method, path: 503 if "/lease/" in path else None
        time.sleep(1)
        s3.trouble = lambda _method, _path: None
        before = holder(out)
        time.sleep(1)
        assert holder(out) != before
        assert not lease.lost
