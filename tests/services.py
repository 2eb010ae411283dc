"""Real services that tests start on the loopback address, on a free port, and stop by their pid."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

Hook = Callable[[int, str], int | bytes | None]
"""(number of the request, from 1; its path and query) → a status to fail with, a JSON body to answer
with, or None for the file."""


def every(n: int, status: int = 500) -> Hook:
    """Makes every n-th request answer ``status``."""
    return lambda number, _path: status if number % n == 0 else None


def missing(*names: str) -> Hook:
    """Makes requests for files of these names answer 404."""
    return lambda _number, path: 404 if Path(urlsplit(path).path).name in names else None


@contextmanager
def http_server(folder: Path, hook: Hook | None = None) -> Iterator[str]:
    """Serves ``folder`` with range requests, so that GDAL reads COGs from it; yields the URL."""
    with _serving(_handler(folder, hook)) as url:
        yield url


def _handler(folder: Path, hook: Hook | None) -> type[BaseHTTPRequestHandler]:
    count, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's ACK

        def do_GET(self) -> None:
            with lock:
                count[0] += 1
                number = count[0]
            said = hook(number, self.path) if hook else None
            if isinstance(said, int):
                self.answer(said, b"")
            elif isinstance(said, bytes):
                self.answer(200, said, {"Content-Type": "application/json"})
            else:
                self.file()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def file(self) -> None:
            path = (folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            if not path.is_relative_to(folder.resolve()) or not path.is_file():
                return self.answer(404, b"")
            data = path.read_bytes()
            start, stop = _range(self.headers.get("Range"), len(data))
            about = {"Accept-Ranges": "bytes"}
            if (start, stop) == (0, len(data)):
                return self.answer(200, data, about)
            if start >= stop:
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            about["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return self.answer(206, data[start:stop], about)

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _range(header: str | None, size: int) -> tuple[int, int]:
    if not header or not header.startswith("bytes=") or "," in header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


@contextmanager
def proxy(target: str, hook: Hook) -> Iterator[str]:
    """Passes requests on to ``target``, but for those that ``hook`` has fail; yields the URL."""
    count, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                count[0] += 1
                number = count[0]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = hook(number, self.path)
            if isinstance(said, int):
                return self.answer(said, b"", "")
            passed = urllib.request.Request(
                f"{target}{self.path}", body or None, method=self.command
            )
            # With its host: the service links to the address that it is known by.
            for name in ("Host", "Content-Type", "Accept"):
                if name in self.headers:
                    passed.add_header(name, self.headers[name])
            try:
                with urllib.request.urlopen(passed, timeout=30) as answer:
                    self.answer(answer.status, answer.read(), answer.headers["Content-Type"])
            except urllib.error.HTTPError as error:
                self.answer(error.code, error.read(), error.headers["Content-Type"])

        do_POST = do_GET  # noqa: N815  (as http.server has it)

        def answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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


Trouble = Callable[[str, str], int | float | None]
"""(method, path and query of a request) → a status to answer with, seconds to be silent for before the
connection is closed, or None to pass it on."""


class Proxy:
    """A real HTTP proxy in front of a store: it passes requests on, counts them, and makes trouble."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.trouble: Trouble = lambda _method, _path: None
        self.requests: list[tuple[str, str]] = []
        self.one_by_one = threading.Lock()

    def met(self, method: str, path: str) -> int | float | None:
        self.requests.append((method, path))
        return self.trouble(method, path)


@contextmanager
def proxied(target: str) -> Iterator[tuple[Proxy, str]]:
    """A :class:`Proxy` in front of the server at ``target``, and its own URL."""
    proxy = Proxy(target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _passing(proxy))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Of this connection, not of the message; and what this server says itself.
_HOP_BY_HOP = {"connection", "content-length", "date", "expect", "server", "transfer-encoding"}


def _passing(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = proxy.met(self.command, self.path)
            if isinstance(said, float):
                time.sleep(said)
                self.close_connection = True
            elif said is not None:
                self.answer(said, {}, b"", 0)
            elif "If-None-Match" in self.headers:
                # In a store that is one step; moto looks first, then writes.
                with proxy.one_by_one:
                    self.pass_on(body)
            else:
                self.pass_on(body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def pass_on(self, body: bytes) -> None:
            upstream = http.client.HTTPConnection(proxy.target, timeout=60)
            kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            upstream.request(self.command, self.path, body, kept)
            answer = upstream.getresponse()
            content = answer.read()
            size = int(answer.headers.get("Content-Length", len(content)))
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP}
            self.answer(answer.status, headers, content, size)
            upstream.close()

        def answer(self, status: int, headers: dict[str, str], body: bytes, size: int) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


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
