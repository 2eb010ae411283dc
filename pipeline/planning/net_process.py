"""Facts about a method's nets, without loading torch in this process: from the user's cache, or from a separate process.

A process that has already loaded torch computes the outline of a method itself.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from threading import RLock
from typing import IO, Any
from weakref import finalize

import s2sharp_core
from s2sharp_core import S2SharpError
from s2sharp_core.lazy import LazyFunction
from s2sharp_core.sensor.response import NAMED

from ..engine import fork_server
from ..engine.resources import ALLOCATOR
from ..storage.files import contents, write_text
from ..storage.location import Location, user_cache
from .config import RunConfig
from .method import Outline

_MODULE = "s2sharp.planning.calibrate"
# Seconds for which an answer is kept: a machine may become slower or faster.
_KEPT = 30 * 86_400.0
# Suffixes of files that an answer depends on.
_CODE = {".py", ".json", ".safetensors"}
# Settings that an outline depends on.
_FIELDS = frozenset(
    [
        "method",
        "bands",
        "sensor",
        "weights",
        "fit",
        "fit_windows",
        "fit_steps",
        "fit_threads",
        "warm_start",
        "seed",
        "trust",
        "error90",
        "precision",
    ]
)


def _nothing() -> None:
    pass


def outlined(
    config: RunConfig,
    coarse: Sequence[str],
    device: str,
    meanwhile: Callable[[], None] = _nothing,
) -> Outline:
    """Return the outline of a run's method; ``meanwhile`` is called while the separate process computes it.

    Errors: ``band-unknown``, ``weights-missing``, ``weights-corrupt``, ``not-calibrated``, ``bad-config``.
    """
    if "torch" in sys.modules:
        from .sharpener import outline_of

        return outline_of(config, tuple(coarse), device)
    asked = config.model_dump(mode="json", include=set(_FIELDS))
    # Before anything is measured, a method sees with a named sensor.
    asked["sensor"] = config.sensor if config.sensor in NAMED else "default"
    # A configuration needs these; the outline does not depend on them.
    asked |= {"out": ".", "datetime": "2024", "bbox": (0, 0, 1, 1)}
    settings = {"config": asked, "coarse": list(coarse), "device": device}
    found = known("outline", settings, (config.weights, config.warm_start), meanwhile)
    return Outline(**{**found, "reads": tuple(found["reads"])})


def known(
    what: str,
    settings: dict[str, Any],
    weights: Iterable[Location | None] = (),
    meanwhile: Callable[[], None] = _nothing,
) -> dict[str, Any]:
    """Return the answer to a question about a method, from the cache or from the separate process.

    ``what``: "outline" or "measure", as in :mod:`.calibrate`; ``weights``: folders of weights that the answer also
    depends on; ``meanwhile``: called while the process works, if it is asked.

    Error of the process; ``calibration-failed`` if it died.
    """
    about = [what, settings, _here(), [_stamp(folder) for folder in weights if folder]]
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    kept = _kept(name)
    if kept is None:
        with _ASKING:
            kept = _asked().answer(what, settings, meanwhile)
        _keep(name, kept)
    return kept


def _stamp(folder: Location) -> str:
    try:
        return f"{folder} {contents(folder)}"
    except FileNotFoundError:
        return f"{folder} -"


@cache
def _here() -> list[str]:
    """Identify the code that answers, and the machine."""
    files = []
    for package in (Path(s2sharp_core.__file__).parent, Path(__file__).parents[1]):
        for file in sorted(package.rglob("*")):
            if file.suffix in _CODE:
                about = file.stat()
                files.append(f"{file} {about.st_size} {about.st_mtime_ns}")
    code = hashlib.sha256("\n".join(files).encode()).hexdigest()
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [code, version("torch"), sys.version, platform.node(), _processor(), gpus]


def _processor() -> str:
    """Identify the processor and its instruction sets, if the system states them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = (line for line in lines if line.startswith(("model name", "flags", "Features")))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _kept(name: str) -> dict[str, Any] | None:
    """Return an earlier answer; None if there is none, or its file is damaged."""
    try:
        file = user_cache() / f"{name}.json"
        if time.time() - file.stat().st_mtime > _KEPT:
            return None
        # The digest detects damage: a halo that is too small would make a seam.
        digest, _, text = file.read_text().partition("\n")
        found = json.loads(text)
    except (OSError, ValueError, RuntimeError):  # no home; no such file; torn
        return None
    return found if digest == _digest(text) and isinstance(found, dict) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _keep(name: str, found: dict[str, Any]) -> None:
    """Keep an answer, and remove expired ones. Errors of writing are ignored: the question is asked again."""
    with suppress(OSError, RuntimeError):
        folder = user_cache()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in folder.glob("*.json"):
            if time.time() - file.stat().st_mtime > _KEPT:
                file.unlink(missing_ok=True)
        text = json.dumps(found)
        write_text(folder / f"{name}.json", f"{_digest(text)}\n{text}")


# Threads ask one after the other: answers have no names.
_ASKING = RLock()


class _Asked:
    """The process that loads nets: it starts with the first question, and runs until it is dismissed."""

    def __init__(self) -> None:
        # Without a name: nothing of it is left behind, and Windows opens no file twice.
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (open while the process lives)
        begin = _forked if fork_server.begun() else _spawned
        self.question, self._answers, end = begin(self._said)
        self.end = finalize(self, end)

    def answer(
        self, what: str, settings: dict[str, Any], meanwhile: Callable[[], None]
    ) -> dict[str, Any]:
        line = ""
        try:
            with suppress(ConnectionError):
                self.question.write(json.dumps({"what": what, "settings": settings}) + "\n")
                self.question.flush()
                meanwhile()
                line = self._answers.readline()
        except BaseException:
            # Such as Ctrl-C: the answer still to come would be taken for that to the next question.
            end_process()
            raise
        if not line:
            end_process()
            self._said.seek(0)
            raise S2SharpError(
                "calibration-failed",
                f"Sharpening one window failed: {self._said.read().strip().splitlines()[-1:]}.",
                "Choose a smaller --window, or another --method or --device.",
            )
        said = json.loads(line)
        if "error" in said:
            raise S2SharpError(*said["error"])
        found: dict[str, Any] = said["found"]
        return found


_Begun = tuple[IO[str], IO[str], Callable[[], None]]
"""The questions and the answers of a process, and a function that ends it."""


def _spawned(said: IO[str]) -> _Begun:
    process = subprocess.Popen(  # noqa: S603  (our own module)
        [sys.executable, "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        env={**os.environ, **ALLOCATOR, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    question, answers = process.stdin, process.stdout
    assert question is not None and answers is not None  # noqa: S101, PT018  (both are pipes)

    def end() -> None:
        _close(question, answers)
        process.terminate()
        process.wait()

    return question, answers, end


def _forked(said: IO[str]) -> _Begun:
    """Begin with the libraries that the fork server has loaded."""
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    # A connection is a handle that another process can be given, whatever lies behind it.
    errors = Connection(os.dup(said.fileno()), readable=False)
    process = context.Process(target=LazyFunction(_MODULE, "answer_at"), args=(there, errors))
    with fork_server.without_script():
        process.start()
    there.close()
    errors.close()
    question, answers = os.fdopen(os.dup(here.fileno()), "w"), os.fdopen(os.dup(here.fileno()))
    here.close()

    def end() -> None:
        _close(question, answers)
        process.terminate()
        process.join()

    return question, answers, end


def _close(*pipes: IO[str]) -> None:
    for pipe in pipes:
        with suppress(OSError):
            pipe.close()


@cache
def _asked() -> _Asked:
    return _Asked()


def end_process() -> None:
    """End the process, if there is one: it takes some hundred MB."""
    with _ASKING:
        if _asked.cache_info().currsize:
            _asked().end()
            _asked.cache_clear()
