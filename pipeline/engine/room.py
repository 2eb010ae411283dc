"""Resources of a machine for workers: processes, threads, memory, GPUs; and what a configuration takes of it.

Nothing of Dask's cluster is loaded to say so.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .slurm import Profile

__all__ = ["ALLOCATOR", "Where", "gpus", "gpus_of", "memory_of", "threads_of", "workers_of"]

ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
"""How glibc's allocator is set for workers. Each arena keeps what it once had: two are enough for two busy threads.
Dask's own threshold gives every array back when it is freed, and has it zeroed by the kernel when it is asked for
again: with the many of a net that doubles its time."""

# Devices by which Linux shows a GPU that torch might use: NVIDIA's, AMD's, and a guest's of Windows.
_SHOWN = ("nvidia[0-9]*", "kfd", "dxg")


class Where(Protocol):
    """Settings of where units are done."""

    @property
    def scheduler(self) -> str | None: ...
    @property
    def insecure(self) -> bool: ...
    @property
    def cluster(self) -> str | None: ...
    @property
    def workers(self) -> int | None: ...
    @property
    def memory(self) -> float | None: ...


def gpus() -> int:
    """Count the GPUs that torch can use. It is asked only where the system shows one, or where it is loaded already."""
    if "torch" not in sys.modules and sys.platform == "linux":
        if not any(any(Path("/dev").glob(name)) for name in _SHOWN):
            return 0
    import torch

    return torch.cuda.device_count()


def _profile(name: str) -> "Profile":
    from .slurm import read_profile

    return read_profile(name)


def gpus_of(where: Where) -> tuple[str, ...]:
    """The GPUs that this process may use and was not told to leave alone, as CUDA_VISIBLE_DEVICES names them."""
    if getattr(where, "device", "cpu") == "cpu":
        return ()
    count = gpus()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",") if named else map(str, range(count)))[:count]


def workers_of(where: Where) -> int:
    """Worker processes that are asked for: by default one, which uses all cores for the net, or one for each GPU."""
    if where.workers or where.cluster or where.scheduler:
        return where.workers or 1
    return max(1, len(gpus_of(where)))


def threads_of(where: Where) -> int:
    """Threads of each worker's net: what a job has; here, its share of the cores that this process may use."""
    if where.cluster:
        return _profile(where.cluster).cores
    from dask.system import CPU_COUNT  # all of dask comes with it

    return max(1, CPU_COUNT // workers_of(where))


def memory_of(where: Where) -> float | None:
    """Bytes that a worker may take up; None where only its cluster knows."""
    if where.memory:
        return where.memory * 1e9
    if where.scheduler:
        return None
    if where.cluster:
        return _profile(where.cluster).bytes
    from distributed.system import MEMORY_LIMIT  # all of distributed comes with it

    return float(MEMORY_LIMIT / workers_of(where))
