"""Chromium without a window, driven by the DevTools protocol over its pipe."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
from pathlib import Path

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 120  # seconds without a word, after which the browser is taken for dead


class Chromium:
    """One browser with one page at a time; a context manager.

    `problems` are the page's errors and exceptions, `requests` the addresses that it asked for, itself among them.
    """

    def __init__(self, profile):
        # It reads from descriptor 3 and writes to 4; ours are moved out of their way first.
        ends = [*os.pipe(), *os.pipe()]
        theirs_in, self._to, self._from, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
        for end in ends:
            os.close(end)
        moved = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", moved, PROGRAM, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._sent, self._session = b"", 0, None
        self.problems, self.requests, self._loaded = [], [], False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, path: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """A fresh page of that size, in CSS pixels, with this file in it, once it has loaded."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.problems, self.requests, self._loaded = [], [], False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=Path(path).resolve().as_uri())
        while not self._loaded:
            self._receive()

    def run(self, script: str):
        """The value of an expression, or of its promise; an exception of it is one here."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def point(self, x: float, y: float, click: bool = False) -> None:
        """Move the mouse there, in CSS pixels of the window, and perhaps press its left button once."""
        for kind in ("mouseMoved", *(("mousePressed", "mouseReleased") if click else ())):
            button = "none" if kind == "mouseMoved" else "left"
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=int(click))
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG, whatever the window's height."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        image = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1})
        Path(path).write_bytes(base64.b64decode(image["data"]))

    def _call(self, method, **parameters):
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], PATIENCE)
            more = os.read(self._from, 1 << 16) if ready else b""
            if not more:
                raise RuntimeError(f"chromium is silent or has ended, with {self._process.poll()}")
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        message = json.loads(text)
        if message.get("sessionId") == self._session and "method" in message:
            self._note(message["method"], message["params"])
        return message

    def _note(self, event, told):
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
            self.requests.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown" or (
            event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert")
        ):
            self.problems.append(told)
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(told["entry"])
