"""How all tests run: their files lie in memory, threads do not wait for each other, and what takes longest begins first."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.command import FORESEEN
from tests.services import SECRET, cluster, s3_server
from tests.web import Proxy, proxied

# Files that tests write are gone with them, and a disk would be waited for at every shard. The room is that of the largest
# runs side by side, many times over.
MEMORY, ROOM = Path("/dev/shm"), 4e9
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# All processes that tests start share a few cores. A thread that spins until others are done takes theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LONGEST = (
    "test_documentation",
    "pipeline/test_object_store",
    "pipeline/test_fits",
    "pipeline/test_mosaic_lines",
    "pipeline/test_mosaic_kept",
    "pipeline/test_extend",
    "pipeline/test_watch",
    "pipeline/test_view",
    "pipeline/test_slurm",
    "test_light",
    "pipeline/test_verify",
    "pipeline/test_chaos",
    "core/test_unsupervised",
    "pipeline/test_seams",
    "pipeline/test_run",
    "pipeline/test_mosaic",
    "pipeline/test_status",
    "pipeline/test_search",
    "pipeline/test_history",
    "pipeline/test_learn",
    "core/test_seams",
    "pipeline/test_python",
    "pipeline/test_cli",
    "pipeline/test_globe",
    "core/test_registration",
    "pipeline/test_signing",
    "pipeline/test_sensors",
    "core/test_fit_sharpener",
    "pipeline/test_cluster",
    "pipeline/test_mosaic_refused",
    "pipeline/test_retention",
    "pipeline/test_following",
    "pipeline/test_offset_check",
)
"""Files that take more than fifteen seconds of a core, or wait that long for others; the longest first."""


@pytest.fixture(scope="session")
def store() -> Iterator[tuple[Proxy, dict[str, str]]]:
    """A proxy in front of an S3 server, and the environment in which it is found."""
    with s3_server() as server, proxied(server) as (proxy, url):
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        yield proxy, environment


@pytest.fixture(scope="session")
def scheduler(
    store: tuple[Proxy, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One real cluster, in processes of its own, for all tests that run units: its worker finds the object store."""
    with cluster(tmp_path_factory.mktemp("cluster"), store[1]) as address:
        yield address


@pytest.fixture
def foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory of a window as given here: to measure them, a process of its own loads torch for each method and size."""
    monkeypatch.setattr("s2sharp.planning.cost._calibrate", lambda *_, **__: FORESEEN)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: one that came last would leave all processes but its own idle."""
    tests = Path(__file__).parent
    order = {tests / f"{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
