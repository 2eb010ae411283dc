"""Resources of a machine for workers (processes, threads, memory, GPUs), and a configuration's share of them.

This module does not load Dask's cluster.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .settings import Command

if TYPE_CHECKING:
    from .slurm import Profile

ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
"""Settings of glibc's allocator for workers. Each arena keeps the memory it once had; two are enough for two busy threads.
Dask's own threshold returns every freed array to the kernel, which zeroes it for the next allocation. The many arrays of a
net then take twice the time."""

ENVIRONMENT = {
    **ALLOCATOR,
    # Waiting threads must not spin: on a shared machine, they would take the core from the thread they wait for.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Environment of workers; a variable of the user's own has priority."""

LOCAL_ENVIRONMENT = {
    **ENVIRONMENT,
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
}
"""The same for processes of this machine, whose nets set their threads themselves."""

# Cores that share a worker, and bytes that each must find. Threads of one process take turns in Python: of a window of
# s2net-m they hold its lock for a ninth of the time, so that nine threads would keep it busy, however many cores there are.
# What is not a net, such as a mosaic, works on a worker's two Dask threads alone.
_CORES, _BYTES = 4, 4e9
# Devices of Linux for GPUs that torch might use: those of NVIDIA, of AMD, and of a Windows guest.
_SHOWN = ("nvidia[0-9]*", "kfd", "dxg")


def gpus() -> int:
    """Count the GPUs that torch can use. On Linux, torch is loaded for this only if the system shows a GPU."""
    if "torch" not in sys.modules and sys.platform == "linux":
        if not any(any(Path("/dev").glob(name)) for name in _SHOWN):
            return 0
    import torch

    return torch.cuda.device_count()


def _profile(name: str) -> "Profile":
    from .slurm import read_profile

    return read_profile(name)


def gpus_of(config: Command) -> tuple[str, ...]:
    """Return the GPUs that this process may use, by their names in CUDA_VISIBLE_DEVICES; none for ``--device cpu``."""
    if getattr(config, "device", "cpu") == "cpu":
        return ()
    count = gpus()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",") if named else map(str, range(count)))[:count]


def workers_of(config: Command) -> int:
    """Return the number of worker processes: by default one for each GPU, or for every four cores if memory allows."""
    if config.workers or config.cluster or config.scheduler:
        return config.workers or 1
    return len(gpus_of(config)) or _for_cores(config.memory)


def _for_cores(memory: float | None) -> int:
    """Return the number of workers for this process's cores, each with ``memory`` GB if that is given."""
    from dask.system import CPU_COUNT  # this loads all of dask

    workers = CPU_COUNT // _CORES
    if workers < 2:
        return 1
    from distributed.system import MEMORY_LIMIT  # this loads all of distributed

    return max(1, min(workers, int(MEMORY_LIMIT // max(_BYTES, 1e9 * (memory or 0)))))


def threads_of(config: Command) -> int:
    """Return the threads of each worker's net: the cores of a job, or a share of this process's cores."""
    if config.cluster:
        return _profile(config.cluster).cores
    from dask.system import CPU_COUNT  # this loads all of dask

    return max(1, CPU_COUNT // workers_of(config))


def memory_of(config: Command) -> float | None:
    """Return the bytes that a worker may take; None if only its cluster knows."""
    if config.memory:
        return config.memory * 1e9
    if config.scheduler:
        return None
    if config.cluster:
        return _profile(config.cluster).bytes
    from distributed.system import MEMORY_LIMIT  # this loads all of distributed

    return float(MEMORY_LIMIT / workers_of(config))
