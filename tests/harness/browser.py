"""A headless Chromium, driven over its DevTools socket: open a page, run JavaScript in it, get the result."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from harness.platform import wait_for

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--ignore-certificate-errors",
    "--no-proxy-server",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
]


class Browser:
    """`with Browser() as browser: browser.open(url); browser.run("await fetch('/')")`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="browser-"))
        self._number = 0

    def __enter__(self) -> Browser:
        argv = [
            "chromium",
            *FLAGS,
            f"--user-data-dir={self._folder}",
            "--remote-debugging-port=0",
            "about:blank",
        ]
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)
        port_file = self._folder / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n") >= 1, 60)
        port, path = port_file.read_text().split("\n")[:2]
        self._stack = contextlib.ExitStack()
        url = f"ws://127.0.0.1:{port}{path}"
        self._socket: ClientConnection = self._stack.enter_context(connect(url, max_size=None, proxy=None))
        targets = self._ask("Target.getTargets")["targetInfos"]
        target = next(item["targetId"] for item in targets if item["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._ask("Browser.close")
        self._stack.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, url: str) -> None:
        """Navigate and wait until the document is there."""
        answer = self._ask("Page.navigate", session=True, url=url)
        assert not answer.get("errorText"), f"{url}: {answer['errorText']}"
        wait_for(lambda: self.run("document.readyState") == "complete" and self.run("location.href") == url)

    def run(self, script: str, *, timeout_s: float = 60.0) -> Any:
        """The value of a JavaScript expression; `await` is fine in it. An exception there is an AssertionError here."""
        answer = self._ask(
            "Runtime.evaluate",
            session=True,
            timeout_s=timeout_s,
            expression=f"(async () => {{ return {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, json.dumps(answer["exceptionDetails"])[:2000]
        return answer["result"].get("value")

    def _ask(
        self, method: str, *, session: bool = False, timeout_s: float = 60.0, **parameters: Any
    ) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        deadline = time.monotonic() + timeout_s
        while True:
            answer = json.loads(self._socket.recv(max(0.1, deadline - time.monotonic())))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
