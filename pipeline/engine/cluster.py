"""Clusters: processes of this machine, jobs of SLURM, or the workers of any Dask scheduler."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster, Nanny, Scheduler, Security
from distributed.client import AllExit
from distributed.deploy.spec import SpecCluster

from s2sharp_core import S2SharpError

from ..storage.location import Location
from . import fork_server
from .resources import ENVIRONMENT, LOCAL_ENVIRONMENT, gpus_of, threads_of, workers_of
from .settings import Command
from .slurm import jobs, read_profile
from .worker import WORKER_THREADS

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,
    # Units bound their memory themselves; a paused or spilled worker would only stall.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Dask's self-monitoring took a tenth of a core on two cores, half of it for workers' profiles, which are not used.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in LOCAL_ENVIRONMENT.items()},
}

_SAFE = {"tls", "wss", "inproc"}
"""Protocols that are encrypted or stay within this process."""


class _Unfetched(logging.Filter):
    """Filter for tracebacks of the client's own tasks whose result was lost with its worker and is requested again."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] is AllExit)


logging.getLogger("asyncio").addFilter(_Unfetched())


@dataclass(frozen=True)
class Cluster:
    """Workers that do the units, and their client.

    ``threads``: number for each worker's net (0: as set by the cluster); ``tend``: to be called about every second; it
    replaces lost workers if this program can, and returns whether it can.
    """

    client: Client
    threads: int
    tend: Callable[[], bool] = lambda: False


@contextmanager
def connect(config: Command, home: Location, *, brief: bool = False) -> Iterator[Cluster]:
    """Connect to the cluster of a configuration, or start it.

    ``home``: the run's folder, for files of SLURM jobs; ``brief``: whether the work is short: a local cluster then has no
    dashboard, which takes as long to load as some units.

    Connections to other machines and to processes started here are encrypted, because anyone who reaches a plain one can
    run programs as its user.

    Errors: ``scheduler-unreachable``; ``scheduler-insecure`` for a plain connection to another machine; ``bad-config``
    for a wrong profile; ``jobs-refused``.
    """
    if config.scheduler:
        with _scheduler(config.scheduler, insecure=config.insecure) as client:
            yield Cluster(client, 0)
        return
    with dask.config.set(_SETTINGS):
        if config.cluster:
            profile = read_profile(config.cluster)
            exports = {**ENVIRONMENT, "OMP_NUM_THREADS": str(profile.cores)}
            sent = jobs(profile, workers_of(config), home, exports)
            with sent as (cluster, tend), Client(cluster, set_as_default=False) as client:
                yield Cluster(client, profile.cores, tend)
            return
        with (
            fork_server.without_script(),
            dask.config.set(_of_processes()),
            _local(workers_of(config), gpus_of(config), dashboard=not brief) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield Cluster(client, threads_of(config))


def _of_processes() -> dict[str, Any]:
    """Return settings of processes that are started on this machine."""
    preload = dask.config.get("distributed.worker.preload")
    found: dict[str, Any] = {"distributed.worker.preload": [*preload, "s2sharp.engine.preload"]}
    if fork_server.begun():
        found["distributed.worker.multiprocessing-method"] = "forkserver"
    return found


@contextmanager
def _scheduler(address: str, *, insecure: bool) -> Iterator[Client]:
    if not (insecure or _private(address)):
        raise S2SharpError(
            "scheduler-insecure",
            f"The connection to {address} would be plain: who can reach that port could read along and run "
            "programs as you.",
            "Start the scheduler with --protocol tls and certificates and give tls://HOST:PORT (deploy/README.md); or, "
            "in a network that only you can reach, add --insecure.",
        )
    try:
        client = Client(address, timeout="20s", set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise S2SharpError(
            "scheduler-unreachable",
            f"No Dask scheduler answers at {address}: {error}.",
            "Check the address (tls://HOST:8786, tcp://127.0.0.1:8786) and, for tls, the certificates that "
            "DASK_DISTRIBUTED__COMM__TLS__… name; or leave --scheduler out.",
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=60)
        except TimeoutError as error:
            raise S2SharpError(
                "scheduler-unreachable",
                f"The scheduler at {address} has had no worker for a minute.",
                f"Start some: `dask worker ADDRESS --nthreads {WORKER_THREADS}`, where s2sharp is installed.",
            ) from error
        yield client


def _private(address: str) -> bool:
    """Return whether a connection to a scheduler is encrypted, or stays on this machine."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme in _SAFE or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _local(workers: int, gpus: tuple[str, ...], *, dashboard: bool) -> SpecCluster:
    """Start processes on this machine that are reachable only from here; each sees one of ``gpus``, if there are any.

    The loopback address is open to every user of the machine, and a scheduler runs any code sent to it. Therefore these
    processes authenticate by a key that is made for this run and kept only in their memory.
    """
    security = Security.temporary()
    if not gpus:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=WORKER_THREADS,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": dashboard},
            silence_logs=50,
            security=security,
        )
    here: dict[str, Any] = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    shown = {"dashboard_address": "127.0.0.1:0", "dashboard": dashboard}
    each = {**here, "nthreads": WORKER_THREADS, "memory_limit": 0, "silence_logs": 50}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {**here, **shown}},
        workers={
            i: {
                "cls": Nanny,
                "options": {**each, "env": {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]}},
            }
            for i in range(workers)
        },
        security=security,
        silence_logs=50,
    )
