"""Lease of a run's folder or store, which its holder keeps alive: one run writes at a time.

Generations of the lease are files ``OUT/lease/NUMBER``. Each is created exclusively, so that on any kind of store only one
of several processes takes the next generation. The holder rewrites its file with a new beat three times per term; the newest
generation counts. The lease is free when its holder has released it, or when its last beat is half a term old and does not
change during the other half, while another process watches it. Thus a waiting process gets it a term after the last beat,
and a wrong clock cannot take over a live lease. A suspended process may still write beside its successor, but the same
content: the lease saves work, and shards do not depend on it as a lock.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from s2sharp_core import S2SharpError

from ..storage.files import create, draft_target, files, read_text, remove, write_text
from ..storage.location import Location, on_this_machine, store_errors

TERM = 60.0
"""Seconds without a sign of life after which a lease is free."""

# Shares of a term: time between two beats; time without a beat after which the lease is watched for the rest of the term.
_BEAT, _QUIET = 1 / 3, 1 / 2
# Attempts to create the next generation while other processes are always first.
_ROUNDS = 10


@dataclass(frozen=True)
class Holder:
    """Holder of a lease: the content of a generation's file.

    ``id`` is unique; ``started`` and ``beat`` in UTC, ISO 8601; ``seconds``: the lease's term; ``among``: boot and process
    namespace in which ``pid`` counts, "" if unknown; ``ticks``: start of the process in kernel ticks, 0 if unknown.
    """

    id: str
    host: str
    pid: int
    started: str
    beat: str
    seconds: float
    released: bool = False
    among: str = ""
    ticks: int = 0

    @property
    def age(self) -> float:
        """Seconds since the last beat by this machine's clock; negative if the clocks disagree."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.beat)).total_seconds()

    @property
    def dead(self) -> bool:
        """True if the holder was a process visible from here that has ended, so that no wait is needed.

        Containers may share a host name without seeing each other's processes.
        """
        if not self.among or (self.host, self.among) != (socket.gethostname(), _among()):
            return False
        import psutil  # who only takes a lease need not load it

        ticks = _ticks(self.pid)
        another = ticks != self.ticks and 0 not in (ticks, self.ticks)
        return another or not psutil.pid_exists(self.pid)


def holder(out: Location) -> Holder | None:
    """Return the holder of the newest generation of the lease of ``out``, released or not; None without any."""
    newest = _newest(out)
    return _read(out, newest) if newest else None


class Lease:
    """A held lease of one folder, made by :meth:`taken`."""

    def __init__(self, out: Location, mine: Holder, number: int) -> None:
        self._out, self._mine, self._number = out, mine, number
        self._lost, self._done = threading.Event(), threading.Event()
        self._forgotten = False
        self._thread = threading.Thread(target=self._keep, name="s2sharp-lease", daemon=True)

    @classmethod
    @contextmanager
    def taken(
        cls, out: Location, seconds: float = TERM, tell: Callable[[str], None] = lambda _: None
    ) -> Iterator["Lease"]:
        """Take the lease of ``out`` for a term of ``seconds``, keep it alive during the block, and release it.

        ``tell``: called with a line of text before a wait.

        Error: ``busy`` when another process holds it; the message names process, host and earliest end.
        """
        new = _missing(out / "lease")
        lease = _take(out, seconds, tell)
        lease._thread.start()
        try:
            yield lease
        finally:
            lease._release()
            for folder in new if lease._forgotten else ():
                with suppress(OSError):  # not empty by now
                    folder.rmdir()

    @property
    def lost(self) -> bool:
        """True if another process has taken over, after this one was suspended or cut off for a term."""
        return self._lost.is_set()

    def forget(self) -> None:
        """Remove all traces of the lease when it is released, because nothing was written under it."""
        self._forgotten = True

    def check(self) -> None:
        """Raise ``lease-lost`` if the lease is lost."""
        if self.lost:
            raise S2SharpError(
                "lease-lost",
                f"Another run has taken over {self._out}: this one showed no sign of life for "
                f"{self._mine.seconds:g} s.",
                "What it had done counts; leave the rest to the other one.",
            )

    def _keep(self) -> None:
        while not self._done.wait(_BEAT * self._mine.seconds):
            try:
                if _newest(self._out) > self._number:
                    self._lost.set()
                    return
                self._mine = replace(self._mine, beat=_now())
                self._write()
            except store_errors():
                continue  # the next beat may succeed; nobody takes over before a term has passed

    def _release(self) -> None:
        self._done.set()
        self._thread.join(self._mine.seconds)
        mine = _file(self._out, self._number)
        try:
            if not (self.lost or self._forgotten):
                self._mine = replace(self._mine, released=True)
                self._write()
                return
        except store_errors():
            pass  # on a full disk, a file can still be removed
        with suppress(*store_errors()):
            remove(mine)  # otherwise the lease ends by itself

    def _write(self) -> None:
        write_text(_file(self._out, self._number), _text(self._mine))


def _take(out: Location, seconds: float, tell: Callable[[str], None]) -> Lease:
    """Create the next generation."""
    now = _now()
    pid, among = os.getpid(), _among()
    mine = Holder(
        uuid4().hex, socket.gethostname(), pid, now, now, seconds, among=among, ticks=_ticks(pid)
    )
    for _ in range(_ROUNDS):
        newest = _newest(out)
        if newest:
            _wait_until_free(out, newest, tell)
        mine = replace(mine, beat=_now())
        if not create(_file(out, newest + 1), _text(mine)):
            continue
        if _newest(out) > newest + 1:
            # Other processes have created and removed generations since `newest` was read.
            remove(_file(out, newest + 1))
            continue
        for name in files(out / "lease"):
            # Also temporary files of processes that were killed while writing.
            old = draft_target(name) or name
            if old.isdigit() and int(old) <= newest:
                remove(out / "lease" / name)
        return Lease(out, mine, newest + 1)
    raise S2SharpError(
        "busy",
        f"The lease of {out} could not be taken in {_ROUNDS} rounds: others are always first.",
        "Start one run at a time.",
    )


def _wait_until_free(out: Location, number: int, tell: Callable[[str], None]) -> None:
    """Wait until a generation has no live holder; ``busy`` while it has one."""
    found = _read(out, number)
    if found is None or found.released or found.dead:
        return
    if 0 <= found.age <= _QUIET * found.seconds:
        raise _busy(out, found)
    # The holder is gone or its clock differs; a live holder will beat.
    watch = (1 - _QUIET) * found.seconds
    tell(
        f"{found.host} (process {found.pid}) began a run in {out} and shows no sign of life; watching for "
        f"{watch:.0f} s."
    )
    until = time.monotonic() + watch
    while time.monotonic() < until:
        time.sleep(watch / 10)
        if _newest(out) != number:
            return  # the caller tries the newer one
        if _read(out, number) != found:
            raise _busy(out, _read(out, number) or found)


def _busy(out: Location, found: Holder) -> S2SharpError:
    left = max(0.0, _QUIET * found.seconds - found.age)
    return S2SharpError(
        "busy",
        f"Another run writes to {out}: process {found.pid} on {found.host}, since {found.started}.",
        f"Let it finish; should it be dead, start again in {left:.0f} s: its lease ends "
        f"{(1 - _QUIET) * found.seconds:.0f} s later.",
    )


def _file(out: Location, number: int) -> Location:
    return out / "lease" / f"{number:06d}"


def _missing(folder: Location) -> list[Path]:
    """Return the missing ones of a folder and its parents, the innermost first."""
    every = (folder, *folder.parents) if on_this_machine(folder) else ()
    return [one for one in every if not one.exists()]


def _newest(out: Location) -> int:
    """Return the number of the newest generation; 0 if there is none."""
    numbers = (int(name) for name in files(out / "lease") if name.isdigit())
    return max(numbers, default=0)


def _read(out: Location, number: int) -> Holder | None:
    """Read a generation; None if it is missing or invalid."""
    try:
        found = Holder(**json.loads(read_text(_file(out, number))))
        found.age  # noqa: B018  (raises if the beat is not a time)
        return found
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _text(holder: Holder) -> str:
    return json.dumps(asdict(holder), indent=1)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _among() -> str:
    """Return the boot of the machine and the namespace in which process numbers count; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _ticks(pid: int) -> int:
    """Return the start of a process in ticks since boot, which changes of the clock do not affect; 0 if unknown."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(about.rpartition(")")[2].split()[19])  # the name before ")" may have any characters
