"""Workers that are forked from a process with their libraries: who is forked, what they load, and that none outlives a run."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from s2sharp.engine import fork_server

from .command import COMMAND
from .test_cli import call, query

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, workers are spawned")

FEW = ("--bands", "B02,B05", "--workers", "1")


def processes(run: subprocess.Popen[bytes]) -> tuple[dict[int, int], set[int]]:
    """The parent of each process that a run began, until it ends; and those of them that were a fork server."""
    parents: dict[int, int] = {}
    servers = set()
    while run.poll() is None:
        for child in psutil.Process(run.pid).children(recursive=True):
            with suppress(psutil.Error):
                parents[child.pid] = child.ppid()
                line = " ".join(child.cmdline())
                assert "spawn_main" not in line
                # A copy of the server has its command until it gives itself a name.
                if "forkserver" in line and child.ppid() == run.pid:
                    servers.add(child.pid)
        time.sleep(0.02)
    return parents, servers


@pytest.mark.parametrize("asked", [("2024", 0), ("2019", 3)])
def test_a_run_has_one_process_that_loads_and_leaves_none_behind(
    archive: Path, tmp_path: Path, asked: tuple[str, int]
) -> None:
    when, code = asked
    words = query(archive, tmp_path / "out", *FEW, "--datetime", when, "--no-publish")
    run = subprocess.Popen(
        [*COMMAND, "run", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    parents, servers = processes(run)
    assert run.returncode == code
    assert len(servers) == 1
    # Who finds nothing has no workers.
    assert any(parent in servers for parent in parents.values()) == (code == 0)
    # The tracker of multiprocessing ends when it hears that nobody is left.
    deadline = time.monotonic() + 5
    while any(map(psutil.pid_exists, parents)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, parents))


def test_files_of_the_current_folder_are_not_taken_for_libraries(
    archive: Path, tmp_path: Path
) -> None:
    """A command that is installed does not say `-P`, which would be passed on."""
    (tmp_path / "distributed.py").write_text("open(__file__ + '.taken', 'w').close()")
    script = tmp_path / "bin" / "s2sharp"
    script.parent.mkdir()
    script.write_text(Path(COMMAND[-1]).read_text())
    words = query(archive, tmp_path / "out", *FEW, "--no-publish")
    done = subprocess.run(
        [sys.executable, str(script), "run", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.glob("*.taken"))


def test_where_no_server_can_begin_workers_load_for_themselves(
    archive: Path, tmp_path: Path
) -> None:
    """A socket has a path of at most a hundred letters."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    words = query(archive, tmp_path / "out", *FEW, "--no-publish")
    done = subprocess.run(
        [*COMMAND, "run", *words],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_is_not_ours_gets_no_server(archive: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    code, text = call("run", *query(archive, tmp_path / "out", "--datetime", "2019"))
    assert code == 3, text
    assert not fork_server.begun()
    assert dict(os.environ) == before
