"""A forge on loopback: bare repositories served over HTTP by git's own `git http-backend`, over git:// by `git daemon`."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.platform import free_port, wait_for

LOGIN = "bot:s3cret"


class Forge:
    """Repositories below `folder`. Paths that begin with `/private/` want LOGIN; `/moved/` leads to the same path without it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        folder.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def publish(self, repository: Path, name: str) -> str:
        """Put (or renew) a bare copy of a repository; its address."""
        target = self.folder / f"{name}.git"
        words = ["push", "-q", "--mirror"] if target.exists() else ["clone", "-q", "--bare"]
        places = [str(target)] if target.exists() else [str(repository), str(target)]
        subprocess.run(["git", *words, *places], cwd=repository, check=True, capture_output=True)
        return f"{self.url}/{name}.git"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(forge: Forge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            forge.asked.append(self.path)
            path = self.path
            if path.startswith("/moved/"):
                self.send_response(301)
                self.send_header("Location", path.removeprefix("/moved"))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            login = base64.b64encode(LOGIN.encode()).decode()
            if path.startswith("/private/") and self.headers.get("Authorization") != f"Basic {login}":
                self.send_error(401)
                return
            self._backend(path.removeprefix("/private"))

        do_POST = do_GET

        def _backend(self, address: str) -> None:
            path, _, query = address.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            environ = {
                "PATH": "/usr/bin:/bin",
                "GIT_PROJECT_ROOT": str(forge.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
            }
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=environ, capture_output=True, check=False
            )
            head, _, data = done.stdout.partition(b"\r\n\r\n")
            fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = next((value for name, value in fields if name == "Status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, value in fields:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def git_daemon(folder: Path) -> Iterator[str]:
    """The repositories below a folder over git://; the address that they are below."""
    port = free_port()
    words = ["--export-all", f"--base-path={folder}", "--listen=127.0.0.1", f"--port={port}", "--reuseaddr"]
    process = subprocess.Popen(["git", "daemon", "--verbose", *words], stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        wait_for(lambda: b"Ready" in process.stderr.readline())  # type: ignore[union-attr]
        yield f"git://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
