"""The git daemon's view of the api, over its unix socket: whose key, which repository, deploy this commit.

The api sees this process's uid at the other end, and believes that it speaks for a user by the proof of the login alone.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from paas.daemon import presence
from paas.keys.proof import HEADER, Proof
from paas.nouns.errors import NotFound, PaasError, Unavailable, from_json
from paas.receive.wire import waiting

TIMEOUT_S = 20.0
SILENCE_S = 30.0
"""A stream that says nothing for so long, not even a ping, has lost its other end."""

_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._timeout_s = path, timeout

    def connect(self) -> None:
        """The api may be on its way, or on its way back."""
        self.sock = presence.connect(self._path, self._timeout_s, _pause)


def _pause(seconds: float) -> None:
    with waiting():
        time.sleep(seconds)


@dataclass(frozen=True)
class AppRepository:
    """What the api says of an app to the git daemon. `branches` are those a push may name."""

    id: str
    name: str
    deploy_branch: str
    branches: tuple[str, ...]
    live_commit: str | None
    may_push: bool
    last_deployment: int = 0
    last_release: int = 0


@dataclass(frozen=True)
class Pushed:
    """What a deployment came to: `error` None means that the commit serves."""

    result: dict[str, Any]
    error: PaasError | None


class Api:
    """Calls on behalf of who proved a login; with no proof, only what the daemon itself may ask."""

    def __init__(self, path: Path, proof: Proof | None = None) -> None:
        self._path = path
        self._proof = proof

    def knows_key(self, fingerprint: str) -> bool:
        """Whether a key is somebody's. Raises PaasError."""
        try:
            self._call("GET", f"/v1/keys/{quote(fingerprint, safe=':')}")
        except NotFound:
            return False
        return True

    def user(self) -> str:
        """The name of the user who proved the login. Raises PaasError when the proof does not hold."""
        return str(self._call("GET", "/v1/whoami")["user"])

    def app_ids(self) -> set[str]:
        """The ids of every app. Raises PaasError."""
        return {str(app) for app in self._call("GET", "/v1/git")["apps"]}

    def repository(self, name: str) -> AppRepository | None:
        """The app, None when there is none that this user may see. Raises PaasError, NotFound with the new name if it was renamed."""
        try:
            return _repository(self._call("GET", f"/v1/git/{quote(name, safe='')}"))
        except NotFound as error:
            if error.cause == "renamed":
                raise
            return None

    def create(self, name: str) -> AppRepository:
        """Make the app, or find it. Raises PaasError: the name is taken, the user may not."""
        return _repository(self._call("POST", f"/v1/git/{quote(name, safe='')}", {}))

    def push(self, name: str, request: dict[str, Any]) -> PushStream:
        """Begin to deploy; iterate the answer for what happens. Raises PaasError, Lost if it may go on all the same."""
        connection, response = self._request(
            "POST", f"/v1/apps/{quote(name, safe='')}/pushes", request, SILENCE_S
        )
        if response.status >= 300:
            with connection_closed(connection):
                _read(response)
        return PushStream(connection, response)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection, response = self._request(method, path, body, TIMEOUT_S)
        with connection_closed(connection):
            return _read(response)

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Accept": "application/json"}
        if self._proof is not None:
            headers[HEADER] = self._proof.encode()
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        connection = _UnixConnection(self._path, timeout)
        try:
            connection.request(method, path, data, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _unavailable() from error


class connection_closed:
    """Close a connection at the end of a block."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class PushStream:
    """The lines of one deployment, as they come; closing it before the end cancels the deployment."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.outcome: Pushed | None = None

    def __iter__(self) -> Iterator[str | None]:
        """Lines, and None for each sign of life between them; sets `outcome`. Raises Unavailable."""
        while self.outcome is None:
            try:
                with waiting():
                    raw = self._response.readline(_MAX_ANSWER_BYTES)
                message = json.loads(raw) if raw else None
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _unavailable() from error
            if not isinstance(message, dict):
                raise _unavailable()
            if "line" in message:
                yield str(message["line"])
            elif message.get("done"):
                cause = message.get("error")
                failed = from_json(cause) if isinstance(cause, dict) else None
                self.outcome = Pushed(message.get("result") or {}, failed)
            else:
                yield None

    def close(self) -> None:
        self._connection.close()


class Lost(Unavailable):
    """The api does not answer, or has broken off: what it was asked for may have been done, or may yet be."""


def _unavailable() -> Lost:
    return Lost("The platform's api does not answer.", "Try again in a moment.")


def _read(response: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        data = json.loads(response.read(_MAX_ANSWER_BYTES) or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unavailable() from error
    if not isinstance(data, dict):
        raise _unavailable()
    if response.status < 300:
        return data
    cause = data.get("error")
    raise from_json(cause if isinstance(cause, dict) else {}, response.status)


def _repository(data: dict[str, Any]) -> AppRepository:
    return AppRepository(
        id=str(data["id"]),
        name=str(data["name"]),
        deploy_branch=str(data["deploy_branch"]),
        branches=tuple(str(branch) for branch in data.get("branches") or (data["deploy_branch"],)),
        live_commit=data.get("live_commit") or None,
        may_push=bool(data.get("may_push", True)),
        last_deployment=int(data.get("last_deployment", 0)),
        last_release=int(data.get("last_release", 0)),
    )
