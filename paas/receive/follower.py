"""The deployment of a pushed commit, followed to its end, also when the API restarts meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import Any

from paas.nouns.errors import Unavailable
from paas.receive import progress
from paas.receive.api import Api, AppRepository, Lost
from paas.receive.progress import Progress
from paas.receive.wire import pause

_REMEMBERED_LINES = 500
_RETRY_S = 0.5
_OUTAGE_S = 600.0


class DeploymentFollower:
    """Has the API deploy a commit to `app`, and passes on the lines of the deployment."""

    def __init__(self, api: Api, app: AppRepository, progress: Progress) -> None:
        self._api = api
        self._app = app
        self._progress = progress
        self._said: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        """The last lines, so that following the deployment again repeats none."""

    def deploy(self, request: dict[str, Any]) -> None:
        """Return when the commit serves or is the canary.

        Raises Refused if the deployment failed, PaasError if it did not begin or if nobody knows how it ended.
        """
        self._progress.begin("at work")
        try:
            self._api.deploy(self._app.name, request, self._say, self._progress.tick)
        except Lost:
            self._resume(request)

    def _resume(self, request: dict[str, Any]) -> None:
        """The deployment goes on without the API: ask again until there is an answer."""
        before = {"last_deployment": self._app.last_deployment, "last_release": self._app.last_release}
        self._progress.say(*progress.warning("The platform's api broke off; asking it how the push goes on."))
        self._progress.begin("waiting for the platform's api")
        deadline = time.monotonic() + _OUTAGE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Lost):
                self._api.deploy(self._app.name, {**request, **before}, self._say_once, self._progress.tick)
                return
            pause(_RETRY_S)
            self._progress.tick()
        raise Unavailable(
            "The platform's api does not answer: the commit may be live, or not.", "See: paas releases"
        )

    def _say(self, line: str) -> None:
        self._said.append(line)
        self._progress.say(line)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._say(line)
