"""Where units are done: who is connected to, what is encrypted, and which GPU a process is shown."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from distributed import Client, Security
from distributed.client import AllExit
from s2sharp.engine import cluster
from s2sharp.engine.cluster import connect
from s2sharp.engine.resources import threads_of, workers_of

from s2sharp_core import S2SharpError
from tests.services import free_port

from .runs import config, run, shards


def certificates(folder: Path, name: str) -> dict[str, str]:
    """An authority, and a key that it signed; as the environment in which Dask's parts find them."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name} {part}")])
        for part in ("authority", "part")
    ]
    files = {}
    now = datetime.now(UTC)
    for part, key, subject in zip(("ca", "part"), keys, names, strict=True):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=part == "ca", path_length=None), critical=True)
            .sign(keys[0], hashes.SHA256())
        )
        files[part] = folder / f"{name}-{part}.pem"
        files[part].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    private = folder / f"{name}-key.pem"
    private.touch(mode=0o600)
    private.write_bytes(secret)
    environment = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(files["ca"])}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = str(files["part"])
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = str(private)
    return environment


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a `dask scheduler` with a `dask worker`, processes that speak TLS alone; their certificates."""
    folder = tmp_path_factory.mktemp("tls")
    environment = {**os.environ, **certificates(folder, "ours")}
    environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] = "true"
    address = f"tls://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", address, "--no-dashboard"],
        [*dask, "worker", address, "--nthreads", "2", "--local-directory", str(folder)],
    ]
    with ExitStack() as stack, (folder / "log").open("w") as log:
        for command in commands:
            process = subprocess.Popen(command, stderr=log, env=environment)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        yield address, folder


def test_a_run_through_scheduler_and_worker_that_speak_tls_alone(
    archive: Path, scheduler: str, encrypted: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = encrypted
    # As DASK_DISTRIBUTED__COMM__TLS__… in the environment would set it.
    found = {
        "distributed.comm.tls.ca-file": str(folder / "ours-ca.pem"),
        "distributed.comm.tls.client.cert": str(folder / "ours-part.pem"),
        "distributed.comm.tls.client.key": str(folder / "ours-key.pem"),
    }
    with dask.config.set(found):
        _, outcome = run(config(archive, tmp_path / "out", address, bands="B02,B05"))
    assert outcome.counts == {"ok": 6}
    run(config(archive, tmp_path / "plain", scheduler, bands="B02,B05"))
    assert shards(tmp_path / "out") == shards(tmp_path / "plain")


def test_a_key_that_another_authority_signed_is_not_let_in(encrypted: tuple[str, Path]) -> None:
    address, folder = encrypted
    certificates(folder, "theirs")
    ours, theirs = (
        Security(
            tls_ca_file=str(folder / "ours-ca.pem"),
            tls_client_cert=str(folder / f"{name}-part.pem"),
            tls_client_key=str(folder / f"{name}-key.pem"),
        )
        for name in ("ours", "theirs")
    )
    Client(address, security=ours, timeout="30s").close()
    with pytest.raises(OSError, match=r"Timed out|TLS"):
        Client(address, security=theirs, timeout="2s")


def test_without_certificates_it_is_said_where_they_are_looked_for(
    archive: Path, encrypted: tuple[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(S2SharpError, match=re.escape(encrypted[0])) as caught:
        run(config(archive, tmp_path / "out", encrypted[0]))
    assert caught.value.kind == "scheduler-unreachable"
    assert "DASK_DISTRIBUTED__COMM__TLS__" in caught.value.remedy


def test_the_processes_of_a_run_let_in_nobody_without_the_key_of_the_run(
    archive: Path, tmp_path: Path
) -> None:
    """Loopback addresses are open to all users of a machine."""
    with connect(config(archive, tmp_path, None), tmp_path) as ours:
        info = ours.client.scheduler_info()
        for address in (info["address"], *info["workers"]):
            assert address.startswith("tls://127.0.0.1:")
            plain = address.replace("tls", "tcp")
            for there, key in ((plain, None), (address, Security.temporary())):
                with pytest.raises(OSError, match=r"Timed out|TLS|closed|SSL"):
                    Client(there, security=key, timeout="1s")
        assert ours.client.submit(sum, (1, 2)).result(timeout=30) == 3


@pytest.mark.parametrize(
    "address", ["tcp://198.51.100.7:8786", "198.51.100.7:8786", "tcp://scheduler.example:8786"]
)
def test_a_plain_connection_to_another_machine_is_refused(
    archive: Path, tmp_path: Path, address: str
) -> None:
    with pytest.raises(S2SharpError, match="plain") as caught:
        run(config(archive, tmp_path / "out", address, bands="B02,B05"))
    assert caught.value.kind == "scheduler-insecure"
    assert "--insecure" in caught.value.remedy


def test_it_is_taken_where_it_was_asked_for(
    scheduler: str, tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The only scheduler at hand is on this machine: as if loopback addresses were others.
    monkeypatch.setattr(cluster, "_private", lambda _: False)
    with (
        pytest.raises(S2SharpError, match="plain"),
        connect(config(archive, tmp_path, scheduler), tmp_path),
    ):
        pass
    settings = config(archive, tmp_path, scheduler, insecure=True)
    with connect(settings, tmp_path) as there:
        assert there.client.scheduler is not None


@pytest.mark.parametrize(
    ("named", "count", "each"),
    [
        (None, 2, ["0", "1"]),
        ("GPU-8a1f,GPU-77c0,GPU-0b0b", 3, ["GPU-0b0b", "GPU-77c0", "GPU-8a1f"]),
    ],
)
def test_each_process_is_shown_one_gpu(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str | None,
    count: int,
    each: list[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    settings = config(archive, tmp_path)
    assert workers_of(settings) == count
    with connect(settings, tmp_path) as there:
        there.client.wait_for_workers(count, timeout=60)
        shown = there.client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"]).values()
    assert sorted(shown) == each


@pytest.mark.parametrize(
    ("cores", "memory", "given", "workers", "threads"),
    [
        (2, 8e9, {}, 1, 2),
        (7, 64e9, {}, 1, 7),
        (16, 64e9, {}, 4, 4),
        (16, 9e9, {}, 2, 8),
        (16, 2e9, {}, 1, 16),
        (16, 64e9, {"memory": 30.0}, 2, 8),
        (16, 64e9, {"workers": 1}, 1, 16),
    ],
)
def test_without_gpus_or_told_to_leave_them_four_cores_share_a_worker(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    memory: float,
    given: dict[str, float],
    workers: int,
    threads: int,
) -> None:
    monkeypatch.setattr("dask.system.CPU_COUNT", cores)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", memory)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    settings = config(archive, tmp_path, device="cpu", **given)
    assert workers_of(settings) == workers
    assert threads_of(settings) == threads


def test_a_result_that_is_lost_with_its_worker_shows_no_traceback(caplog):
    log = logging.getLogger("asyncio")
    for error in (AllExit(), ValueError("another")):
        log.error("Task exception was never retrieved", exc_info=(type(error), error, None))
    assert [record.exc_info[0] for record in caplog.records] == [ValueError]
