"""Questions to the process that loads nets: each gets its own answer, whatever happened to the one before."""

import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import pytest
from s2sharp.planning import net_process

_ECHO = """
import json, sys, time
for line in sys.stdin:
    time.sleep(0.6)
    print(json.dumps({"found": {"to": json.loads(line)["settings"]}}), flush=True)
"""


@pytest.fixture(autouse=True)
def echo(tmp_path, monkeypatch):
    (tmp_path / "echo_of_questions.py").write_text(_ECHO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(net_process, "_MODULE", "echo_of_questions")
    net_process.end_process()
    yield
    net_process.end_process()


def ask(number: int) -> int:
    return net_process.known("outline", {"number": number})["to"]["number"]


def test_the_answer_to_an_interrupted_question_is_not_taken_for_the_next():
    def interrupt(*_):
        raise KeyboardInterrupt

    assert ask(0) == 0  # the process runs
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            ask(1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert [ask(number) for number in (2, 3, 1)] == [2, 3, 1]


class Slow:
    """A pipe after whose first line its writer is overtaken by the others."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe, self._waits = pipe, [0.5]
        self.write, self.close = pipe.write, pipe.close

    def flush(self) -> None:
        self._pipe.flush()
        time.sleep(self._waits.pop() if self._waits else 0)


def test_a_process_has_no_file_that_could_be_left_behind(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert ask(0) == 0
    assert not list(folder.iterdir())


def test_threads_get_their_own_answers():
    process = net_process._asked()
    process.question = Slow(process.question)
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(ask, range(3))) == [0, 1, 2]
