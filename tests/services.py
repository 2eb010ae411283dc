"""Real services that tests start on the loopback address, on a free port, and stop by their pid."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SECRET = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY"
"""The secret key that is used for the object store: it must turn up nowhere."""


@contextmanager
def s3_server() -> Iterator[str]:
    """moto's S3 server, a process of its own, with the buckets "bucket" and "kept"; yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(lambda: _answers(f"{url}/moto-api/"), process, Path(log.name))
            for bucket in ("bucket", "kept"):
                request = urllib.request.Request(f"{url}/{bucket}", method="PUT")
                urllib.request.urlopen(request, timeout=10).close()
            yield url
        finally:
            _stop(process)


@contextmanager
def pgstac_server(collections: list[dict[str, Any]], items: list[dict[str, Any]]) -> Iterator[str]:
    """A STAC API (stac-fastapi on pgstac on PostgreSQL) that holds these; yields its URL.

    Skips the test where Debian's PostgreSQL with PostGIS isn't installed; in CI that is a failure.
    """
    programs = _postgres_programs()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="s2sharp-pgstac-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = stack.enter_context(_postgres(programs, folder))
        _load(environment, folder, collections, items)
        yield stack.enter_context(_stac_api(environment, folder))


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    extension = sorted(Path("/usr/share/postgresql").glob("*/extension/postgis.control"))
    if found and extension:
        return found[-1].parent
    reason = "needs Debian's postgresql and postgresql-15-postgis-3 (apt-get install)"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _postgres(programs: Path, folder: Path) -> Iterator[dict[str, str]]:
    # PostgreSQL refuses to run as root; it needs a folder that its own user can reach and write.
    user = "postgres" if os.geteuid() == 0 else None
    data, log, port = folder / "data", folder / "postgres.log", free_port()
    if user:
        folder.chmod(0o711)
        data.mkdir()
        shutil.chown(data, user)
    plain: dict[str, Any] = {
        "user": user,
        "cwd": "/",
        "env": {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    }
    options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
    subprocess.run(
        [programs / "initdb", "-D", data, *options], check=True, capture_output=True, **plain
    )
    settings = [
        *("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "jit=off"),
        *("max_connections=20", "shared_buffers=32MB", "autovacuum=off"),
    ]
    command = [programs / "postgres", "-D", data, "-p", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *(part for text in settings for part in ("-c", text))],
            stdout=out,
            stderr=subprocess.STDOUT,
            **plain,
        )
    try:
        _wait(lambda: _connects(port), process, log)
        yield {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "postgres",
            "PGPASSWORD": "none",
            "PGDATABASE": "postgres",
        }
    finally:
        _stop(process)


def _load(
    environment: dict[str, str],
    folder: Path,
    collections: list[dict[str, Any]],
    items: list[dict[str, Any]],
) -> None:
    import psycopg

    dsn = "postgresql://{PGUSER}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**environment)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for extension in ("postgis", "btree_gist"):
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    pypgstac = [sys.executable, "-m", "pypgstac.pypgstac"]
    commands = [[*pypgstac, "migrate", "--dsn", dsn]]
    for kind, documents in (("collections", collections), ("items", items)):
        path = folder / f"{kind}.ndjson"
        path.write_text("\n".join(map(json.dumps, documents)))
        commands.append([*pypgstac, "load", kind, str(path), "--dsn", dsn, "--method", "upsert"])
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def _stac_api(environment: dict[str, str], folder: Path) -> Iterator[str]:
    port, log = free_port(), folder / "uvicorn.log"
    app = ["--factory", "stac_fastapi.pgstac.app:create_app"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *app, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: _answers(f"{url}/_mgmt/ping"), process, log)
        yield url
    finally:
        _stop(process)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _connects(port: int) -> bool:
    import psycopg

    with suppress(psycopg.OperationalError):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
        return True
    return False


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, ConnectionError):
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    return False


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 60
    while not ready():
        if process.poll() is not None or time.monotonic() > limit:
            raise RuntimeError(f"service did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # SIGINT: PostgreSQL's "fast" shutdown, which doesn't wait for clients; uvicorn's usual one.
    process.send_signal(2)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def slurm(cores: int = 4) -> Iterator[dict[str, str]]:
    """A SLURM of one node, which says that it has so many cores; yields the environment in which its commands find it.

    Skips the test where Debian's SLURM isn't installed, or without root; in CI that is a failure.
    """
    programs = {name: shutil.which(name, path="/usr/sbin:/usr/bin") for name in _SLURM}
    missing = [name for name, found in programs.items() if not found]
    if missing or os.geteuid():
        reason = (
            "needs root, and Debian's slurmctld, slurmd, slurm-client and munge (apt-get install)"
        )
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="s2sharp-slurm-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = {"SLURM_CONF": str(_slurm_conf(folder, cores))}
        key, socket_file = folder / "munge.key", folder / "munge.socket"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))
        munge = [f"--key-file={key}", f"--socket={socket_file}", f"--seed-file={folder / 'seed'}"]
        munge += [f"--pid-file={folder / 'munged.pid'}", "--foreground", "--force"]
        _daemon(stack, [programs["munged"], *munge], folder, socket_file.exists)
        known = {**os.environ, **environment}

        def asked(*command: str) -> str:
            done = subprocess.run(command, env=known, capture_output=True, text=True, check=False)
            return done.stdout

        _daemon(
            stack,
            [programs["slurmctld"], "-D"],
            folder,
            lambda: "UP" in asked("scontrol", "ping"),
            known,
        )
        _daemon(
            stack, [programs["slurmd"], "-D"], folder, lambda: "idle" in asked("sinfo", "-h"), known
        )
        stack.callback(lambda: asked("scancel", "--me"))
        yield environment


_SLURM = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")


def _slurm_conf(folder: Path, cores: int) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    settings = {
        "ClusterName": "tests",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": free_port(),
        "SlurmdPort": free_port(),
        "AuthInfo": f"socket={folder / 'munge.socket'}",
        "SlurmUser": "root",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        # Half of the cores may be idle: what is tested waits more than it computes.
        "SlurmdParameters": "config_overrides",
        "ReturnToService": 2,
        "KillWait": 2,
        # A busy machine is no broken node, whose jobs would be sent again.
        "MessageTimeout": 60,
        "BatchStartTimeout": 60,
        "SchedulerParameters": "sched_interval=1,sched_min_interval=0,batch_sched_delay=0",
        "NodeName": f"{host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory}",
        "PartitionName": "debug Nodes=ALL Default=YES MaxTime=1440 State=UP",
    }
    file = folder / "slurm.conf"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return file


def _daemon(
    stack: ExitStack,
    command: list[str | None],
    folder: Path,
    ready: Callable[[], bool],
    environment: dict[str, str] | None = None,
) -> None:
    log = folder / f"{Path(command[0] or '').name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [word for word in command if word],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    stack.callback(_stop, process)
    _wait(ready, process, log)


QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
}
"""A cluster that does not watch itself: three idle processes of each took a fourteenth of a core as long as tests last."""


@contextmanager
def cluster(folder: Path, environment: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a `dask scheduler` with one `dask worker`, each a process."""
    file = folder / "scheduler.json"
    here = ["--scheduler-file", str(file), "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    env = {**os.environ, **QUIET, **(environment or {})}
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(
                [*dask, "scheduler", *here, "--host", "127.0.0.1", "--port", "0"],
                stderr=log,
                env=env,
            )
        ]
        while not (
            file.exists() and file.read_text().endswith("}")
        ):  # it is there before its content
            assert processes[0].poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        worker = [*dask, "worker", *here, "--nthreads", "2", "--nworkers", "1"]
        worker += ["--local-directory", str(folder)]
        processes.append(subprocess.Popen(worker, stderr=log, env=env))
        yield json.loads(file.read_text())["address"]
        for process in reversed(processes):
            process.terminate()
            process.wait(20)
