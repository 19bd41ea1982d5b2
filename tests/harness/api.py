"""The api daemon alone, on a home of its own, with a spawner that only remembers what it was asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.enter import command_as
from harness.platform import ROOT, free_port, wait_for
from harness.proofs import proof_of, public_key
from paas.host.accounts import Folder, durable_folders, ensure_accounts, ensure_folders, run_folders
from paas.keys.proof import HEADER
from paas.nouns.settings import Settings, load
from paas.store import Store
from runtime import frames
from runtime.home import Layout

NOBODY = 65534


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def end(self) -> dict[str, Any]:
        """The last object of a stream."""
        return self.lines[-1]


class RememberingSpawner:
    """Answers every verb; `create` opens an attach socket that sends back what it gets, then an exit frame."""

    def __init__(self, layout: Layout) -> None:
        self.calls: list[dict[str, Any]] = []
        self.refuse: dict[str, str] | None = None
        self._layout = layout
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(layout.spawner_socket))
        os.chmod(layout.spawner_socket, 0o666)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def verbs(self, verb: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["verb"] == verb]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock, contextlib.suppress(OSError):
                    decoder = frames.JsonDecoder()
                    messages: list[Any] = []
                    while not messages:
                        messages = decoder.feed(sock.recv(65536))
                    self.calls.append(messages[0])
                    sock.sendall(frames.encode_json(self._answer(messages[0])))

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        if self.refuse is not None and call["verb"] in ("create", "app_create"):
            return {"ok": False, "error": self.refuse}
        if call["verb"] == "info":
            return {"ok": True, "block": {"id_base": 1 << 20}}
        if call["verb"] == "app_create":
            folder = Folder(self._layout.logs / call["app_id"], "paas-log", "paas", 0o2770)
            ensure_folders([folder])
        if call["verb"] == "create":
            if call["box"]["process"]["attach"]:
                self._shim(call["order"]["id"])
            return {
                "ok": True, "pid": 1, "start_ticks": 1, "boot_id": "b", "address": "10.1.2.3", "started_at": 1.0,
            }  # fmt: skip
        if call["verb"] == "list":
            return {"ok": True, "instances": []}
        if call["verb"] == "stats":
            return {"ok": True, "memory_bytes": 7}
        return {"ok": True}

    def _shim(self, runtime_id: str) -> None:
        folder = self._layout.run_instances / runtime_id
        folder.mkdir()
        os.chmod(self._layout.run_instances, 0o755)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "attach.sock"))
        os.chmod(folder / "attach.sock", 0o666)
        listener.listen()
        threading.Thread(target=self._echo, args=(listener,), daemon=True).start()

    def _echo(self, listener: socket.socket) -> None:
        with listener:
            sock, _ = listener.accept()
        decoder = frames.FrameDecoder()
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                for channel, payload in decoder.feed(data):
                    if channel == frames.STDIN and not payload:
                        sock.sendall(frames.encode_frame(frames.EXIT, b'{"status": 7}'))
                        return
                    sock.sendall(frames.encode_frame(frames.STDOUT, payload))
        self.calls.append({"verb": "client hung up"})


@dataclass
class As:
    """Who asks: a uid on the unix socket (for a user who logged in over SSH), or a token over TCP."""

    uid: int | None = 0
    user: str | None = None
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        found = {HEADER: proof_of(self.user).encode()} if self.user else {}
        return {**found, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}


ROOT_USER = As()


@dataclass
class Api:
    """A running api daemon."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="paas-api-")))

    def start(self) -> Api:
        ensure_accounts()
        os.chmod(self.folder, 0o755)
        home, identity = self.folder / "home", secrets.token_hex(3)
        flags = {"home": str(home), "stacks": str(self.folder / "stacks")}
        flags |= {name: f"127.0.0.1:{free_port()}" for name in ("http", "ssh", "api")}
        self.settings = Settings.from_json({**load(flags, {}).to_json(), "id": identity})
        self.layout = self.settings.layout()
        ensure_folders(durable_folders(self.layout) + run_folders(self.layout))
        os.chmod(self.layout.spawner_socket.parent, 0o755)
        self.file = self.layout.run / "settings.json"
        self.file.write_text(json.dumps(self.settings.to_json()))
        self.spawner = RememberingSpawner(self.layout)
        self.git_uid = pwd.getpwnam("paas-git").pw_uid
        self.log = self.folder / "api.log"
        self.restart()
        self.store = Store(self.layout.database)
        return self

    def restart(self) -> None:
        """Start the daemon, as its supervisor would."""
        self.layout.api_socket.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "paas.api.serve", "--settings", str(self.file)]
        listener = socket.create_server((self.settings.api.host, self.settings.api.port))
        command += ["--listen-fd", str(listener.fileno())]
        with listener, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command_as("paas", self.folder, self.layout.run), *command],
                stderr=log, stdout=log, cwd="/", pass_fds=[listener.fileno()],
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        wait_for(lambda: self.layout.api_socket.exists() or self.process.poll() is not None, 30)
        assert self.process.poll() is None, self.log.read_text()

    def close(self) -> None:
        self.store.close()
        self.process.terminate()
        self.process.wait(10)
        self.spawner.close()
        shutil.rmtree(self.layout.run)
        shutil.rmtree(self.folder)

    def connect(self, who: As) -> socket.socket:
        if who.token is not None or who.uid is None:
            return socket.create_connection((self.settings.api.host, self.settings.api.port), 30)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        os.seteuid(who.uid)
        try:
            sock.connect(str(self.layout.api_socket))
        finally:
            os.seteuid(0)
        return sock

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        who: As = ROOT_USER,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request. `body` is sent as JSON, bytes as they are."""
        connection = http.client.HTTPConnection("api")
        connection.sock = self.connect(who)
        sent = {"Content-Type": "application/json", **who.headers, **(headers or {})}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        try:
            with contextlib.suppress(BrokenPipeError):  # an early refusal can still be read
                connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    @contextlib.contextmanager
    def streaming(self, method: str, path: str, body: Any = None, who: As = ROOT_USER) -> Iterator[Any]:
        """An answer to be read line by line."""
        connection = http.client.HTTPConnection("api")
        connection.sock = self.connect(who)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json", **who.headers})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield response
        finally:
            connection.close()

    def user(self, name: str) -> As:
        """A user with a key and a token, made if need be; the first one is the administrator."""
        if name not in [user["name"] for user in self.ask("GET", "/v1/users").json["users"]]:
            given = {"public_key": public_key(name), "user": name}
            assert self.ask("POST", "/v1/keys", given).status == 201
        made = self.ask("POST", "/v1/tokens", {"name": secrets.token_hex(4), "user": name})
        return As(token=made.json["token"])
