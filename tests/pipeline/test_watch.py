"""What a run shows while it works: on a terminal, in a log, and to a second run that comes too early."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import s2sharp.engine.dispatch
import s2sharp.execution.execute
import s2sharp.ui.progress
from s2sharp.storage.files import files

from .chaos import BANDS, write_archive
from .command import COMMAND
from .runs import config, run, shards
from .test_cli import call, query
from .workers import dies_of_the_middle, dies_once

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def broken(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, without one band of one of its tiles."""
    folder = shutil.copytree(archive, tmp_path_factory.mktemp("broken") / "archive")
    (victim,) = folder.glob("scenes/*AA_*/B05.tif")
    victim.unlink()
    return folder


def on_a_terminal(words: list[str], stop: str = "") -> tuple[int, str]:
    """Exit code, and all that a terminal of 160 columns was sent; on ``stop`` somebody presses Ctrl-C."""
    pid, terminal = pty.fork()
    if not pid:
        # Who runs the tests in the background has it ignored, and so has whom they start.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        env = {**os.environ, "COLUMNS": "160", "TERM": "xterm-256color"}
        os.execve(words[0], words, env)
    said = bytearray()
    while True:
        try:
            said += os.read(terminal, 1 << 16)
        except OSError:  # all that held the other end are gone
            break
        if stop and re.search(stop, said.decode(errors="ignore")):
            os.write(terminal, b"\x03")
            stop = ""
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), re.sub(r"[\r\n]+", "\n", text)


def test_a_terminal_shows_units_pace_and_failures(broken: Path, tmp_path: Path) -> None:
    more = ("--workers", "1", "--retries", "0", "--no-publish", "--bands", "B02,B05")
    code, text = on_a_terminal([*COMMAND, "run", *query(broken, tmp_path / "out", *more)])
    assert code == 4, text
    assert "Dashboard" not in text, "nobody opens one for a run of a minute"
    bars = re.findall(r"^sharpen .*?(\d+)/(\d+) (\S+) (\S+)(.*)$", text, re.MULTILINE)
    assert {total for _, total, *_ in bars} == {"6"}
    shown = [int(done) for done, *_ in bars]
    assert (shown, shown[-1]) == (sorted(shown), 6)
    assert all(re.fullmatch(r"\d:\d\d:\d\d", spent) for _, _, spent, *_ in bars)
    assert re.fullmatch(r"\s*[\d.e-]+ Mpx/s  \d failed\s*", bars[-1][-1])
    assert re.search(r"^failed: .*AA_.*B05", text, re.MULTILINE), text


ENDLESS = """
import s2sharp.execution.phases
import s2sharp.planning.cost
from s2sharp.cli.app import main
from tests.pipeline.command import FORESEEN
from tests.pipeline.workers import waits_below
s2sharp.execution.phases.sharpen_unit = waits_below
s2sharp.planning.cost._calibrate = lambda *_, **__: FORESEEN
main()
"""
"""The command line, of which no run ends by itself, however slow who watches it is, and none begins with a measurement."""


@pytest.mark.parametrize("moment", ["Searching", "Units", r"\d Mpx/s"])
def test_ctrl_c_ends_a_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    archive, out = write_archive(tmp_path / "archive", 24), tmp_path / "out"
    words = ["run", "--catalog", str(archive), *query(archive.parent, out)[2:], "--workers", "1"]
    words += ["--bands", ",".join(BANDS), "--window", "8", "--shard", "8", "--no-publish"]
    code, text = on_a_terminal([sys.executable, "-c", ENDLESS, *words], stop=moment)
    assert code == 130, text
    after = text[text.index("^C") :] if "^C" in text else text
    assert "Traceback" not in text
    assert "distributed" not in text
    assert "Stopped. Finished work is kept; the same command continues." in after


@pytest.mark.usefixtures("foreseen")
def test_a_log_gets_a_line_now_and_then(
    broken: Path, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s2sharp.ui.progress, "_EVERY", 0)
    more = ("--scheduler", scheduler, "--retries", "0", "--no-publish", "--bands", "B02,B05")
    code, text = call("run", *query(broken, tmp_path / "out", *more))
    assert code == 4
    lines = re.findall(r"^sharpen (\d+)/6(.*)$", text, re.MULTILINE)
    assert [int(done) for done, _ in lines] == list(range(1, 7))
    assert re.search(r"Mpx/s.*failed.*about \d+ s left", "".join(rest for _, rest in lines))


def test_of_two_runs_at_once_the_second_leaves(tmp_path: Path, scheduler: str) -> None:
    archive, out = write_archive(tmp_path / "archive", 36), tmp_path / "out"
    words = ["--catalog", str(archive), *query(archive.parent, out)[2:], "--scheduler", scheduler]
    words += ["--bands", ",".join(BANDS), "--window", "8", "--shard", "8", "--no-publish"]
    first = subprocess.Popen([*COMMAND, "run", *words])
    while not any(name.endswith((".ok", ".empty")) for name in files(out / "ledger")):
        assert first.poll() is None
        time.sleep(0.02)
    # It stays where it is until the other has been told, and is still the one at work.
    first.send_signal(signal.SIGSTOP)
    code, text = call("run", *words)
    first.send_signal(signal.SIGCONT)
    assert code == 5, text
    assert f"process {first.pid}" in text
    assert first.wait() == 0


def test_a_unit_that_kills_its_worker_is_told_with_a_remedy(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are done, by the workers that come in place of the dead: here, and in the tests that follow."""
    archive = write_archive(tmp_path / "archive", 24).parent
    monkeypatch.setattr(s2sharp.execution.phases, "sharpen_unit", dies_of_the_middle)
    monkeypatch.setattr(
        s2sharp.engine.dispatch, "_LOST", 1
    )  # a worker takes seconds to be there again
    small = {"window": 8, "shard": 8, "bands": BANDS, "retries": 0}
    _, outcome = run(config(archive, tmp_path / "out", scheduler, **small))
    # With it goes what the same worker was writing meanwhile.
    assert 1 <= len(outcome.failed) <= 2
    for record in outcome.failed:
        assert (record.kind, record.attempt) == ("worker-error", 1)
        assert "its worker died 2 times in a row" in record.message
        assert "choose a smaller --shard or fewer --workers; run again" in record.message
    assert outcome.counts["ok"] + outcome.counts["empty"] == 16 - len(outcome.failed)


def test_a_staged_run_outlives_its_only_worker(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / "archive", 24).parent
    small = {"window": 8, "shard": 8, "bands": BANDS, "retries": 0, "stage": "always"}
    run(config(archive, tmp_path / "whole", scheduler, **small))
    monkeypatch.setattr(s2sharp.execution.phases, "sharpen_unit", dies_once)
    _, outcome = run(config(archive, tmp_path / "out", scheduler, **small))
    assert (tmp_path / "out" / "died").exists()
    assert not outcome.failed
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")
    assert not (tmp_path / "out" / "stage").exists()
