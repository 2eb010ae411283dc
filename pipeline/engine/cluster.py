"""Clusters: processes of this machine, jobs of SLURM, or the workers of any Dask scheduler."""

import logging
import sys
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
from .room import ALLOCATOR, Where, gpus_of, threads_of, workers_of
from .slurm import jobs, read_profile
from .worker import WORKER_THREADS

__all__ = ["Cluster", "connect"]

_ENVIRONMENT = {
    **ALLOCATOR,
    # Threads that wait must not spin: on a shared machine that takes the core from who they wait for.
    "OMP_WAIT_POLICY": "PASSIVE",
}
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,
    # Units bound their memory themselves; a paused or spilled worker would only stall.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Watching itself took a tenth of a core on two cores, half of it in workers' profiles, which nobody looks at.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in _ENVIRONMENT.items()},
}

_SAFE = {"tls", "wss", "inproc"}
"""Encrypted, or within this process."""


class _Unfetched(logging.Filter):
    """Tracebacks of the client's own tasks, each of which breaks off when a result was lost with its worker: it is asked for again."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] is AllExit)


logging.getLogger("asyncio").addFilter(_Unfetched())


@dataclass(frozen=True)
class Cluster:
    """Workers that do the units, and their client.

    ``threads``: that each worker's net may use (0: as the cluster has set them); ``tend``: to be called every
    second or so, replaces workers that were lost where this program can, and says whether it can.
    """

    client: Client
    threads: int
    tend: Callable[[], bool]


def _untended() -> bool:
    return False


@contextmanager
def connect(where: Where, home: Location, *, brief: bool = False) -> Iterator[Cluster]:
    """The cluster that a configuration names; ``home``: the run's folder, for what jobs leave.

    Connections that leave this machine are encrypted, and so are those of processes that are started here: who can
    reach a plain one may run programs as its user.

    Parameters
    ----------
    brief
        Whether the work takes so short a time that nobody opens a dashboard: processes of this machine show none then,
        since loading one takes as long as some units.

    Raises
    ------
    S2SharpError
        ``scheduler-unreachable``; ``scheduler-insecure`` for a plain connection to another machine;
        ``bad-config`` for a profile that is wrong; ``jobs-refused``.
    """
    if where.scheduler:
        with _scheduler(where.scheduler, insecure=where.insecure) as client:
            yield Cluster(client, 0, _untended)
        return
    with dask.config.set(_SETTINGS):
        if where.cluster:
            profile = read_profile(where.cluster)
            exports = {**_ENVIRONMENT, "OMP_NUM_THREADS": str(profile.cores)}
            sent = jobs(profile, workers_of(where), home, exports)
            with sent as (cluster, tend), Client(cluster, set_as_default=False) as client:
                yield Cluster(client, profile.cores, tend)
            return
        preload = dask.config.get("distributed.worker.preload")
        with (
            _without_script(),
            dask.config.set({"distributed.worker.preload": [*preload, "s2sharp.engine.preload"]}),
            _local(workers_of(where), gpus_of(where), dashboard=not brief) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield Cluster(client, threads_of(where), _untended)


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


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the script that is under way from processes that are started.

    They would run it first, as Python does for functions that it may define: one that begins a run at its top level would
    begin another in each of them. Units need nothing of it.
    """
    main = vars(sys.modules["__main__"])
    kept = {name: main.get(name) for name in ("__spec__", "__file__")}
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        yield
    finally:
        main.update({name: value for name, value in kept.items() if value or name == "__spec__"})


def _local(workers: int, gpus: tuple[str, ...], *, dashboard: bool) -> SpecCluster:
    """Processes of this machine, reached from here alone; each is shown one of ``gpus``, if there are any.

    The loopback address is open to every user of the machine, and a scheduler runs what it is sent: so these processes
    know each other by a key that is made for this run and lies in their memory alone.
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
