"""Runs whose workers are jobs of a real SLURM: some are cancelled, leave in time, never come, or are refused."""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from distributed import Client
from s2sharp.engine import slurm as module
from s2sharp.engine.events import Event, UnitDone
from s2sharp.engine.slurm import jobs, read_profile
from s2sharp.execution.execute import execute
from s2sharp.execution.phases import RunOutcome
from s2sharp.planning.make import make_plan

from s2sharp_core import S2SharpError
from tests.services import slurm

from .runs import config, run, shards

UNITS = 6
SLURM = Path(__file__).parents[2] / "deploy" / "slurm"


@pytest.fixture(scope="module", autouse=True)
def site() -> Iterator[None]:
    """SLURM, for this process and all that it starts."""
    with slurm() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(module, "_LOOK", 0.3)
        yield


@pytest.fixture(scope="module")
def whole(archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(config(archive, out, scheduler))
    return out


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def queue() -> list[str]:
    return asked("squeue", "--noheader", "--format=%i").split()


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not so():
        assert time.monotonic() < deadline, asked("squeue")
        time.sleep(0.1)


def empty() -> None:
    """Until SLURM has no job."""
    until(lambda: not queue())


def profile(folder: Path, **more: object) -> str:
    """The name of a profile file."""
    facts = {"cores": 1, "memory": "1GB", "python": sys.executable, **more}
    file = folder / "site.toml"
    file.write_text("".join(f"{key} = {value!r}\n" for key, value in facts.items()))
    return str(file)


def disturbed(archive: Path, out: Path, cluster: str, at: Callable[[int], None]) -> RunOutcome:
    """A run by jobs; ``at`` is called with the number of units that are done, after each."""
    done = 0

    def tell(event: Event) -> None:
        nonlocal done
        if isinstance(event, UnitDone) and event.full:
            done += 1
            at(done)

    return execute(make_plan(config(archive, out, cluster=cluster)), tell)


def test_a_job_cancelled_in_mid_run_is_replaced_and_its_units_are_done(
    archive: Path, whole: Path, tmp_path: Path
) -> None:
    cancelled: list[str] = []

    def cancel(done: int) -> None:
        # The only worker there is: without another, nothing more would be done.
        if done == 1:
            cancelled.extend(queue())
            asked("scancel", *cancelled)

    out = tmp_path / "out"
    outcome = disturbed(archive, out, profile(tmp_path), cancel)
    assert len(cancelled) == 1
    assert outcome.counts == {"ok": UNITS}
    assert not outcome.failed
    assert shards(out) == shards(whole)
    empty()
    logs = {file.name for file in (out / "jobs").iterdir()}
    assert len({name for name in logs if name.endswith(".err")}) == 2, logs
    assert not any(name.endswith(".pem") for name in logs), "the key is gone with the cluster"


def test_a_worker_leaves_before_its_job_is_ended_and_another_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SLURM itself would end the job after a minute. `slurm` is slurm.toml here.
    Path(profile(tmp_path, walltime="00:00:05")).rename(tmp_path / "slurm.toml")
    monkeypatch.chdir(tmp_path)
    with jobs(read_profile("slurm"), 1, tmp_path / "out", {}) as (cluster, tend):
        seen: set[str] = set()
        deadline = time.monotonic() + 120
        while len(seen) < 2:
            assert tend()
            assert time.monotonic() < deadline, asked("squeue")
            seen |= {str(w.name) for w in list(cluster.scheduler.workers.values())}
            time.sleep(0.1)
    empty()


def let_in(host: str, port: int) -> bool:
    """Whether a stranger who speaks TLS, but has no key of the run, is answered."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, port), 5) as plain:
        try:
            with context.wrap_socket(plain) as stranger:
                return bool(stranger.recv(1))
        except OSError:
            return False


def test_nothing_is_said_in_the_clear_and_the_dashboards_are_for_their_machines(
    archive: Path, tmp_path: Path
) -> None:
    from s2sharp.engine.cluster import connect

    settings = config(archive, tmp_path / "out", cluster=profile(tmp_path))
    with connect(settings, tmp_path / "out") as cluster:
        address = urlsplit(cluster.client.scheduler.address)
        assert address.scheme == "tls"
        cluster.client.wait_for_workers(1, timeout=60)
        with pytest.raises(OSError, match=r"Timed out|closed"):
            Client(f"tcp://{address.netloc}", timeout="2s")
        assert not let_in(str(address.hostname), int(address.port or 0))
        (worker,) = cluster.client.scheduler_info()["workers"].values()
        ports = [worker["services"]["dashboard"]]
        ports.append(int(urlsplit(cluster.client.dashboard_link).port or 0))
        for port in ports:
            socket.create_connection(("127.0.0.1", port), 5).close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.2", port), 5)
        keys = list((tmp_path / "out" / "jobs").glob("cluster-*.pem"))
        assert len(keys) == 2
        assert {file.stat().st_mode & 0o777 for file in keys} == {0o600}
        assert (tmp_path / "out" / "jobs").stat().st_mode & 0o777 == 0o700


def test_jobs_whose_worker_never_comes_end_the_run(archive: Path, tmp_path: Path) -> None:
    wrong = profile(tmp_path, python="/nowhere/python")
    with pytest.raises(S2SharpError, match="before their worker had come") as caught:
        execute(make_plan(config(archive, tmp_path / "out", cluster=wrong)))
    assert caught.value.kind == "jobs-lost"
    assert str(tmp_path / "out" / "jobs") in caught.value.remedy
    logs = (tmp_path / "out" / "jobs").glob("*.err")
    assert any("/nowhere/python" in log.read_text() for log in logs)
    empty()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("partition", "nope", "partition"), ("walltime", "2-00:00:00", "PartitionTimeLimit")],
)
def test_what_slurm_will_not_run_is_told_in_its_words(
    archive: Path, tmp_path: Path, key: str, value: str, words: str
) -> None:
    wrong = profile(tmp_path, **{key: value})
    with pytest.raises(S2SharpError, match=words) as caught:
        execute(make_plan(config(archive, tmp_path / "out", cluster=wrong)))
    assert caught.value.kind == "jobs-refused"
    empty()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('cores = 2\nmemory = "8GB"\nmemroy = 1', "memroy"),
        ('cores = 2\nmemory = "many"', "memory"),
        ('cores = 2\nmemory = "8GB"\nwalltime = "soon"', "walltime"),
        ('cores = 2\nmemory = "8GB"\ngpus = 4', "gpus"),
        ("cores = ", "Invalid value"),
    ],
)
def test_a_wrong_profile_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(S2SharpError, match=words) as caught:
        read_profile(str(tmp_path / "p.toml"))
    assert caught.value.kind == "bad-config"
    assert "p.toml" in caught.value.message


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(S2SharpError, match=r"nowhere\.toml"):
        read_profile("nowhere")


def test_the_profile_that_ships_is_one() -> None:
    shipped = read_profile(str(SLURM / "slurm.toml"))
    assert shipped.seconds == 4 * 3600
    assert shipped.bytes == 8e9


def test_the_job_for_sites_that_forbid_schedulers_does_a_run(
    archive: Path, whole: Path, tmp_path: Path
) -> None:
    file = tmp_path / "run.toml"
    settings = config(archive, tmp_path / "out").model_dump(mode="json", exclude_unset=True)
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    command = Path(sys.executable).with_name("s2sharp")
    asked(
        *("sbatch", "--wait", "--cpus-per-task=1", "--mem=1G", f"--chdir={tmp_path}"),
        *(f"--export=ALL,S2SHARP={command}", str(SLURM / "s2sharp.sbatch"), str(file)),
    )
    (log,) = tmp_path.glob("s2sharp-*.log")
    assert f"{UNITS} ok" in log.read_text()
    assert shards(tmp_path / "out") == shards(whole)


def test_near_its_walltime_that_job_ends_its_run_in_order_and_is_queued_again(
    tmp_path: Path,
) -> None:
    command = tmp_path / "s2sharp"
    command.write_text(
        f"#!{sys.executable}\n"
        "import time\n"
        "print('begun', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('ended in order', flush=True)\n"
    )
    command.chmod(0o755)
    job = asked(
        *("sbatch", "--parsable", "--cpus-per-task=1", "--mem=1G", f"--chdir={tmp_path}"),
        *(f"--export=ALL,S2SHARP={command}", str(SLURM / "s2sharp.sbatch"), "run.toml"),
    ).strip()
    until(lambda: "begun" in logged(tmp_path))
    # What SLURM does two minutes before the end.
    asked("scancel", "--batch", "--signal=USR1", job)
    until(lambda: "Restarts=1" in asked("scontrol", "show", "job", job))
    assert logged(tmp_path).split("\n")[:2] == ["begun", "ended in order"]
    asked("scancel", job)
    empty()


def logged(folder: Path) -> str:
    return "".join(log.read_text() for log in folder.glob("s2sharp-*.log"))
