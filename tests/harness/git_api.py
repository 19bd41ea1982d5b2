"""An api for the git daemon alone: it speaks the contract over a unix socket and keeps state.

A test decides how a deployment goes, without a build; the whole platform together is tested elsewhere.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from paas.build.source import ENDINGS, SourceTree
from paas.keys.proof import HEADER, Proof
from paas.nouns.errors import Conflict, Forbidden, NotFound, PaasError, Unauthorized
from runtime.kernel.poll import readable

Emit = Callable[[dict[str, Any]], None]


@dataclass
class Deploying:
    """One push as the api sees it."""

    app: str
    user: str
    request: dict[str, Any]
    source: SourceTree
    tar: bytes
    emit: Emit
    hung_up: Callable[[], bool]
    live_commit: str | None = None


def succeeds(push: Deploying) -> dict[str, Any]:
    push.emit({"line": f"-----> Building {push.app} from {push.request['commit'][:7]}"})
    return {"result": {"release": 1}}


Deploy = Callable[[Deploying], dict[str, Any]]


def _resumed(push: Deploying) -> dict[str, Any]:
    """What becomes of a push whose answer broke off: here nothing goes on without the api."""
    if push.live_commit == push.request["commit"]:
        return {"result": {"release": 1}}
    return {"error": {"code": "build_failed", "message": "Interrupted; nothing was changed."}}


@dataclass
class Platform:
    """Users, apps and how deployments go. `deploy` answers the last message of the stream."""

    root: Path
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """fingerprint → user, public key"""
    apps: dict[str, dict[str, Any]] = field(default_factory=dict)
    pushes: list[Deploying] = field(default_factory=list)
    deploy: Deploy = succeeds
    made: int = 0

    def app(self, name: str, owner: str = "ann", branch: str = "main") -> dict[str, Any]:
        self.made += 1
        number = self.made
        branches = ["main", "master"] if branch == "main" else [branch]
        app = {"id": f"a{number:010x}", "name": name, "owner": owner}
        return self.apps.setdefault(name, {**app, "branches": branches, "live_commit": None})

    def forget(self) -> None:
        """Back to the first day; ids are not given twice."""
        self.apps.clear()
        self.pushes.clear()
        self.deploy = succeeds

    def proven(self, text: str | None) -> str | None:
        """Who logged in."""
        if text is None:
            return None
        proof = Proof.decode(text)
        user, public_key = self.keys.get(proof.fingerprint, ("", ""))
        if not proof.holds(public_key):
            raise Unauthorized("This login is not proven.")
        return user

    def visible(self, name: str, user: str | None) -> dict[str, Any]:
        app = self.apps.get(name)
        if app is None or app["owner"] != user:
            raise NotFound("There is no app with this name.", "See: paas apps")
        return app


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    platform: Platform

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Callable[[list[str], str | None], dict[str, Any] | None]) -> None:
        parts = [unquote(part) for part in self.path.strip("/").split("/")[1:]]
        try:
            body = work(parts, self.platform.proven(self.headers.get(HEADER)))
        except PaasError as error:
            self._send(error.http_status, {"error": error.to_json()})
        else:
            if body is not None:
                self._send(200, body)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _get(self, parts: list[str], user: str | None) -> dict[str, Any]:
        if parts[0] == "keys":
            if parts[1] not in self.platform.keys:
                raise NotFound("Nobody has this key.")
            return {"user": self.platform.keys[parts[1]][0]}
        if parts == ["whoami"]:
            return {"user": user}
        if parts == ["git"]:
            return {"apps": [app["id"] for app in self.platform.apps.values()]}
        return self.platform.visible(parts[1], user)

    def _post(self, parts: list[str], user: str | None) -> dict[str, Any] | None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if parts[0] == "git":
            existing = self.platform.apps.get(parts[1])
            if existing is not None and existing["owner"] != user:
                raise Conflict(f"The name {parts[1]} is taken.")
            if user == "guest":
                raise Forbidden("guest may not create apps.")
            return self.platform.app(parts[1], str(user))
        app = self.platform.visible(parts[1], user)
        if "last_deployment" in request:
            self._stream(app, str(user), request, _resumed)
        else:
            self._stream(app, str(user), request, self.platform.deploy)
        return None

    def _stream(self, app: dict[str, Any], user: str, request: dict[str, Any], deploy: Deploy) -> None:
        source = self.platform.root / "home" / "sources" / request["tree"]
        push = Deploying(
            app["name"],
            user,
            request,
            _kept(source, self.platform.root / "kept" / str(len(self.platform.pushes))),
            source.with_suffix(".tar").read_bytes(),
            self._emit,
            self._hung_up,
            app["live_commit"],
        )
        self.platform.pushes.append(push)
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            last = deploy(push)
            if "error" not in last and request.get("canary") is None:
                app["live_commit"] = request["commit"]
            self._emit({"done": True, **last})
        except OSError:
            pass

    def _emit(self, message: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(message).encode() + b"\n")

    def _hung_up(self) -> bool:
        ready = readable(self.connection.fileno())
        try:
            return ready and self.connection.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True


def _kept(source: Path, folder: Path) -> SourceTree:
    """The source, kept for the test when the daemon has removed it."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        (folder / (source.name + ending)).unlink(missing_ok=True)
        os.link(source.with_suffix(ending), folder / (source.name + ending))
    return SourceTree.open(folder, source.name)


class Api(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
