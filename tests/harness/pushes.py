"""Pushes in the background, and an app whose build takes as long as a test wants."""

from __future__ import annotations

import json
import subprocess
import threading

from harness.platform import Platform, wait_for

SLOW = {
    "package.json": json.dumps(
        {
            "name": "slow",
            "version": "1.0.0",
            "scripts": {"build": "echo building; sleep $NAP", "start": "node s.js"},
        }
    ),
    "s.js": 'require("http").createServer((q, s) => s.end("built")).listen(process.env.PORT, "0.0.0.0");\n',
}


class Push:
    """A push that runs in the background; its output is collected."""

    def __init__(self, platform: Platform, app: str, files: dict[str, str] | None = None) -> None:
        self.repository = platform.repository(files or SLOW)
        url = f"ssh://paas@127.0.0.1:{platform.ssh}/{app}"
        self.process = subprocess.Popen(
            ["git", "push", url, "main"], cwd=self.repository, env=platform.environ(), stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_for_line(self, text: str) -> None:
        wait_for(lambda: any(text in line for line in self.lines), 60)

    @property
    def text(self) -> str:
        """What was printed so far."""
        return "".join(self.lines)

    def end(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        return code
