"""A real headless Chromium, driven over its pipe with the Chrome DevTools Protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip


class Tab:
    """One open page. `problems` collects errors of the console, exceptions, and requests that leave the page.

    own: address of a server that the page may ask.
    """

    def __init__(self, to: int, answers: int):
        self.problems: list[str] = []
        self.own: str | None = None
        self._to, self._answers, self._read, self._count, self._session = to, answers, b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._event(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, page: Path | str, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Load a page, a file or an address, into a window of this size, and wait until its scripts have run."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while (event := self._next()).get("method") != "Page.loadEventFired":
            self._event(event)
        time.sleep(0.3)

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in a file input, as a user would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file.resolve()) for file in files])

    def key(self, key: str) -> None:
        """Press a key such as 'Tab', 'Enter' or 'ArrowRight'."""
        code = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}[key]
        text = {"text": {"Enter": "\r"}.get(key, key)} if key in ("Enter", " ") else {}
        for kind in ("keyDown", "keyUp"):
            extra = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """kind: 'Moved', 'Pressed' or 'Released'; x and y in CSS pixels of the window."""
        held = {} if kind == "Moved" else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **held)

    def screenshot(self, path: Path) -> None:
        """Save a picture of the whole page, also of what is below the window."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            got = os.read(self._answers, 1 << 20)
            assert got, "Chromium has ended"
            self._read += got
        first, _, self._read = self._read.partition(b"\0")
        return json.loads(first)

    def _event(self, event: dict[str, Any]) -> None:
        method, what = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(what["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.problems.append(str([argument.get("value") for argument in what["args"]]))
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.problems.append(what["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = what["request"]["url"]
            if url.startswith("http") and not (self.own and url.startswith(self.own)):
                self.problems.append(f"request: {url}")


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """Start a browser with an empty profile, and end it. Raises FileNotFoundError if Chromium is not installed."""
    browser = shutil.which("chromium")
    if browser is None:
        raise FileNotFoundError("chromium is not installed")
    (from_us, to), (answers, from_it) = os.pipe(), os.pipe()
    command = f'exec "$0" "$@" 3<&{from_us} 4>&{from_it}'
    process = subprocess.Popen(
        ["/bin/bash", "-c", command, browser, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(from_us, from_it), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(from_us)
    os.close(from_it)
    try:
        yield Tab(to, answers)
    finally:
        process.terminate()
        process.wait(20)
        os.close(to)
        os.close(answers)
