"""One real cluster, in processes of its own, for all tests that run units."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a `dask scheduler` with one `dask worker`, each a process."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    here = ["--scheduler-file", str(file), "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    with (folder / "log").open("w") as log:
        processes = [
            subprocess.Popen(
                [*dask, "scheduler", *here, "--host", "127.0.0.1", "--port", "0"], stderr=log
            )
        ]
        while not file.exists():
            assert processes[0].poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        worker = [*dask, "worker", *here, "--nthreads", "1", "--nworkers", "1"]
        worker += ["--local-directory", str(folder)]
        processes.append(subprocess.Popen(worker, stderr=log))
        import json

        yield json.loads(file.read_text())["address"]
        for process in reversed(processes):
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static catalogue of a synthetic acquisition: 48 × 48 cells in 2 × 2 overlapping tiles."""
    from s2sharp.synthetic import simulate

    folder = tmp_path_factory.mktemp("archive")
    simulate(folder, cells=48, tiles=2, dates=1, seed=3)
    return folder
