"""The api's application in this process: a real store and real folders, Flask's test client instead of sockets.

`served` puts it behind a unix socket, where the real client of the command line finds it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from harness.api import Reply
from paas.api.app import create_app
from paas.api.context import Context
from paas.nouns.settings import Settings, load
from paas.store import Store
from runtime.client import Spawner, SpawnerError
from runtime.home import Layout


class OwnLayout(Layout):
    """A platform without anything outside of its home."""

    @property
    def run(self) -> Path:
        return self.home / "run"


class AppFolders:
    """The spawner as the making of an app needs it: the folder of its logs. `refuse` makes it fail."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.refuse = logs, ""

    def info(self) -> dict[str, dict[str, int]]:
        return {"block": {"id_base": 1 << 20}}

    def create_app(self, app_id: str) -> None:
        if self.refuse:
            raise SpawnerError("unavailable", self.refuse)
        (self.logs / app_id).mkdir()


class Handler(WSGIRequestHandler):
    """One that keeps no log of its requests."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class FlaskApi:
    """Requests are root's, as on the server's own socket, or those of `token` over the network."""

    def __init__(self, home: Path) -> None:
        flags = {"home": str(home), "http": "127.0.0.1:8080"}
        self.settings = Settings.from_json({**load(flags, {}).to_json(), "id": "a1b2c3"})
        self.layout = OwnLayout(home, self.settings.stacks, self.settings.id)
        edge, certificates = self.layout.edge, self.layout.secrets / "certificates"
        for folder in (
            edge / "pages",
            edge / "certificates",
            certificates,
            self.layout.database.parent,
            self.layout.logs,
            self.layout.converge_socket.parent,
        ):
            folder.mkdir(parents=True)
        self.socket_path = home / "api.sock"
        self.store = Store.open(self.layout.database)
        self.context = Context(self.settings, self.store, git_uid=None)
        self.context.layout = self.layout
        self.spawner = AppFolders(self.layout.logs)
        self.context.spawner = cast(Spawner, self.spawner)
        self.application = create_app(self.context)
        self._peer, self._other = socket.socketpair()
        self.as_root = {"gunicorn.socket": self._peer}

    def close(self) -> None:
        self.store.close()
        self._peer.close()
        self._other.close()

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Meanwhile the application answers at `socket_path`, whose peers are its own user."""

        def answering(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            return self.application({**environ, "gunicorn.socket": environ["werkzeug.socket"]}, start)

        server = make_server(
            f"unix://{self.socket_path}", 0, answering, threaded=True, request_handler=Handler
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request. `body` is sent as JSON, bytes as they are."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        sent |= {"Authorization": f"Bearer {token}"} if token else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        environ = {} if token else self.as_root
        return self.asked(self.application, method, path, environ=environ, data=data, headers=sent)

    @staticmethod
    def asked(application: Flask, method: str, path: str, *, environ: dict[str, Any], **more: Any) -> Reply:
        """The answer of any application to a request with this WSGI environment."""
        reply = application.test_client().open(path, method=method, environ_overrides=environ, **more)
        with contextlib.closing(reply):  # a stream holds a seat of its caller's until then
            return Reply(reply.status_code, dict(reply.headers), reply.get_data())


def serve_worker(path: Path, answer: bytes) -> None:
    """A router worker's control socket: one connection gets these bytes, then nothing."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def once() -> None:
        peer, _ = listener.accept()
        with listener, peer:
            peer.sendall(answer)
            peer.recv(1)
            peer.settimeout(5)
            while peer.recv(4096):
                pass

    threading.Thread(target=once, daemon=True).start()
