"""Where units are done: who is connected to, what is encrypted, and which GPU a process is shown."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from s2sharp.cluster import connect, threads_of, workers_of

from s2sharp.synthetic import COLLECTION

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
        [*dask, "worker", address, "--nthreads", "1", "--local-directory", str(folder)],
    ]
    with ExitStack() as stack, (folder / "log").open("w") as log:
        for command in commands:
            process = subprocess.Popen(command, stderr=log, env=environment)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        yield address, folder


def as_client(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Dask reads its environment when it is imported: what a new process would find there."""
    import dask

    for name, value in environment.items():
        patch.setenv(name, value)
    with_them = dask.config.collect(env={**os.environ, **environment})
    for part in ("tls", "require-encryption"):
        patch.setitem(
            dask.config.config["distributed"]["comm"], part, with_them["distributed"]["comm"][part]
        )


def test_a_run_through_scheduler_and_worker_that_speak_tls_alone(
    archive: Path,
    scheduler: str,
    encrypted: tuple[str, Path],
    tmp_path: Path,
) -> None:
    address, folder = encrypted
    flags = {
        "--catalog": str(archive / "catalog.json"),
        "--collection": COLLECTION,
        "--datetime": "2024",
        "--method": "bicubic",
        "--window": "16",
        "--shard": "16",
        "--scheduler": address,
        "--out": str(tmp_path / "out"),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "s2sharp.cli", "run", "--no-publish"),
            *("--bbox", "10", "40", "20", "55"),
            *(word for flag in flags.items() for word in flag),
        ],
        env={**os.environ, **_found(folder, "ours")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "12 ok" in done.stdout
    run(config(archive, tmp_path / "plain", scheduler))
    assert shards(tmp_path / "out") == shards(tmp_path / "plain")


def _found(folder: Path, name: str) -> dict[str, str]:
    return {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / f"{name}-ca.pem"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(folder / f"{name}-part.pem"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(folder / f"{name}-key.pem"),
    }
