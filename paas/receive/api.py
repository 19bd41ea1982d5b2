"""The git daemon's client of the API: whose key, which repository, deploy this commit.

The API believes that a request speaks for a user because of the proof of the login that the request carries. The
daemon's own uid, which the API sees at the socket, gives it no user's rights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paas.cli.client import Client, part
from paas.cli.target import NoAnswer, Target
from paas.keys.proof import HEADER, Proof
from paas.nouns.errors import NotFound, Unavailable, from_json
from paas.receive.dulwich_protocol import Refused
from paas.receive.wire import pause, waiting

SILENCE_S = 30.0
"""A stream without even a ping for this long has lost its other end."""


class Lost(Unavailable):
    """The API does not answer, or its answer broke off: what was asked of it may be done all the same."""


@dataclass(frozen=True)
class AppRepository:
    """An app as the git daemon sees it. `branches` are those that a push may name, the deploy branch first."""

    id: str
    name: str
    branches: tuple[str, ...]
    live_commit: str | None
    root: str = ""
    """The folder of the repository that is the app."""
    last_deployment: int = 0
    last_release: int = 0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> AppRepository:
        return cls(
            id=str(data["id"]),
            name=str(data["name"]),
            branches=tuple(str(branch) for branch in data["branches"]),
            live_commit=data["live_commit"],
            root=str(data.get("root", "")),
            last_deployment=int(data.get("last_deployment", 0)),
            last_release=int(data.get("last_release", 0)),
        )


class Api:
    """Requests on behalf of the user who proved a login; without a proof, those of the daemon itself.

    Every method raises PaasError, Lost when there is no answer.
    """

    def __init__(self, path: Path, proof: Proof | None = None) -> None:
        headers = {} if proof is None else {HEADER: proof.encode()}
        self._client = Client(
            Target("the api", path=str(path), headers=headers, silence_s=SILENCE_S, pause=pause)
        )

    def knows_key(self, fingerprint: str) -> bool:
        """True if a user has this key."""
        with _lost():
            try:
                self._client.get(f"/keys/{part(fingerprint)}")
            except NotFound:
                return False
        return True

    def user(self) -> str:
        """The user who proved the login. Raises PaasError if the proof does not hold."""
        with _lost():
            return str(self._client.get("/whoami")["user"])

    def app_ids(self) -> set[str]:
        with _lost():
            return {str(app) for app in self._client.get("/git")["apps"]}

    def repository(self, name: str) -> AppRepository | None:
        """The app; None if there is none that this user may see. Raises NotFound with the new name of a renamed app."""
        with _lost():
            try:
                return AppRepository.from_json(self._client.get(f"/git/{part(name)}"))
            except NotFound as error:
                if error.cause == "renamed":
                    raise
                return None

    def create(self, name: str) -> AppRepository:
        """Create the app, or find it. Raises PaasError: the name is taken, or the user may not create apps."""
        with _lost():
            return AppRepository.from_json(self._client.post(f"/git/{part(name)}", {}))

    def deploy(
        self, name: str, request: dict[str, Any], say: Callable[[str], None], tick: Callable[[], None]
    ) -> None:
        """Deploy, and report to `say` what happens; `tick` is called at each line and ping.

        Returns when the commit serves or is the canary. Raises Refused if the deployment failed, PaasError if it did
        not begin, Lost if nobody knows how it ended. A Hangup meanwhile closes the connection, which cancels it.
        """
        with (
            _lost(),
            contextlib.closing(
                self._client.messages("POST", f"/apps/{part(name)}/pushes", request)
            ) as messages,
        ):
            while (message := _next(messages)) is not None:
                if message.get("done"):
                    error = message.get("error")
                    if isinstance(error, dict):
                        raise Refused(from_json(error))
                    return
                if "line" in message:
                    say(str(message["line"]))
                tick()
        raise _no_answer()


def _next(messages: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    with waiting():
        return next(messages, None)


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    """Says in a pusher's words that the API does not answer."""
    try:
        yield
    except NoAnswer as error:
        raise _no_answer() from error


def _no_answer() -> Lost:
    return Lost("The platform's api does not answer.", "Try again in a moment.")
