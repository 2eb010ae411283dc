"""A real Chromium without a window, spoken to by its DevTools protocol: what people would see, and what it asked for."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

__all__ = ["Page", "browser"]

Open = Callable[[str, int, int], "Page"]


class Page:
    """One page. `requests`: every address it asked for; `problems`: errors of its console and scripts."""

    def __init__(self, socket: ClientConnection, session: str = "") -> None:
        self._socket, self._number = socket, 0
        self._whose = {"sessionId": session} if session else {}
        self.requests: list[str] = []
        self.problems: list[str] = []

    def do(self, method: str, **params: Any) -> Any:
        self._number += 1
        order = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps({**order, **self._whose}))
        while (said := self._hear()).get("id") != self._number:
            pass
        assert "error" not in said, said["error"]
        return said["result"]

    def _hear(self) -> dict[str, Any]:
        said = json.loads(self._socket.recv(timeout=60))
        about = said.get("params", {})
        match said.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Log.entryAdded" if about["entry"]["level"] in ("error", "warning"):
                self.problems.append(about["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.problems.append(str(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning"):
                self.problems.append(str(about["args"]))
        return said

    def value(self, script: str) -> Any:
        """What an expression gives, awaited if it is a promise."""
        found = self.do(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 30) -> None:
        """Wait for an expression to become true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, (script, self.problems)
            time.sleep(0.05)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move and let go."""
        (x, y), (to_x, to_y) = start, end
        steps = [("mousePressed", x, y), ("mouseMoved", (x + to_x) / 2, (y + to_y) / 2)]
        steps += [("mouseMoved", to_x, to_y), ("mouseReleased", to_x, to_y)]
        for kind, at_x, at_y in steps:
            about = {"button": "left", "buttons": 1, "clickCount": 1}
            self.do("Input.dispatchMouseEvent", type=kind, x=at_x, y=at_y, **about)

    def swipe(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Put a finger down, move it and lift it."""
        self.do("Emulation.setTouchEmulationEnabled", enabled=True)
        (x, y), (to_x, to_y) = start, end
        for kind, at in (("touchStart", 0), *(("touchMove", n / 4) for n in range(1, 5))):
            point = {"x": x + (to_x - x) * at, "y": y + (to_y - y) * at}
            self.do("Input.dispatchTouchEvent", type=kind, touchPoints=[point])
        self.do("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.do("Emulation.setTouchEmulationEnabled", enabled=False)

    def picture(self) -> bytes:
        """What is to be seen, as a PNG."""
        return base64.b64decode(self.do("Page.captureScreenshot")["data"])


def _program() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    reason = "no Chromium: install Debian's package `chromium`"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def browser() -> Iterator[Open]:
    """Gives a function that opens (address, width, height) and waits until it has loaded."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ]
        flags += ["--disable-background-networking", "--disable-dev-shm-usage"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [_program(), *flags], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            with connect(_address(process), max_size=None) as socket:
                yield _opener(socket)
        finally:
            process.terminate()
            process.wait(20)


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "listening on ws://" in line:
            return line.split()[-1]
    raise RuntimeError("".join(said))


def _opener(socket: ClientConnection) -> Open:
    def start(url: str, width: int, height: int) -> Page:
        whole = Page(socket)
        target = whole.do("Target.createTarget", url="about:blank")["targetId"]
        session = whole.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(socket, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.do(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        page.do("Emulation.setDeviceMetricsOverride", **size)
        page.do("Page.navigate", url=url)
        page.until("document.readyState === 'complete'")
        return page

    return start
