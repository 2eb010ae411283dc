"""Listeners to the events of a run or a mosaic: lines of JSON, an alarm, metrics for Prometheus."""

import json
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.request import Request, urlopen

from s2sharp_core import S2SharpError
from s2sharp_core.errors import Kind

from .events import (
    Event,
    Listener,
    RunBroken,
    RunEnded,
    RunPlanned,
    UnitDone,
    UnitRetried,
    UnitSkipped,
    facts_of,
)

if TYPE_CHECKING:
    from .settings import Command

_HOOK_SECONDS = 60.0


def _line(event: Event) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, **facts_of(event)})


def _json_lines(file: IO[str]) -> Listener:
    def tell(event: Event) -> None:
        file.write(_line(event) + "\n")
        file.flush()

    return tell


def _alarm(hook: str) -> Listener:
    """Return a listener that calls a command or a webhook once, at the end, if something failed; to find nothing is no
    failure.
    """

    def tell(event: Event) -> None:
        broken = isinstance(event, RunBroken) and event.kind != Kind.NOTHING_FOUND
        if broken or (isinstance(event, RunEnded) and not event.whole):
            try:
                _call(hook, _line(event).encode())
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                warnings.warn(f"Calling --on-failure did not work: {error}.", stacklevel=2)

    return tell


def _call(hook: str, body: bytes) -> None:
    if hook.lower().startswith(("http://", "https://")):
        asked = Request(hook, body, {"Content-Type": "application/json"})  # noqa: S310  (as just seen)
        with urlopen(asked, timeout=_HOOK_SECONDS):  # noqa: S310
            return
    # The command is the operator's own; no catalog can change it.
    subprocess.run(shlex.split(hook), input=body, timeout=_HOOK_SECONDS, check=True)  # noqa: S603


def _metrics(port: int) -> tuple[Listener, Callable[[], None]]:
    """Serve metrics at http://127.0.0.1:PORT/metrics; return the listener, and a function that ends the server."""
    from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

    registry = CollectorRegistry()
    planned = Gauge("s2sharp_units_planned", "Units of the full resolution", registry=registry)
    units = Counter(
        "s2sharp_units", "Units that are done with", ["phase", "status"], registry=registry
    )
    again = Counter("s2sharp_retries", "Units to be tried again", ["kind"], registry=registry)
    seconds = Counter(
        "s2sharp_unit_seconds", "Seconds of workers by step", ["step"], registry=registry
    )
    pixels = Counter(
        "s2sharp_valid_pixels", "Pixels of the full resolution that show data", registry=registry
    )
    peak = Gauge("s2sharp_worker_peak_bytes", "Largest memory of a worker", registry=registry)
    most = 0

    def tell(event: Event) -> None:
        nonlocal most
        match event:
            case RunPlanned(facts):
                planned.set(facts["units"])
                return
            case UnitSkipped():
                units.labels(event.phase, "skipped").inc()
                return
            case UnitDone(record=record):
                units.labels(event.phase, record.status).inc()
            case UnitRetried(record=record):
                again.labels(record.kind).inc()
            case _:
                return
        for step, spent in record.seconds.items():
            seconds.labels(step).inc(spent)
        if event.full:
            pixels.inc(record.valid)
        most = max(most, record.peak)
        peak.set(most)

    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise S2SharpError(
            "bad-config",
            f"Cannot serve metrics on port {port}: {error}.",
            "Choose another --metrics.",
        ) from error

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return tell, end


@contextmanager
def listeners(config: "Command") -> Iterator[list[Listener]]:
    """Open the listeners that a configuration requests.

    Error: ``bad-config`` if events cannot be written or metrics cannot be served.
    """
    with ExitStack() as stack:
        found: list[Listener] = []
        if config.events == "-":
            found.append(_json_lines(sys.stdout))
        elif config.events:
            try:
                file = stack.enter_context(Path(config.events).open("a"))
            except OSError as error:
                raise S2SharpError(
                    "bad-config",
                    f"Cannot write {config.events}: {error}.",
                    "Choose another --events.",
                ) from error
            found.append(_json_lines(file))
        if config.on_failure:
            found.append(_alarm(config.on_failure))
        if config.metrics is not None:
            tell, end = _metrics(config.metrics)
            stack.callback(end)
            found.append(tell)
        yield found
